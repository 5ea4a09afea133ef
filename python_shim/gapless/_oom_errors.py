# SPDX-License-Identifier: Apache-2.0
"""Which exceptions mean out of memory, and letting go of what they hold."""

import gc
import sys
import traceback

import torch

# Libraries that allocate inside a call and say something else when that fails. Believed only when gapless counted an OOM of its
# own meanwhile: the same words have other causes.
DISGUISES = ("CUDNN_STATUS_NOT_SUPPORTED", "CUDNN_STATUS_ALLOC_FAILED", "CUBLAS_STATUS_ALLOC_FAILED", "CUFFT_INTERNAL_ERROR",
             "CUFFT_ALLOC_FAILED", "mha_graph.execute", "Unable to find a valid cuDNN algorithm", "unable to find an engine")

# The driver's own, of what does not come from PyTorch's allocator: a library's handle, a module loaded late, a kernel's stack.
DRIVERS = "CUDA error: out of memory"

# Live bytes that an attempt may leave behind before Python's cycles are searched for them.
_LEFT_BEHIND = 1 << 20


def is_oom(error: BaseException, counted: bool) -> bool:
    """`counted`: the allocator answered a request with out of memory since the attempt began."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    if isinstance(error, RuntimeError) and DRIVERS in str(error):
        return True
    return counted and isinstance(error, RuntimeError) and any(word in str(error) for word in DISGUISES)


def let_go(error: BaseException) -> None:
    """Drops the frames that the exception holds, with the tensors in their variables. Call it outside of the except block."""
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        one = todo.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        traceback.clear_frames(one.__traceback__)
        one.__traceback__ = None
        todo += [one.__cause__, one.__context__]
    # Notebooks keep the last error.
    if getattr(sys, "last_value", None) in (error,):
        sys.last_value = sys.last_traceback = None
        if hasattr(sys, "last_exc"):
            sys.last_exc = None


def live(device: torch.device) -> int:
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else 0


def settle(device: torch.device, before: int, counted: bool) -> None:
    """After an attempt was undone that began with `before` live bytes. What is not counted as an OOM of the allocator's is memory that
    the driver lacked: what lies idle is given back to it."""
    if live(device) > before + _LEFT_BEHIND:
        gc.collect()
    if not counted and device.type == "cuda":
        torch.cuda.empty_cache()
