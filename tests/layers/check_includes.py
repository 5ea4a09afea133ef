#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails when a file of src/ includes a rung that src/README.md does not allow it.

The table of src/README.md is the rule: this script reads it, so that page and check cannot differ.
"""
import pathlib
import re
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)


def read_table(readme: str) -> dict[str, list[str]]:
    rows = re.findall(r"^\| (\S+?)/ \|.*\| (.+?) \|$", readme, re.M)
    return {name: [w.strip() for w in allowed.split(",")] for name, allowed in rows}


def expand(name: str, allowed: list[str], order: list[str]) -> set[str]:
    """The rungs that `name` may include, by the words of the table."""
    rungs = {name}
    for word in allowed:
        word = word.removeprefix("views of ").strip()
        if word == "all above but driver/sim":
            rungs |= set(order[: order.index(name)]) - {"driver/sim"}
        elif word in order:
            rungs.add(word)
        elif word == "gapless.h":
            rungs.add("../include/gapless")
    return rungs


def rung_of(path: str, order: list[str]) -> str | None:
    fits = [r for r in order if path == r or path.startswith(r + "/")]
    return max(fits, key=len) if fits else None


def main() -> int:
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    src = root / "src"
    table = read_table((src / "README.md").read_text())
    order = list(table)
    faults = []
    files = 0
    for file in sorted(src.rglob("*")):
        if file.suffix not in {".h", ".hpp", ".cpp", ".c", ".inc", ".cu", ".cuh"}:
            continue
        files += 1
        relative = file.relative_to(src).as_posix()
        rung = rung_of(relative, order)
        if rung is None:
            faults.append(f"{relative}: its folder is not in the table of src/README.md")
            continue
        allowed = expand(rung, table[rung], order)
        for include in INCLUDE.findall(file.read_text()):
            if include.startswith("gapless/"):
                target = "../include/gapless"
                if rung == "capi" or target in allowed or "gapless.h" in table[rung]:
                    continue
            elif (file.parent / include).exists():
                target = rung_of((file.parent / include).resolve().relative_to(src.resolve()).as_posix(), order)
            else:
                target = rung_of(include, order)
            if target is not None and target not in allowed:
                faults.append(f"{relative}: includes {include}: rung {rung} may not include {target}")
    for fault in faults:
        print(fault)
    print(f"{files} files of src/, {len(faults)} upward includes")
    return 1 if faults or files == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
