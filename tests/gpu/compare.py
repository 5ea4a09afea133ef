#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares the conformance program's output with what is recorded, call by call.

    compare.py --recorded conformance.tsv [--hardware docs/hardware] [--update] -- COMMAND [ARGUMENT...]

COMMAND prints one call a line: scenario, call, result. It must print what conformance.tsv holds, which is what the simulated
device answers. Each docs/hardware/*.json holds what a real device answered: where that differs from the simulation's answer,
explained.tsv must say why (scenario, call, reason), else the simulation is wrong.
"""

import argparse
import json
import pathlib
import subprocess
import sys


def parse(text):
    lines = [tuple(line.split("\t")) for line in text.splitlines() if line]
    bad = [line for line in lines if len(line) != 3]
    if bad:
        sys.exit(f"not a line of the conformance program: {bad[0]}")
    return lines


def by_scenario(calls):
    scenarios = {}
    for scenario, call, result in calls:
        scenarios.setdefault(scenario, []).append((call, result))
    return scenarios


def differences(ours, theirs):
    """[(scenario, call, our result, their result)], a missing call as '-'."""
    found = []
    first, second = by_scenario(ours), by_scenario(theirs)
    for scenario in {**first, **second}:
        mine, other = first.get(scenario, []), second.get(scenario, [])
        for index in range(max(len(mine), len(other))):
            a = mine[index] if index < len(mine) else (other[index][0], "-")
            b = other[index] if index < len(other) else (mine[index][0], "-")
            if a != b:
                found.append((scenario, a[0], a[1], b[1] if a[0] == b[0] else f"{b[0]}: {b[1]}"))
    return found


def explained(folder):
    path = folder / "explained.tsv"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {tuple(line.split("\t")[:2]) for line in lines if line and not line.startswith("#")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recorded", type=pathlib.Path, required=True)
    parser.add_argument("--hardware", type=pathlib.Path)
    parser.add_argument("--update", action="store_true", help="record what COMMAND prints")
    parser.add_argument("command", nargs="+")
    args = parser.parse_args()

    done = subprocess.run(args.command, stdout=subprocess.PIPE, text=True, timeout=300, check=False)
    if done.returncode != 0:
        sys.exit(f"{args.command[-1]} ended with {done.returncode}")
    calls = parse(done.stdout)
    if args.update:
        args.recorded.write_text(done.stdout, encoding="utf-8")
    failures = [f"{scenario}: {call}: recorded {then}, now {now}"
                for scenario, call, then, now in differences(parse(args.recorded.read_text(encoding="utf-8")), calls)]  # fmt: skip
    devices = 0
    for path in sorted(args.hardware.glob("*.json")) if args.hardware and args.hardware.exists() else []:
        hardware = json.loads(path.read_text(encoding="utf-8"))
        reasons = explained(args.recorded.parent)
        devices += 1
        for scenario, call, simulated, real in differences(calls, [tuple(line) for line in hardware["conformance"]]):
            if (scenario, call) not in reasons:
                failures.append(f"{scenario}: {call}: the simulation says {simulated}, {hardware['device']} {real}")
    for failure in failures:
        print(failure)
    print(f"{len(calls)} calls of {len(by_scenario(calls))} scenarios compared, also with {devices} real devices: {len(failures)} differ")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
