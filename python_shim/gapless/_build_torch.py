# SPDX-License-Identifier: Apache-2.0
"""Compiling the library for a PyTorch that this installation has none for.

Needs g++ (or $CXX) and what pip brought: PyTorch's headers and those of nvidia-cuda-runtime. No CUDA toolkit, no nvcc. What is made
is kept in $XDG_CACHE_HOME/gapless/torch, in a folder for each PyTorch version and state of the sources; whoever needs the same
at the same time waits for the first.
"""

import concurrent.futures
import contextlib
import dataclasses
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import pathlib
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from . import _private
from ._libraries import LibraryNotFound, library_dir

# One reading of PyTorch's headers serves a few files, as in src/torch/CMakeLists.txt.
_FILES_AT_ONCE = 7
_FLAGS = ["-std=c++20", "-O2", "-DNDEBUG", "-fPIC", "-fvisibility=hidden", "-fvisibility-inlines-hidden", "-w"]


class BuildError(LibraryNotFound):
    """The library could not be compiled; the text says why and where the compiler's output is."""


@dataclasses.dataclass(frozen=True)
class Torch:
    """The installed PyTorch, found without importing it (which takes seconds)."""

    version: str  # 2.11.0+cu130
    folder: pathlib.Path  # site-packages/torch

    @property
    def minor(self) -> str:
        return ".".join(self.version.split(".")[:2])

    @property
    def library_name(self) -> str:
        return f"libgapless_torch{self.minor}.so"


def find_torch() -> Torch | None:
    spec = importlib.util.find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = pathlib.Path(next(iter(spec.submodule_search_locations)))
    # Its own word first: the package's metadata does not say which CUDA it was built for.
    with contextlib.suppress(OSError):
        if said := re.search(r"^__version__ = ['\"]([^'\"]+)", (folder / "version.py").read_text(), flags=re.M):
            return Torch(said[1], folder)
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return Torch(importlib.metadata.version("torch"), folder)
    return None


def _sources() -> tuple[pathlib.Path, pathlib.Path]:
    """The folder of the library's sources and the one that holds gapless/gapless.h: of this installation, or of the source tree."""
    package = pathlib.Path(__file__).resolve().parent
    tree = package.parent.parent
    for sources, headers in ((package / "share" / "gapless" / "torch", package / "include"), (tree / "src" / "torch", tree / "include")):
        if (sources / "gapless_torch.map").is_file() and (headers / "gapless" / "gapless.h").is_file():
            return sources, headers
    raise BuildError("this installation has no sources of the PyTorch library")


def _cuda_headers(torch: Torch) -> pathlib.Path:
    packages = torch.folder.parent / "nvidia"
    homes = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    folders = [*sorted(packages.glob("cu[0-9]*/include"), reverse=True), packages / "cuda_runtime" / "include",
               *(pathlib.Path(home) / "include" for home in homes if home)]
    for folder in folders:
        if (folder / "cuda_runtime_api.h").is_file():
            return folder
    raise BuildError("no CUDA headers: install nvidia-cuda-runtime, which PyTorch's wheel asks for")


def _compiler() -> list[str]:
    return shlex.split(os.environ.get("CXX", "")) or ["g++"]


def _fingerprint(torch: Torch, sources: pathlib.Path, headers: pathlib.Path, libraries: pathlib.Path) -> str:
    """What the result depends on: another one is another folder of the cache."""
    digest = hashlib.sha256()
    files = [*sorted(path for path in sources.iterdir() if path.suffix in {".cpp", ".hpp", ".h", ".map"}), headers / "gapless" / "gapless.h"]
    for path in files:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    # The library finds libgapless.so by this path; PyTorch's own folder tells builds of one version apart. The compiler is not in it:
    # where a job runs there may be none.
    for text in (torch.version, str(torch.folder), str(libraries), " ".join(_FLAGS), platform.machine()):
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()[:16]


def _cache() -> pathlib.Path:
    try:
        base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    except RuntimeError as error:
        raise BuildError(f"{error} XDG_CACHE_HOME names a folder for what is compiled") from error
    return pathlib.Path(base) / "gapless" / "torch"


def cached(torch: Torch) -> pathlib.Path:
    """Where the compiled library is, or would be."""
    sources, headers = _sources()
    libraries = library_dir()
    return _cache() / f"{torch.version}-{_fingerprint(torch, sources, headers, libraries)}" / torch.library_name


def compiled(torch: Torch) -> pathlib.Path | None:
    """The library that was compiled for `torch` from the present sources, if there is one."""
    try:
        path = cached(torch)
        return path if path.is_file() else None
    except OSError:  # no sources, no home, or one that cannot be read: nothing of ours is there
        return None


def is_allowed() -> bool:
    """GAPLESS_NO_BUILD=1: nothing is ever compiled (clusters without a compiler, read-only homes, tests)."""
    return os.environ.get("GAPLESS_NO_BUILD", "") in ("", "0")


def build(torch: Torch, *, force: bool = False) -> pathlib.Path:
    """The library for `torch`, compiled unless it has been. Raises BuildError. Safe in several processes at once."""
    target = cached(torch)
    if target.is_file() and not force:
        return target
    with _locked(target.parent):
        if not target.is_file() or force:
            _compile(torch, target)
    return target


@contextlib.contextmanager
def _locked(folder: pathlib.Path) -> Iterator[None]:
    try:
        # Code is loaded from here into every process of the user's: nobody else may write.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = open(folder / "lock", "w", encoding="utf-8", opener=_private.opener)
    except OSError as error:
        raise BuildError(f"cannot write to {folder}: {error.strerror} (XDG_CACHE_HOME names another place)") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _compile(torch: Torch, target: pathlib.Path) -> None:
    sources, headers = _sources()
    libraries = library_dir()
    compiler = _compiler()
    if shutil.which(compiler[0]) is None:
        raise BuildError(f"no {compiler[0]}: install g++ 12 or newer, or name a compiler in CXX")
    includes = ["-I", str(sources), "-I", str(headers), "-isystem", str(torch.folder / "include"), "-isystem", str(_cuda_headers(torch))]
    files = sorted(sources.glob("*.cpp"))
    batches = [files[first:first + _FILES_AT_ONCE] for first in range(0, len(files), _FILES_AT_ONCE)]
    os.write(2, f"gapless: compiling for PyTorch {torch.version}, once; a minute or two of one processor\n".encode())
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        scratch = pathlib.Path(folder)

        def compile_one(index: int) -> pathlib.Path:
            unit = scratch / f"unit{index}.cpp"
            unit.write_text("".join(f'#include "{path}"\n' for path in batches[index]))
            _run([*compiler, *_FLAGS, *includes, "-c", str(unit), "-o", str(unit.with_suffix(".o"))], target)
            return unit.with_suffix(".o")

        with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            objects = [str(path) for path in pool.map(compile_one, range(len(batches)))]
        made = scratch / target.name
        _run([*compiler, "-shared", "-o", str(made), *objects, f"-Wl,--version-script={sources / 'gapless_torch.map'}",
              "-L", str(torch.folder / "lib"), "-lc10", "-lc10_cuda", str(libraries / "libgapless.so"),
              f"-Wl,-rpath,{libraries}", "-ldl"], target)
        made.chmod(0o755)
        os.replace(made, target)
    (target.parent / "compiler.log").unlink(missing_ok=True)
    os.write(2, f"gapless: compiled in {time.monotonic() - started:.0f} s: {target}\n".encode())


def _run(command: list[str], target: pathlib.Path) -> None:
    # What a process on gapless preloads is not the compiler's business.
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=environment,
                          check=False)
    if done.returncode == 0:
        return
    log = target.parent / "compiler.log"
    _private.write(log, shlex.join(command) + "\n" + done.stdout)
    first = next((line for line in done.stdout.splitlines() if "error" in line), f"exit code {done.returncode}")
    raise BuildError(f"this PyTorch's interface is not one that the sources know, or the compiler failed: {first.strip()} (all of it: {log})")


def main(force: bool) -> int:
    """``gapless build-torch``."""
    torch = find_torch()
    if torch is None:
        print("gapless: build-torch: no torch in this environment", file=sys.stderr)
        return 1
    try:
        print(build(torch, force=force))
    except OSError as error:
        print(f"gapless: build-torch: {error}", file=sys.stderr)
        return 1
    return 0
