# SPDX-License-Identifier: Apache-2.0
"""The debug mode of the option `guard`: what was written behind blocks and to freed memory."""

import ctypes

from . import _libraries
from ._abi import OK, raise_for


def check_guards(device: int | None = None) -> int:
    """Looks at every red zone of `device` (default: torch's current one) and at all freed memory that is kept back.

    Returns how many broken blocks were found since the start; what is found is printed to standard error, once. Waits for the
    device's streams. Raises RuntimeError when gapless is not the allocator or was started without ``GAPLESS_CONF=guard:true``.
    """
    try:
        library = _libraries.torch_library()
    except OSError as error:
        raise RuntimeError(f"gapless is not PyTorch's CUDA allocator in this process: {error}") from error
    if library.gapless_torch_is_installed() != 1:
        raise RuntimeError("gapless is not PyTorch's CUDA allocator in this process")
    allocator = library.gapless_torch_core()
    if not allocator:
        return 0
    if device is None:
        import torch

        device = torch.cuda.current_device()
    core = _libraries.core()
    core.gapless_check_guards.argtypes = [ctypes.c_void_p, ctypes.c_int32, ctypes.POINTER(ctypes.c_uint64)]
    core.gapless_check_guards.restype = ctypes.c_int
    found = ctypes.c_uint64()
    status = core.gapless_check_guards(allocator, device, ctypes.byref(found))
    if status != OK:
        raise_for(core, status, "check_guards")
    return found.value
