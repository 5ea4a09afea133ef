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


def torch_library_path(torch, *, build: bool = True) -> pathlib.Path:
    """The library for `torch` (a _build_torch.Torch): one that was compiled here for it, else the prebuilt one of its minor version, else,
    if `build`, one compiled now. Raises LibraryNotFound."""
    from . import _build_torch

    prebuilt = library_dir() / torch.library_name
    if found := _build_torch.compiled(torch):
        return found
    if prebuilt.is_file():
        return prebuilt
    if not build or not _build_torch.is_allowed():
        raise LibraryNotFound(f"this is PyTorch {torch.version}, and there is no {prebuilt}")
    return _build_torch.build(torch)


def _mapped(name: str) -> list[pathlib.Path] | None:
    """Files of this process whose names begin with `name`, in the order of their addresses; None where the system does not tell."""
    found: dict[pathlib.Path, None] = {}
    try:
        with open("/proc/self/maps", "rb") as maps:
            for line in maps:
                # The last of the columns; a file that was replaced since keeps its place in the loader's list under its name.
                if b"/" + name.encode() in line:
                    path = pathlib.Path(os.fsdecode(line.split(maxsplit=5)[5].rstrip(b"\n").removesuffix(b" (deleted)")))
                    if path.name.startswith(name):
                        found[path] = None
    except OSError:
        return None
    return list(found)


@functools.cache
def _open(path: pathlib.Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    library.gapless_torch_install.restype = ctypes.c_int
    library.gapless_torch_is_installed.restype = ctypes.c_int
    library.gapless_torch_core.restype = ctypes.c_void_p
    return library


_installed: ctypes.CDLL | None = None


def torch_library(*, build: bool = False) -> ctypes.CDLL:
    """The library for the PyTorch of this process: the one that is loaded, however it came in, since a second copy would know nothing
    of the first. Where none is, LibraryNotFound, unless `build`: then it is loaded, compiled if none was shipped, and torch imported,
    whose libraries it needs."""
    global _installed
    if _installed is not None:
        return _installed
    mapped = _mapped("libgapless_torch")
    if mapped:
        libraries = [_open(path) for path in mapped]
        _installed = next((one for one in libraries if one.gapless_torch_is_installed() == 1), None)
        return _installed or libraries[0]
    if not build and mapped is not None:
        raise LibraryNotFound("none of gapless's libraries for PyTorch is loaded")
    import torch  # noqa: F401: loads what the library needs

    from . import _build_torch

    found = _build_torch.find_torch()
    if found is None:
        raise LibraryNotFound("torch is loaded from a place where its files cannot be found")
    return _open(_chosen(found) or torch_library_path(found, build=build))


def _chosen(torch) -> pathlib.Path | None:
    """The library that the preload of this process will load, if there is a preload: `gapless run` names it, or it is beside."""
    named = pathlib.Path(os.environ.get("GAPLESS_TORCH_LIBRARY", ""))
    beside = [path.parent / torch.library_name for path in _mapped("libgapless_preload.so") or []]
    return next((path for path in (named, *beside) if path.name == torch.library_name and path.is_file()), None)
