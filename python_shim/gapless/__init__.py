# SPDX-License-Identifier: Apache-2.0
"""gapless: a CUDA caching allocator without gaps, for PyTorch.

>>> import gapless
>>> gapless.install()          # before the first use of CUDA

Everything here is ctypes over the C interface (include/gapless/gapless.h); PyTorch is imported by :func:`install` and by what
trains, at its first use.
"""

import importlib

from ._install import InstallError, install, is_installed
from ._libraries import LibraryNotFound, library_dir
from ._stats import stats
from ._version import library_version, version

__version__ = version

# These import PyTorch.
_LATER = {
    "Agreement": "_agreement",
    "BatchDoesNotFit": "_elastic",
    "PaddingCollator": "_padding",
    "RankOutOfMemory": "_agreement",
    "SequenceTooLong": "_padding",
    "check_guards": "_guards",
    "constant_stats": "_padding",
    "elastic": "_elastic",
    "elastic_evaluation": "_evaluation",
    "elastic_trainer": "_huggingface",
    "find_executable_batch_size": "_accelerate",
    "forecast": "_marks",
    "last_oom": "_marks",
    "mark_phase": "_marks",
    "mark_step": "_marks",
    "prefetch": "_padding",
    "set_limit": "_marks",
    "tokens": "_batches",
    "warm_up": "_warm_up",
}

__all__ = [
    "InstallError",
    "LibraryNotFound",
    "__version__",
    "install",
    "is_installed",
    "library_dir",
    "library_version",
    "stats",
    "version",
    *_LATER,
]


def __getattr__(name):
    if name not in _LATER:
        raise AttributeError(f"module 'gapless' has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)
    globals()[name] = value
    return value
