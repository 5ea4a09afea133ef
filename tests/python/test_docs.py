# SPDX-License-Identifier: Apache-2.0
"""What the pages name exists: files, commands, options, functions."""

import os
import pathlib
import re
import subprocess

import gapless
import pytest
from gapless.cli import _parser

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("**/*.md"))]
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text() for page in PAGES}


@pytest.mark.parametrize("page", TEXTS)
def test_links_lead_somewhere(page):
    folder = (ROOT / page).parent
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", TEXTS[page])
    missing = [link for link in links if "://" not in link and not (folder / link).exists()]
    assert missing == []


def test_commands_of_gapless_exist():
    commands = next(action for action in _parser()._actions if action.dest not in ("help", "version")).choices
    named = {word for text in TEXTS.values() for word in re.findall(r"(?:`|^    )gapless ([a-z-]+)", text, flags=re.M)}
    assert named
    assert named <= set(commands)


def test_functions_of_the_package_exist():
    named = {name for text in TEXTS.values() for name in re.findall(r"`gapless\.([a-z_]+)\(", text)}
    assert {"install", "stats", "is_installed"} <= named
    assert [name for name in named if name not in gapless.__all__] == []


def test_options_in_gapless_conf_exist():
    table = set(re.findall(r"^\| `([a-z_0-9]+)` \|", TEXTS["docs/options.md"], flags=re.M))
    assert len(table) > 8
    named = {name for text in TEXTS.values() for conf in re.findall(r"GAPLESS_CONF=([a-z_0-9:.,…A-Z]+)", text)
             for name in re.findall(r"(?:^|,)([a-z_]+):", conf)}
    assert {"granule", "slack"} <= named
    assert named <= table


@pytest.mark.parametrize("tool", ["gapless-sim", "gapless-replay"])
def test_options_of_the_tools_exist(tool):
    program = pathlib.Path(os.environ["GAPLESS_LIBRARY_DIR"]).parent / "bin" / tool
    if not program.exists():
        pytest.skip(f"this build has no {tool}")
    usage = subprocess.run([program, "--help"], capture_output=True, text=True, check=True, timeout=20).stdout
    known = set(re.findall(r"--[a-z][a-z-]+", usage))
    for page, text in TEXTS.items():
        for line in re.findall(rf"{tool} (--[^`\n]*)", text):
            own = line.split(" -- ")[0]
            assert set(re.findall(r"--[a-z][a-z-]+", own)) <= known, (page, line)


def test_source_files_named_in_pages_exist():
    known = [path.relative_to(ROOT).as_posix() for folder in ("src", "include", "tests", "bench", "docs", "examples", "kernels", "cmake", ".ci")
             for path in (ROOT / folder).rglob("*")] + [path.name for path in ROOT.iterdir()]
    for page, text in TEXTS.items():
        for name in re.findall(r"`((?:src|include|tests|bench|docs|examples|\.ci)/[A-Za-z0-9_./-]+)`", text):
            assert name.rstrip("/") in known, (page, name)


def test_code_in_pages_is_code_that_runs():
    """Each block of code in a page stands in a file of docs/examples, line by line, which the tests build and run."""
    examples = {path.name: [line.strip() for line in path.read_text().splitlines()]
                for path in (ROOT / "docs" / "examples").iterdir() if path.is_file()}
    quoted = 0
    for page, text in TEXTS.items():
        for block in re.findall(r"^```(?:c|cpp|cmake|python)\n(.*?)^```", text, flags=re.M | re.S):
            lines = [line.strip() for line in block.strip().splitlines() if line.strip()]
            inside = [name for name, known in examples.items()
                      if any(lines == [line for line in known[at:] if line][:len(lines)] for at in range(len(known)))]
            assert inside, f"{page} has code that is in no file of docs/examples:\n{block}"
            quoted += 1
    assert quoted >= 4
