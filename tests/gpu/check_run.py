#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tests/gpu/run itself: without a device it says so and succeeds; on the simulated one it writes its page.

    check_run.py --build BUILD --sim gapless-sim [--loops]
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
PARTS = ["conformance", "costs", "delays", "aliases", "unmap", "ceilings", "bandwidth", "accounting"]
ZERO = ("stale words", "wrong words")  # on a device that does what it promises


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True)
    parser.add_argument("--sim", required=True)
    parser.add_argument("--loops", action="store_true", help="one training loop too: needs torch and a minute")
    args = parser.parse_args()

    run = [sys.executable, str(HERE / "run"), "--quick", "--build", args.build]
    # On a machine with a GPU, too.
    without = subprocess.run(["env", "CUDA_VISIBLE_DEVICES=", *run], capture_output=True, text=True, check=False)
    mistakes = []
    if without.returncode != 0 or "no CUDA device" not in without.stdout:
        mistakes.append(f"without a device: exit code {without.returncode}: {without.stdout}{without.stderr}")

    with tempfile.TemporaryDirectory() as folder:
        # Accounting fills the device: small, so that it is quick.
        command = [args.sim, "--size", "2GiB", "--", *run, "--out", folder, "--only", *PARTS]
        if args.loops:
            command = [args.sim, "--", *run, "--out", folder, "--only", "loops"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
        results = list(pathlib.Path(folder).glob("*.json"))
        if done.returncode != 0 or len(results) != 1:
            sys.exit(f"on the simulated device: exit code {done.returncode}: {done.stdout}{done.stderr}")
        result = json.loads(results[0].read_text(encoding="utf-8"))
        page = results[0].with_suffix(".md").read_text(encoding="utf-8")

    mistakes += [f"{part}: {why}" for part, why in result["skipped"].items()]
    mistakes += [f"differs from the recording: {row}" for row in result["differences"]]
    for part, found in result["parts"].items():
        if part == "loops":
            mistakes += [f"loops: {row}" for row in found["rows"] if row["ended"] != "well"]
            continue
        if found["ended"] or not found["facts"]:
            mistakes.append(f"{part}: {len(found['facts'])} facts, {found['ended']}")
        if "[gapless-sim]" in found["errors"]:
            mistakes.append(f"{part} breaks a rule: {found['errors']}")
        for fact in found["facts"]:
            if fact["name"].startswith(ZERO) and fact["value"] != 0:
                mistakes.append(f"{part}: {fact}")
            if fact["name"].startswith("words that the check") and fact["value"] != 1:
                mistakes.append(f"{part}: {fact}")
            if fact["name"].startswith("stopped"):
                mistakes.append(f"{part}: {fact}")
            if fact["name"] not in page and fact["name"].rpartition(", ")[0] not in page:
                mistakes.append(f"{part}: {fact['name']} is not on the page")
    for mistake in mistakes:
        print(mistake)
    facts = sum(len(found.get("facts", [])) for found in result["parts"].values())
    print(f"{len(result['conformance'])} calls, {facts} facts: {len(mistakes)} mistakes")
    return 1 if mistakes else 0


if __name__ == "__main__":
    sys.exit(main())
