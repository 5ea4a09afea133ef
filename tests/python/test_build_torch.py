# SPDX-License-Identifier: Apache-2.0
"""Compiling the library for a PyTorch that has none, with a compiler that writes down what it is asked for.

The real compiler and the real PyTorch are in tests/wheel/ways_in/test_compiled.py.
"""

import os
import pathlib
import subprocess
import sys

import pytest
from gapless import _build_torch

LIBRARIES = pathlib.Path(os.environ["GAPLESS_LIBRARY_DIR"])
ROOT = pathlib.Path(__file__).resolve().parents[2]
COMPILER = f"""#!{sys.executable}
import os, sys, time
with open(os.environ["COMPILER_LOG"], "a") as log:
    log.write(" ".join(sys.argv[1:]) + "\\n")
if os.environ.get("COMPILER_FAILS"):
    print("some.hpp:3: error: no such type")
    sys.exit(1)
time.sleep(0.2)
open(sys.argv[sys.argv.index("-o") + 1], "w").write("made")
"""


class Place:
    """An environment with a torch of our making, its own cache and the compiler above."""

    def __init__(self, folder):
        self.folder = folder
        self.site = folder / "site"
        self.log = folder / "log"
        (self.site / "torch" / "include").mkdir(parents=True)
        (self.site / "torch" / "__init__.py").write_text("raise SystemExit('torch was imported')\n")
        (self.site / "nvidia" / "cu13" / "include").mkdir(parents=True)
        (self.site / "nvidia" / "cu13" / "include" / "cuda_runtime_api.h").touch()
        self.set_version("2.99.0+cu130")
        compiler = folder / "compiler"
        compiler.write_text(COMPILER)
        compiler.chmod(0o755)
        self.environment = {**os.environ, "PYTHONPATH": f"{self.site}:{ROOT / 'python_shim'}", "XDG_CACHE_HOME": str(folder / "cache"),
                            "CXX": str(compiler), "COMPILER_LOG": str(self.log)}

    def set_version(self, version):
        (self.site / "torch" / "version.py").write_text(f"__version__ = '{version}'\n")
        for old in self.site.glob("torch-*"):
            old.rename(self.site / f"torch-{version}.dist-info")
        info = self.site / f"torch-{version}.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")

    def start(self, *arguments, **environment):
        return subprocess.Popen([sys.executable, "-m", "gapless", *arguments], env=self.environment | environment, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def run(self, *arguments, **environment):
        child = self.start(*arguments, **environment)
        out, err = child.communicate(timeout=60)
        return child.returncode, out.strip(), err

    def commands(self):
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_it_is_compiled_once_and_kept(place):
    code, path, err = place.run("build-torch")
    assert code == 0, err
    assert pathlib.Path(path).name == "libgapless_torch2.99.so"
    assert pathlib.Path(path).read_text() == "made"
    assert "compiling for PyTorch 2.99.0+cu130, once" in err
    commands = place.commands()
    assert [" -c " in command for command in commands].count(True) == len(commands) - 1
    assert f"-isystem {place.site}/torch/include -isystem {place.site}/nvidia/cu13/include" in commands[0]
    assert "-lc10_cuda" in commands[-1]
    assert "cudart" not in commands[-1]
    assert place.run("build-torch") == (0, path, "")
    assert place.commands() == commands
    assert place.run("build-torch", "--force")[0] == 0
    assert len(place.commands()) == 2 * len(commands)


def test_two_at_once_compile_it_once(place):
    children = [place.start("build-torch") for _ in range(3)]
    results = [child.communicate(timeout=60) for child in children]
    assert [child.returncode for child in children] == [0] * 3, results
    assert len({out for out, _ in results}) == 1
    assert len(place.commands()) == len(set(command for command in place.commands()))
    assert sum("compiling" in err for _, err in results) == 1


def test_another_version_is_another_library(place):
    first = place.run("build-torch")[1]
    place.set_version("2.99.1")
    second = place.run("build-torch")[1]
    assert first != second
    assert pathlib.Path(first).is_file()


def test_a_failure_is_explained_and_leaves_nothing(place):
    code, out, err = place.run("build-torch", COMPILER_FAILS="1")
    assert (code, out) == (1, "")
    assert "some.hpp:3: error: no such type" in err
    log = next((place.folder / "cache").rglob("compiler.log"))
    assert str(log) in err
    assert not list((place.folder / "cache").rglob("*.so"))
    assert place.run("build-torch")[0] == 0
    assert not log.exists()


def test_without_a_compiler_or_headers(place):
    code, _, err = place.run("build-torch", CXX="no-such-compiler")
    assert (code, "no no-such-compiler: install g++" in err) == (1, True)
    (place.site / "nvidia" / "cu13" / "include" / "cuda_runtime_api.h").unlink()
    code, _, err = place.run("build-torch", CUDA_HOME="/nope", CUDA_PATH="/nope")
    assert code == 1 or pathlib.Path("/usr/local/cuda/include/cuda_runtime_api.h").exists(), err


def test_run_tells_the_preload(place):
    code, out, err = place.run("run", "--", "sh", "-c", "echo $GAPLESS_TORCH_LIBRARY; echo $LD_PRELOAD")
    assert code == 0, err
    library, preload = out.splitlines()
    assert library.endswith("/libgapless_torch2.99.so")
    assert preload.split(":")[0] == str(LIBRARIES / "libgapless_preload.so")


def test_one_compiled_here_comes_before_the_prebuilt(place):
    place.set_version("2.11.7+nightly")
    asked = ("run", "--", "sh", "-c", "echo $GAPLESS_TORCH_LIBRARY")
    if not (LIBRARIES / "libgapless_torch2.11.so").exists():
        pytest.skip("this build has no library for PyTorch 2.11")
    assert place.run(*asked) == (0, "", "")
    path = place.run("build-torch")[1]
    assert place.run(*asked) == (0, path, "")


def test_a_nested_run_forgets_the_outer_one_s_library(place):
    place.set_version("2.11.7")
    if not (LIBRARIES / "libgapless_torch2.11.so").exists():
        pytest.skip("this build has no library for PyTorch 2.11")
    asked = ("run", "--", "sh", "-c", "echo $GAPLESS_TORCH_LIBRARY")
    assert place.run(*asked, GAPLESS_TORCH_LIBRARY="/elsewhere/libgapless_torch2.11.so") == (0, "", "")


def test_questions_compile_nothing(place):
    source = """
import sys, types
sys.modules['torch'] = types.ModuleType('torch')
import gapless
from gapless import _device
print(gapless.is_installed(), type(_device.of(0)).__name__)
try:
    gapless.stats()
except RuntimeError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", source], env=place.environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "False NoDevice"), done.stderr
    assert "gapless is not PyTorch's CUDA allocator" in done.stdout
    assert place.commands() == []


def test_a_home_that_cannot_be_used_is_no_obstacle(monkeypatch):
    torch = _build_torch.Torch("2.11.0", ROOT)
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(pathlib.Path, "home", no_home)
    assert _build_torch.compiled(torch) is None
    with pytest.raises(_build_torch.BuildError, match="XDG_CACHE_HOME"):
        _build_torch.build(torch)
    def forbidden(_torch):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(_build_torch, "cached", forbidden)
    assert _build_torch.compiled(torch) is None


def test_it_can_be_forbidden(place):
    code, out, err = place.run("run", "--", "sh", "-c", "echo $GAPLESS_TORCH_LIBRARY", GAPLESS_NO_BUILD="1")
    assert (code, out) == (0, "")
    assert "this is PyTorch 2.99.0+cu130, and there is no" in err
    assert place.commands() == []


def test_info_says_what_would_help(place):
    assert "gapless build-torch compiles one" in place.run("info")[1]
    assert place.run("build-torch")[0] == 0
    assert "2.99.0+cu130, compiled here:" in place.run("info")[1]
