# SPDX-License-Identifier: Apache-2.0
"""The version of this package and of the library it finds."""

import ctypes

from . import _libraries

version = "0.1.0"


def library_version() -> str:
    """The version of libgapless.so. Raises LibraryNotFound."""
    function = _libraries.core().gapless_version
    function.restype = ctypes.c_char_p
    return function().decode()
