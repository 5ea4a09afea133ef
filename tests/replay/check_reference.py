#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Replays traces into the wheel's own allocator and compares with bench/traces/reference.tsv: ratio, driver calls in all and
after the third step. What differs says that replay, or the simulated device, is not what the figures were made on.

    check_reference.py TOOL TRACES_FOLDER [NAME...]
"""
import csv
import json
import pathlib
import subprocess
import sys

# reference.tsv has four digits, and divides by live bytes that another program rounded.
RATIO_TOLERANCE = 0.00011


def main() -> int:
    tool, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    with open(folder / "reference.tsv") as file:
        reference = {row["name"]: row for row in csv.DictReader(file, delimiter="\t")}
    names = sys.argv[3:] or list(reference)
    command = [tool, "--json", "--timing-runs", "0", "--allocator", "native,expandable"]
    done = subprocess.run(command + [str(folder / f"{name}.trace.gz") for name in names], stdout=subprocess.PIPE, text=True)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    faults = []
    if done.returncode != 0:
        faults.append(f"gapless-replay ended with {done.returncode}")
    if len(results) != 2 * len(names):
        faults.append(f"{len(results)} results for {len(names)} traces")
    for result in results:
        row, kind = reference[result["name"]], result["allocator"]
        expected_ratio = float(row[f"{kind}_reserved_over_live"])
        if abs(result["ratio"] - expected_ratio) > RATIO_TOLERANCE:
            faults.append(f"{result['name']} {kind}: ratio {result['ratio']}, reference {expected_ratio}")
        for key, column in (("driver_calls_total", "driver_calls"), ("driver_calls_steady", "driver_calls_after_step3")):
            expected = int(row[f"{kind}_{column}"])
            if result[key] != expected:
                faults.append(f"{result['name']} {kind}: {key} {result[key]}, reference {expected}: {result['driver_calls']}")
        if result["violations"]:
            faults.append(f"{result['name']} {kind}: {result['violations']} violations")
    for fault in faults:
        print(fault)
    print(f"{len(results)} replays compared, {len(faults)} faults")
    return 1 if faults or not results else 0


if __name__ == "__main__":
    sys.exit(main())
