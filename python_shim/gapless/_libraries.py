# SPDX-License-Identifier: Apache-2.0
"""Where the libraries are, and loading them once."""

import ctypes
import functools
import os
import pathlib

CORE = "libgapless.so"


class LibraryNotFound(OSError):
    """None of the folders that may hold gapless's libraries has the one that is needed."""


def candidates() -> list[pathlib.Path]:
    """The folders looked in, first wins: $GAPLESS_LIBRARY_DIR alone where it is set, else beside this package and a build in the
    source tree."""
    if chosen := os.environ.get("GAPLESS_LIBRARY_DIR"):
        # Another folder in its place would be the very surprise that somebody who sets it wants to avoid.
        return [pathlib.Path(chosen)]
    package = pathlib.Path(__file__).resolve().parent
    return [package, package / "lib", package.parent.parent / "build" / "release" / "lib"]


def library_dir() -> pathlib.Path:
    """The folder of libgapless.so. Raises LibraryNotFound."""
    for folder in candidates():
        if (folder / CORE).is_file():
            return folder
    if chosen := os.environ.get("GAPLESS_LIBRARY_DIR"):
        raise LibraryNotFound(f"GAPLESS_LIBRARY_DIR is {chosen}, which has no {CORE}")
    looked = ", ".join(str(folder) for folder in candidates())
    raise LibraryNotFound(f"{CORE} not found in {looked}; set GAPLESS_LIBRARY_DIR")


@functools.cache
def core() -> ctypes.CDLL:
    """libgapless.so. Needs neither PyTorch nor a GPU to load."""
    return ctypes.CDLL(str(library_dir() / CORE))


def torch_library_path(torch) -> pathlib.Path:
    """The library for `torch` (a _build_torch.Torch): one that was compiled here for it, else the prebuilt one of its minor version, else
    one compiled now. Raises LibraryNotFound."""
    from . import _build_torch

    prebuilt = library_dir() / torch.library_name
    if found := _build_torch.compiled(torch):
        return found
    if prebuilt.is_file():
        return prebuilt
    if not _build_torch.is_allowed():
        raise LibraryNotFound(f"this is PyTorch {torch.version}, and there is no {prebuilt}")
    return _build_torch.build(torch)


@functools.cache
def torch_library() -> ctypes.CDLL:
    """The library for the PyTorch that is installed, compiled at its first use where none was shipped. Imports torch, whose
    libraries it needs."""
    import torch  # noqa: F401: loads what the library needs

    from ._build_torch import find_torch

    found = find_torch()
    if found is None:
        raise LibraryNotFound("torch is loaded from a place where its files cannot be found")
    library = ctypes.CDLL(str(torch_library_path(found)))
    library.gapless_torch_install.restype = ctypes.c_int
    library.gapless_torch_is_installed.restype = ctypes.c_int
    library.gapless_torch_core.restype = ctypes.c_void_p
    return library
