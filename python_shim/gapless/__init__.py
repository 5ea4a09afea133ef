# SPDX-License-Identifier: Apache-2.0
"""gapless: a CUDA caching allocator without gaps, for PyTorch.

>>> import gapless
>>> gapless.install()          # before the first use of CUDA

Everything here is ctypes over the C interface (include/gapless/gapless.h); PyTorch is imported by :func:`install` only.
"""

from ._install import InstallError, install, is_installed
from ._libraries import LibraryNotFound, library_dir
from ._stats import stats
from ._version import library_version, version

__version__ = version

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
]
