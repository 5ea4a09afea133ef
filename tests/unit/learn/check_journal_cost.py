#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails when the journal costs more than 60 instructions for an allocation and its free, counted by callgrind.

    check_journal_cost.py PROGRAM
"""

import pathlib
import re
import subprocess
import sys
import tempfile

MOST = 60


def instructions(program: str, function: str, folder: pathlib.Path) -> tuple[int, int]:
    """Instructions inside of `function`, calls included, and the pairs that it does."""
    out = folder / f"{function}.out"
    done = subprocess.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", f"--toggle-collect={function}", program],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(done.stderr[-2000:])
    total = re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.M)
    return int(total[1]), int(done.stdout)


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        off, pairs = instructions(sys.argv[1], "journal_off", pathlib.Path(folder))
        on, _ = instructions(sys.argv[1], "journal_on", pathlib.Path(folder))
    cost = (on - off) / pairs
    print(f"a pair: {off / pairs:.1f} instructions, with the journal {on / pairs:.1f}: {cost:.1f} more (at most {MOST})")
    return 0 if 0 < cost <= MOST else 1


if __name__ == "__main__":
    sys.exit(main())
