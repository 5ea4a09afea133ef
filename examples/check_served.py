# SPDX-License-Identifier: Apache-2.0
"""Runs a program on the simulated device and checks that it ended well, said what it should, and that gapless served it: its memory
was created and mapped in pages, none came from cudaMalloc.

    check_served.py GAPLESS_SIM --size SIZE --expect REGEX -- PROGRAM [ARGUMENT...]
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sim")
    parser.add_argument("--size", required=True)
    parser.add_argument("--expect", required=True)
    parser.add_argument("program", nargs="+")
    arguments = parser.parse_args()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GAPLESS_", "PYTORCH_"))}
    with tempfile.TemporaryDirectory() as folder:
        stats = pathlib.Path(folder) / "stats.json"
        done = subprocess.run([arguments.sim, "--size", arguments.size, "--strict", "--stats", stats, "--", *arguments.program],
                              stdout=subprocess.PIPE, text=True, env=environment, cwd=folder, check=False)
        print(done.stdout, end="")
        if done.returncode:
            sys.exit(f"exit code {done.returncode}")
        if not re.search(arguments.expect, done.stdout):
            sys.exit(f"it did not say '{arguments.expect}'")
        seen = json.loads(stats.read_text())
    calls = seen["driver_calls"]
    if not calls.get("cuMemCreate") or calls.get("cudaMalloc") or calls.get("cuMemAlloc"):
        sys.exit(f"gapless did not serve it: {calls}")
    if seen["violations"]:
        sys.exit(f"{seen['violations']} violations: {seen['violation_reports'][:3]}")


if __name__ == "__main__":
    main()
