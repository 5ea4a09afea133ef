# SPDX-License-Identifier: Apache-2.0
"""accelerate: its decorator, with a better next size."""

import functools

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from . import _device, _oom_errors
from ._sizing import own_label


def find_executable_batch_size(function=None, starting_batch_size: int = 128, reduce_batch_size_fn=None):
    """accelerate.utils.find_executable_batch_size with a better next size: `function(batch_size, ...)` is called again after an
    out of memory, with the batch that gapless's record suggests; where it suggests none, with nine tenths, as accelerate does.
    `reduce_batch_size_fn`, if given, decides instead. Steps of optimizers are the steps that gapless learns from."""
    if function is None:
        return functools.partial(find_executable_batch_size, starting_batch_size=starting_batch_size,
                                 reduce_batch_size_fn=reduce_batch_size_fn)
    from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

    batch_size, label = starting_batch_size, own_label("executable")

    @functools.wraps(function)
    def decorated(*args, **kwargs):
        nonlocal batch_size
        while True:
            if batch_size == 0:
                raise RuntimeError("No executable batch size found, reached zero.")
            device = _device.of(torch.cuda.current_device()) if torch.cuda.is_available() else _device.NoDevice()
            before = device.last_oom()
            sequence = before["sequence"] if before else 0
            device.mark_step(label, batch_size)
            hook = register_optimizer_step_post_hook(
                lambda *_, device=device, size=batch_size: device.mark_step(label, size))
            error = None
            try:
                return function(batch_size, *args, **kwargs)
            except Exception as raised:
                if not should_reduce_batch_size(raised):
                    raise
                error = raised
            finally:
                hook.remove()
            _oom_errors.let_go(error)
            error = None
            record = device.last_oom()
            clear_device_cache(garbage_collection=True)
            said = record["suggestion"] if record and record["sequence"] > sequence else None
            if reduce_batch_size_fn is not None:
                batch_size = reduce_batch_size_fn()
            elif said and said["units"] and said["confidence"] >= 0.5:
                batch_size = min(said["units"], batch_size - 1)
            else:
                batch_size = min(said["units"] if said and said["units"] else batch_size, int(batch_size * 0.9))

    return decorated
