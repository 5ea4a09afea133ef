# SPDX-License-Identifier: Apache-2.0
"""Every case on PyTorch's own allocator and on gapless, in one run: what both saw is equal, or docs/differences.md lists the case."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
DIFFERENCES = ROOT / "docs" / "differences.md"
SIM = os.environ.get("GAPLESS_SIM_COMMAND", "gapless-sim")


def names_of_cases():
    """Without importing them: they import torch."""
    found = []
    for file in sorted((HERE / "cases").glob("*.py")):
        text = file.read_text()
        for columns, name in re.findall(r"^@case\(((?:[^()]|\([^()]*\))*)\)\ndef (\w+)\(", text, flags=re.M):
            found.append((f"{file.stem}.{name}", "columns=" in columns))
    return found


COMPARED = [name for name, own_columns in names_of_cases() if not own_columns]
OWN = [name for name, own_columns in names_of_cases() if own_columns]


def listed():
    """{case: reason} of the table in docs/differences.md whose first column names cases."""
    return dict(re.findall(r"^\| `(\w+\.\w+)` \| (.+) \|$", DIFFERENCES.read_text(), flags=re.M))


def run(column, folder):
    out = folder / f"{column}.json"
    way = ["--gapless"] if column == "gapless" else []
    command = [SIM, "--quiet", *way, "--", sys.executable, str(HERE / "harness.py"), column, str(out)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTORCH_", "GAPLESS_CONF"))}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "python_shim"), environment.get("PYTHONPATH", "")])
    return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True), out


@pytest.fixture(scope="session")
def columns(tmp_path_factory):
    """{case: {column: {"saw" or "failed", "said"}}}"""
    folder = tmp_path_factory.mktemp("columns")
    results = {}
    for process, out in [run(column, folder) for column in ("native", "gapless")]:
        _, said = process.communicate()
        assert process.returncode == 0, said
        for name, found in json.loads(out.read_text()).items():
            results.setdefault(name, {}).update(found)
    return results


def saw(found):
    assert "failed" not in found, found["failed"] + found["said"]
    return found["saw"]


@pytest.mark.parametrize("name", COMPARED)
def test_both_columns(columns, name):
    native, gapless = saw(columns[name]["native"]), saw(columns[name]["gapless"])
    if name in listed():
        assert native != gapless, "docs/differences.md lists a case in which there is no difference"
    else:
        assert gapless == native


@pytest.mark.parametrize("name", OWN)
def test_better_than_upstream(columns, name):
    """True on gapless, by whichever ways in the case names, and false on the allocator of PyTorch that it is about."""
    for column, found in columns[name].items():
        assert saw(found) is (column in ("gapless", "pluggable")), f"{column}: {found}"


def test_the_list_of_differences_names_cases():
    assert set(listed()) <= set(COMPARED)
    assert len(COMPARED) > 100


def rows_below(header):
    """The rows, each a list of its cells, of the table in docs/differences.md that begins with these cells."""
    rows = []
    lines = iter(DIFFERENCES.read_text().splitlines())
    for line in lines:
        if line == f"| {' | '.join(header)} |":
            next(lines)
            for row in lines:
                if not row.startswith("| "):
                    return rows
                rows.append(row[2:-2].split(" | "))
    return rows


def test_the_table_of_reports_says_where_each_fails(columns):
    rows = rows_below(("report", "case", "fails on"))
    assert [case.strip("`") for _, case, _ in rows if case.strip("`") not in COMPARED + OWN] == []
    for report, case, fails_on in rows:
        name = case.strip("`")
        assert f"issue_{report.split()[0].removeprefix('#')}_" in name
        if name in OWN:  # whose columns fail as they should: test_better_than_upstream
            assert set(columns[name]) - {"gapless", "pluggable"} == {fails_on}, name
        else:
            assert fails_on.startswith("nothing"), name
    assert {case.strip("`") for _, case, _ in rows} == {name for name in COMPARED + OWN if ".issue_" in name}


def test_the_table_of_traps_names_cases():
    rows = rows_below(("what surprises in PyTorch", "case"))
    assert len(rows) > 10
    assert [name for _, cases in rows for name in re.findall(r"`([^`]+)`", cases) if name not in COMPARED + OWN] == []
    assert all("`" in cases for _, cases in rows)
