# SPDX-License-Identifier: Apache-2.0
"""Physical memory made before the first step: the driver's calls are then over when training begins."""

import torch

from . import _device
from ._rewind import Buffers, Rewind
from ._stats import stats


def warm_up(run=None, *, max_len: int | None = None, model: "torch.nn.Module | None" = None, nbytes: int | None = None,
            device: int | None = None) -> int:
    """Backs what the largest step will need; returns the physical bytes that were made.

    >>> gapless.warm_up(lambda length: loss_of(model, batch_of(length)).backward(), max_len=4096, model=model)

    run(max_len) does a forward and a backward pass over the largest shape, with any values: afterwards random numbers are as they were,
    and so are the buffers of `model`, whose gradients are dropped; without `model` both are yours to put right. The optimizer must not step in it; its state is made at its own first step.
    A step that does not fit raises torch.OutOfMemoryError here, before anything was trained.
    Instead, `nbytes` names the bytes to back on the current stream; torch.OutOfMemoryError where they cannot be had.
    RuntimeError where gapless is not the allocator.
    """
    if (run is None) == (nbytes is None) or (run is None) != (max_len is None):
        raise TypeError("give run and max_len, or nbytes")
    if nbytes is not None and (not isinstance(nbytes, int) or nbytes < 0):
        raise ValueError(f"nbytes is {nbytes!r}: a number of bytes")
    ordinal = torch.cuda.current_device() if device is None else device
    torch.cuda.init()
    one = _device.of(ordinal)
    if isinstance(one, _device.NoDevice):
        raise RuntimeError("gapless is not PyTorch's CUDA allocator in this process")
    before = stats(ordinal).get("reserved_bytes.all.current", 0)
    if nbytes is not None:
        one.warm_up(torch.cuda.current_stream(ordinal).cuda_stream, nbytes)
    else:
        place = torch.device("cuda", ordinal)
        rewind = Rewind(place, Buffers(model)) if model is not None else Rewind(place)
        with torch.cuda.device(ordinal):
            try:
                run(max_len)
            finally:
                rewind.restore()
                if model is not None:
                    model.zero_grad(set_to_none=True)
    return max(0, stats(ordinal)["reserved_bytes.all.current"] - before)
