#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every simulated driver call, book mode without strict, stays below 1 us of processor time: check_simulated_calls.py PROGRAM"""

import json
import subprocess
import sys

BAR_NS = 1000


def main():
    command = [sys.argv[1], "--benchmark_filter=strict:0", "--benchmark_min_time=0.02", "--benchmark_format=json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    slow = 0
    for each in json.loads(done.stdout)["benchmarks"]:
        nanoseconds = 1e9 / each["items_per_second"]
        slow += nanoseconds > BAR_NS
        print(f"{each['name']}: {nanoseconds:.0f} ns a call")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
