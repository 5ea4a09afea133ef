# SPDX-License-Identifier: Apache-2.0
"""gapless report: each kind of file, and files that are none."""

import json
import os
import pickle
import subprocess
import sys

import pytest
from gapless import report
from gapless.cli import main

MIB = 1 << 20


def block(size, state, *frames):
    return {"address": 0, "size": size, "requested_size": size, "state": state,
            "frames": [{"filename": name, "line": line, "name": function} for name, line, function in frames]}


def snapshot(device=0):
    inner = ("/venv/site-packages/torch/nn/functional.py", 7, "linear")
    return [{"device": device, "total_size": 60 * MIB, "blocks": [
        block(10 * MIB, "active_allocated", inner, ("/home/me/model.py", 12, "forward"), ("/home/me/train.py", 3, "main")),
        block(20 * MIB, "inactive"),
        block(14 * MIB, "active_allocated", inner, ("/home/me/model.py", 12, "forward"), ("/home/me/train.py", 3, "main")),
        block(5 * MIB, "active_pending_free"),
        block(5 * MIB, "inactive"),
        block(6 * MIB, "active_allocated"),
    ]}]


def shown(tmp_path, capsys, data, *options, expected=0):
    path = tmp_path / "file"
    path.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
    assert main(["report", str(path), *options]) == expected
    return capsys.readouterr()


def figures(text):
    """Lines of "name  figure" as a dictionary."""
    head = text.split("\n\n")[0]
    return dict(line.strip().split("  ", 1) for line in head.splitlines() if line.startswith("  ") and "  " in line.strip())


def test_a_snapshot(tmp_path, capsys):
    out = shown(tmp_path, capsys, pickle.dumps({"segments": snapshot(), "device_traces": [[]]})).out
    found = {name: value.strip() for name, value in figures(out).items()}
    assert (found["live"], found["free"], found["reserved"]) == ("30.0 MiB", "25.0 MiB", "60.0 MiB")
    assert found["freed, waiting for a stream"] == "5.0 MiB"
    assert found["reserved / live"] == "2.0000"
    assert found["largest of them"] == "20.0 MiB"
    assert found["fragmentation"].startswith("20.0%")
    lines = out.splitlines()
    at = next(index for index, line in enumerate(lines) if "24.0 MiB" in line)
    assert lines[at].split() == ["24.0", "MiB", "2", "me/model.py:12", "forward"]
    assert lines[at + 1].split() == ["me/train.py:3", "main"]
    assert "blocks of 6,291,456 bytes" in lines[at + 2]
    assert "\033" not in out


def test_the_same_from_json_and_as_a_bare_list(tmp_path, capsys):
    whole = shown(tmp_path, capsys, {"segments": snapshot()}).out
    assert shown(tmp_path, capsys, snapshot()).out == whole
    assert shown(tmp_path, capsys, pickle.dumps(snapshot())).out == whole


def test_top_and_frames(tmp_path, capsys):
    out = shown(tmp_path, capsys, snapshot(), "--top", "1", "--frames", "1").out
    assert "train.py" not in out
    assert "1 more places hold 6.0 MiB" in out


def test_devices_apart_and_no_stacks(tmp_path, capsys):
    bare = [{"device": 1, "total_size": 2 * MIB, "blocks": [{"size": 2 * MIB, "state": "active_allocated"}]}]
    out = shown(tmp_path, capsys, [*snapshot(), *bare]).out
    assert out.index("device 0") < out.index("device 1")
    assert "no stacks: they are recorded after torch.cuda.memory._record_memory_history()" in out
    assert "an empty snapshot" in shown(tmp_path, capsys, {"segments": []}).out


def test_statistics(tmp_path, capsys):
    data = {f"{name}.all.{which}": value * MIB for name, value in (("allocated_bytes", 100), ("active_bytes", 110), ("reserved_bytes", 150))
            for which in ("current", "peak")}
    out = shown(tmp_path, capsys, data | {"num_ooms": 2, "hits": 12345}).out
    assert "1.5000" in out
    assert "12,345" in out


def test_the_simulated_device(tmp_path, capsys):
    data = {"physical_bytes": 0, "physical_bytes_peak": 64 * MIB, "violations": 0, "driver_calls": {"cuMemMap": 3, "cuMemCreate": 5},
            "devices": [{"total_bytes": 1 << 30, "physical_bytes": 0, "physical_bytes_peak": 64 * MIB}]}
    out = shown(tmp_path, capsys, data).out
    assert "at most 64.0 MiB of 1,024.0 MiB" in out
    assert out.index("cuMemCreate") < out.index("cuMemMap")


def test_an_oom_record(tmp_path, capsys):
    out = shown(tmp_path, capsys, {"requested_bytes": 4 * MIB, "live_bytes": 8 * MIB, "limit_bytes": (1 << 64) - 1, "device": 3,
                                   "step_label": "train", "phase_label": ""}).out
    found = {name: value.strip() for name, value in figures(out).items()}
    assert (found["device"], found["requested"], found["limit"], found["its label"]) == ("3", "4.0 MiB", "none", "train")
    assert "phase" not in found
    assert "limit" in shown(tmp_path, capsys, {"record": {"requested_bytes": 1, "live_bytes": 1, "verdict": "limit"}, "levers": []}).out


@pytest.mark.parametrize(("data", "why"), [
    (b"", "neither a pickle nor JSON"), (b"hello", "neither a pickle nor JSON"), (b"{", "begins as JSON"), (b"{}", "no snapshot"),
    (b"[]", "no snapshot"), (b'{"segments": [{}]}', "lacks what a file of its kind has"), (pickle.dumps(7), "no snapshot"),
])
def test_what_is_no_report(tmp_path, capsys, data, why):
    assert why in shown(tmp_path, capsys, data, expected=1).err


def test_a_pickle_is_not_run(tmp_path, capsys):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    err = shown(tmp_path, capsys, pickle.dumps({"segments": Trap()}), expected=1).err
    assert "names posix.mkdir" in err
    assert not (tmp_path / "made").exists()


def test_a_file_that_is_not_there(capsys):
    assert main(["report", "/no/such/file"]) == 1
    assert "No such file" in capsys.readouterr().err


def test_wrong_arguments_end_with_2(capsys):
    for arguments in (["report"], ["report", "x", "--top", "0"], ["report", "x", "--frames", "many"]):
        with pytest.raises(SystemExit) as error:
            main(arguments)
        assert error.value.code == 2


def test_on_a_terminal(capsys):
    """With rich where it is installed, without it as in a pipe; NO_COLOR is heeded."""
    source = """
import pty, os, sys
code = "from gapless.report import *; show(sections({'segments': []}, top=1, frames=1))"
pty.spawn([sys.executable, '-c', code])
"""
    for no_color in ("", "1"):
        done = subprocess.run([sys.executable, "-c", source], env={**os.environ, "NO_COLOR": no_color, "TERM": "xterm-256color"},
                              capture_output=True, text=True, timeout=60, check=True, stdin=subprocess.DEVNULL)
        assert "an empty snapshot" in done.stdout
        if no_color:
            assert "\033" not in done.stdout


def test_it_needs_neither_torch_nor_the_library():
    source = "import sys, gapless.report; sys.exit('torch' in sys.modules or 'rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", source], check=False).returncode == 0
    assert report.sections([*snapshot()], top=1, frames=1)[0].title == "device 0"
