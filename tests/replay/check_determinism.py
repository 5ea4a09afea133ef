#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The same replay twice writes the same log, byte for byte.

    check_determinism.py TOOL TRACE ALLOCATOR [ARGUMENT...]
"""
import filecmp
import pathlib
import subprocess
import sys
import tempfile


def main() -> int:
    tool, trace, allocator, *more = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        logs = [pathlib.Path(folder) / name for name in ("first", "second")]
        lines = []
        for log in logs:
            command = [tool, "--json", "--timing-runs", "0", "--allocator", allocator, "--log", str(log), *more, trace]
            lines.append(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
        calls = sum(1 for line in open(logs[0]) if not line.startswith("#"))
        same = filecmp.cmp(*logs, shallow=False)
    if calls == 0:
        print("the log is empty")
        return 1
    if not same or lines[0] != lines[1]:
        print(f"two replays differ: logs {'alike' if same else 'differ'}\n{lines[0]}{lines[1]}")
        return 1
    print(f"{calls} calls, twice the same")
    return 0


if __name__ == "__main__":
    sys.exit(main())
