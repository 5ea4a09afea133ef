# SPDX-License-Identifier: Apache-2.0
"""The demo's parts that need no model: its options, refused before anything is built, and which figures are marked as best."""

import pathlib
import subprocess
import sys
import types

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench" / "demo"))
import arguments  # noqa: E402
import figures  # noqa: E402
import page  # noqa: E402


@pytest.mark.parametrize("wrong", [["--stepz", "3"], ["--steps", "3"], ["--size", "24"], ["--model", "70b"]])
def test_a_wrong_option_ends_it_at_once(wrong):
    done = subprocess.run([str(ROOT / "demo"), *wrong], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 2
    assert "demo: error: " in done.stderr
    assert "building" not in done.stderr


def test_defaults():
    assert arguments.parse([]).size == "80GiB"


def row(**values):
    base = dict(title="", name="", peak_live=2**30, peak_reserved=2**31, ratio=2.0, calls=1, steady_calls=1, first_step_ms=1.0,
                steady_step_us=1.0, retries=0, ns_per_pair=1.0)
    return types.SimpleNamespace(**base | values)


def test_the_best_of_each_row_is_marked():
    rows = [row(calls=5), row(ratio=1.5, calls=5), row(ratio=1.5, calls=9)]
    table = {label: best for label, _, best in figures.table(rows)}
    assert table["reserved / live"] == {1, 2}
    assert table["driver calls"] == {0, 1}
    assert table["retries"] == set()
    assert page.html_table(rows).count("class=best") == 4


def test_the_footnote_belongs_to_rows_that_have_a_star():
    assert any(label.endswith("*") for label, _, _ in figures.table([row()]))
    assert figures.FOOTNOTE.startswith("* ")
    assert "rows with *" in (ROOT / "bench" / "demo" / "page.html").read_text()
