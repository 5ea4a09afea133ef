# SPDX-License-Identifier: Apache-2.0
"""What gapless writes is for its user alone, and never goes through a link."""

import pathlib
import re
import stat

import pytest
from gapless import _private

PACKAGE = pathlib.Path(_private.__file__).parent


def test_only_the_user_may_read(tmp_path):
    path = tmp_path / "report.json"
    _private.write(path, "text")
    assert path.read_text() == "text"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_no_link_is_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    link = tmp_path / "report.json"
    link.symlink_to(victim)
    with pytest.raises(OSError):
        _private.write(link, "text")
    assert victim.read_text() == "precious"


def test_a_pipe_s_name_works(capfd):
    _private.write("/dev/stdout", "text\n")
    assert capfd.readouterr().out == "text\n"


def test_nobody_writes_in_another_way():
    """But for temporary folders, which are the user's alone: gapless fit's."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        if path.name == "_private.py" or "fit" in path.parts and path.name in ("run.py", "replay.py", "observer.py") or path.name == "_build_torch.py":
            continue
        lines = path.read_text().splitlines()
        found += [f"{path.name}: {line.strip()}" for line in lines if re.search(r'write_text\(|open\([^)]*"[wa]b?"', line) and "opener=" not in line]
    assert found == []
