#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A file that cannot be written is an error: before the replay where that is known, and never a silent loss.

    check_unwritable.py TOOL TRACE
"""
import errno
import os
import pathlib
import subprocess
import sys
import tempfile

SETUP = 3  # the tool's exit code


def main() -> int:
    tool, trace = sys.argv[1:]
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        # The first two are known at once: no line of the table, which takes a replay. A full disk shows at the end.
        for path, at_once in ((f"{folder}/none/file", True), (folder, True), ("/dev/full", False)):
            for option in ("--log", "--html"):
                command = [tool, "--json", "--timing-runs", "0", "--first", "200", option, path, trace]
                done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
                fine = done.returncode == SETUP and path in done.stderr and not (at_once and done.stdout)
                if (option, path) == ("--log", "/dev/full"):
                    fine = fine and os.strerror(errno.ENOSPC) in done.stderr
                if not fine:
                    wrong.append(f"{option} {path}: exit code {done.returncode}, {done.stdout!r}, {done.stderr!r}")
        page = pathlib.Path(folder) / "page.html"
        page.write_text("the picture of an earlier replay")
        subprocess.run([tool, "--html", str(page), f"{folder}/no.trace"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        if not page.read_text():
            wrong.append("a replay that did not happen emptied an earlier picture")
        log = pathlib.Path(folder) / "log"
        subprocess.run([tool, "--json", "--timing-runs", "0", "--first", "200", "--log", str(log), trace], stdout=subprocess.DEVNULL, check=True)
        if len(log.read_text().splitlines()) < 2:
            wrong.append("a log that can be written is empty")
    print("\n".join(wrong) or "said, each time")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
