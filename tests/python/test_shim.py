# SPDX-License-Identifier: Apache-2.0
"""The Python package without PyTorch or a GPU: finding libraries, layouts, what importing it does."""

import ctypes
import mmap
import os
import pathlib
import subprocess
import sys

import pytest
from gapless import _abi, _libraries
from gapless._stats import _flatten

ABI_LAYOUT = os.environ["GAPLESS_ABI_LAYOUT"]
LIBRARIES = pathlib.Path(os.environ["GAPLESS_LIBRARY_DIR"])


def run(source, **environment):
    return subprocess.run([sys.executable, "-c", source], env={**os.environ, **environment}, capture_output=True, text=True,
                          timeout=60, check=False)


def test_structs_are_laid_out_as_in_the_header():
    printed = subprocess.run([ABI_LAYOUT], capture_output=True, text=True, check=True).stdout
    header = {name: int(value) for name, value in (line.split() for line in printed.splitlines())}
    package = {}
    for struct, name in ((_abi.Stat, "gapless_stat"), (_abi.Stats, "gapless_stats"), (_abi.Suggestion, "gapless_suggestion"),
                         (_abi.OomRecord, "gapless_oom_record"), (_abi.Forecast, "gapless_forecast"),
                         (_abi.ConstantPoolArgs, "gapless_constant_pool_args"), (_abi.ConstantStats, "gapless_constant_stats"),
                         (_abi.PadError, "gapless_pad_error"), (_abi.RaggedBatch, "gapless_ragged_batch"),
                         (_abi.PaddedBatch, "gapless_padded_batch")):
        package[name] = ctypes.sizeof(struct)
        package |= {f"{name}.{field}": getattr(struct, field).offset for field, _ in struct._fields_}
    assert package == header


def test_statistics_are_flattened_by_pytorch_s_names():
    raw = _abi.Stats()
    raw.allocated_bytes[1].peak = 7
    raw.oversize_segments.freed = 8
    raw.hits = 9
    flat = _flatten(raw)
    assert "struct_size" not in flat
    assert flat["allocated_bytes.small_pool.peak"] == 7
    assert flat["oversize_segments.freed"] == 8
    assert flat["hits"] == 9
    assert sum(flat.values()) == 24
    assert len(flat) == 122 + 13


def test_importing_needs_neither_torch_nor_libraries(tmp_path):
    done = run("import sys, gapless; print('torch' in sys.modules, gapless.version, gapless.is_installed())",
               GAPLESS_LIBRARY_DIR=str(tmp_path))
    assert (done.returncode, done.stdout.split()) == (0, ["False", "0.1.0", "False"]), done.stderr


def test_the_library_says_its_version():
    assert _libraries.core().gapless_abi_version() == 1
    done = run("import gapless; print(gapless.library_version() == gapless.version)")
    assert (done.returncode, done.stdout.strip()) == (0, "True"), done.stderr


def test_the_chosen_folder_is_used(monkeypatch, tmp_path):
    (tmp_path / _libraries.CORE).touch()
    monkeypatch.setenv("GAPLESS_LIBRARY_DIR", str(tmp_path))
    assert _libraries.library_dir() == tmp_path


def test_a_chosen_folder_without_the_library_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("GAPLESS_LIBRARY_DIR", str(tmp_path))
    with pytest.raises(_libraries.LibraryNotFound, match=f"GAPLESS_LIBRARY_DIR is {tmp_path}, which has no libgapless.so"):
        _libraries.library_dir()
    done = run("from gapless.cli import main; raise SystemExit(main(['info']))", GAPLESS_LIBRARY_DIR="/nope")
    assert (done.returncode, "GAPLESS_LIBRARY_DIR is /nope" in done.stderr) == (3, True), done.stderr
    done = run("import gapless; gapless.install(strict=True)", GAPLESS_LIBRARY_DIR="/nope")
    assert (done.returncode, done.stderr.count("/nope")) == (1, 1), done.stderr


def test_the_package_s_own_folder_comes_first(monkeypatch, tmp_path):
    monkeypatch.delenv("GAPLESS_LIBRARY_DIR")
    monkeypatch.setattr(_libraries, "__file__", str(tmp_path / "gapless" / "_libraries.py"))
    (tmp_path / "gapless").mkdir()
    (tmp_path / "gapless" / _libraries.CORE).touch()
    assert _libraries.library_dir() == tmp_path / "gapless"


def test_what_is_not_found_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(_libraries, "__file__", str(tmp_path / "nowhere" / "gapless" / "_libraries.py"))
    monkeypatch.delenv("GAPLESS_LIBRARY_DIR")
    with pytest.raises(_libraries.LibraryNotFound, match="libgapless.so not found in .*nowhere.*; set GAPLESS_LIBRARY_DIR"):
        _libraries.library_dir()


def test_the_loaded_library_is_found_by_its_mapping(tmp_path):
    path = tmp_path / "a folder" / "libgapless_torch2.99.so"
    path.parent.mkdir()
    path.write_bytes(b"x" * 4096)
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ):
        assert _libraries._mapped("libgapless_torch") == [path]
        path.unlink()
        assert _libraries._mapped("libgapless_torch") == [path]
    assert _libraries._mapped("libgapless_torch") == []
