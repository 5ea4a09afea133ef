# SPDX-License-Identifier: Apache-2.0
"""Making gapless PyTorch's CUDA allocator."""

import os
import sys

from . import _libraries


class InstallError(RuntimeError):
    """Raised by install(strict=True): gapless was not installed. The reason is on stderr or in the text."""


def install(*, strict: bool = False) -> bool:
    """Makes gapless PyTorch's CUDA allocator. Call it before the first use of CUDA; importing torch before is fine.

    Returns True if gapless is PyTorch's allocator now. When it cannot be (another PyTorch version, CUDA in use already,
    another allocator chosen, libraries missing), PyTorch's allocator stays, one line on stderr says why and False is
    returned; if `strict`, InstallError is raised, whose text has the reason where no line was written. Whether the devices can be served is only known when PyTorch starts
    CUDA; if one cannot, PyTorch's own allocator takes over then, with one line on stderr.

    Starts neither CUDA nor a thread: processes may still be forked. May be called again. With GAPLESS_ELASTIC=1 in the environment
    trainers survive running out of memory too (docs/elastic.md).
    """
    from . import _automatic

    if _automatic.wanted():
        _automatic.begin()
    try:
        installed = _libraries.torch_library(build=True).gapless_torch_install() in (0, 1)
    except OSError as error:
        if strict:
            raise InstallError(f"gapless was not installed: {error}") from None  # said once
        os.write(2, f"gapless: not installed, PyTorch's own allocator stays: {error}\n".encode())
        return False
    if not installed and strict:
        raise InstallError("gapless was not installed: refused; the line on stderr says why")
    return installed


def is_installed() -> bool:
    """True while PyTorch's CUDA allocator is gapless, however it came in (install, LD_PRELOAD, CUDAPluggableAllocator)."""
    if "torch" not in sys.modules:
        return False
    try:
        return _libraries.torch_library().gapless_torch_is_installed() == 1
    except OSError:
        return False
