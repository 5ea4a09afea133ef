# SPDX-License-Identifier: Apache-2.0
"""Compiles src/torch against the headers of every PyTorch that it serves, warnings as errors, with each compiler that is here.

    compile_sources.py [VERSION ...]
    compile_sources.py --newest         prints the last of them

The headers come out of PyTorch's wheels for macOS, which are the smallest that have them (80 MB); only they are kept, in
$XDG_CACHE_HOME/gapless/headers. The CUDA headers are those of the environment that runs this. Nothing is linked or run.
"""

import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCES = ROOT / "src" / "torch"
VERSIONS = ("2.9.1", "2.10.0", "2.11.0", "2.12.0", "2.13.0", "2.14.0", "2.15.0")
KEPT = ("torch/include/c10/", "torch/include/torch/headeronly/", "torch/include/torch/csrc/api/include/torch/version.h")
FILES_AT_ONCE = 7  # one reading of PyTorch's headers serves a few files, as in src/torch/CMakeLists.txt
FLAGS = ["-std=c++20", "-fsyntax-only", "-fvisibility=hidden", "-Wall", "-Wextra", "-Wshadow", "-Woverloaded-virtual", "-Wsuggest-override", "-Werror"]


def cache() -> pathlib.Path:
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "gapless" / "headers"


def fetch(version: str) -> pathlib.Path:
    """The folder that holds c10/ and torch/ of that version."""
    kept = cache() / f"torch-{version}"
    if kept.is_dir():
        return kept / "torch" / "include"
    cache().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache()) as scratch:
        platforms = [part for number in (11, 12, 13, 14) for part in ("--platform", f"macosx_{number}_0_arm64")]
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:",
                        *platforms, "--python-version", "3.11", "--implementation", "cp", "--abi", "cp311", "--dest", scratch, f"torch=={version}"],
                       check=True)
        wheel = next(pathlib.Path(scratch).glob("torch-*.whl"))
        made = pathlib.Path(scratch) / "headers"
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(made, [name for name in archive.namelist() if name.startswith(KEPT)])
        # Written by a build with CUDA, which that for macOS is not.
        macros = made / "torch" / "include" / "c10" / "cuda" / "impl" / "cuda_cmake_macros.h"
        if not macros.exists():
            macros.write_text("#pragma once\n#define C10_CUDA_BUILD_SHARED_LIBS\n")
        if not kept.exists():
            made.rename(kept)
    return kept / "torch" / "include"


def cuda_headers() -> pathlib.Path:
    folders = [*sorted(pathlib.Path(sys.prefix).glob("lib/python3*/site-packages/nvidia/cu1[0-9]/include")), pathlib.Path("/usr/local/cuda/include")]
    return next(folder for folder in folders if (folder / "cuda_runtime_api.h").is_file())


def compilers() -> list[str]:
    named = os.environ.get("CXX")
    return [named] if named else [name for name in ("g++", "clang++", "clang++-14") if shutil.which(name)][:2]


def check(version: str, compiler: str, scratch: pathlib.Path, pool: concurrent.futures.Executor) -> bool:
    """Says how it went."""
    started = time.monotonic()
    headers = fetch(version)
    files = sorted(SOURCES.glob("*.cpp"))
    units = []
    for first in range(0, len(files), FILES_AT_ONCE):
        unit = scratch / f"{first}.cpp"
        unit.write_text("".join(f'#include "{path}"\n' for path in files[first:first + FILES_AT_ONCE]))
        units.append(unit)
    command = [compiler, *FLAGS, "-I", str(SOURCES), "-I", str(ROOT / "include"), "-isystem", str(headers), "-isystem", str(cuda_headers())]
    runs = list(pool.map(lambda unit: subprocess.run([*command, str(unit)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False), units))
    fine = all(run.returncode == 0 for run in runs)
    print(f"PyTorch {version}, {compiler}: {'compiles' if fine else 'FAILS'} ({time.monotonic() - started:.0f} s)", flush=True)
    for run in runs:
        if run.returncode != 0:
            print(run.stdout[:8000], flush=True)
    return fine


def main() -> int:
    if sys.argv[1:] == ["--newest"]:
        print(VERSIONS[-1])
        return 0
    versions = sys.argv[1:] or VERSIONS
    with tempfile.TemporaryDirectory() as scratch, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = [check(version, compiler, pathlib.Path(scratch), pool) for version in versions for compiler in compilers()]
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
