#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Loops of constant shapes, each a little changed: a few more allocations, the same ones in every step. They settle as the recorded ones do.

    check_neighbours.py TOOL TRACES_FOLDER [--seeds N]

Where a layout settles hangs on every address before it, so that one trace says little of its loop: a script with one tensor more is another.
Nearly all come to rest, and none of these has more memory than the recorded ones. docs/adr/0006 has what others do.
"""
import argparse
import concurrent.futures
import gzip
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

LOOPS = ("gpt2s_pad", "llama1b_ckpt_pack", "vit_const", "unet_const", "compiled_llama", "lengths_gpt2_fixed", "lengths_bert_fixed")
REPEAT = "10"
# From the ninth step on at most one driver call a step in the mean, and in the second half of all steps none: all but one, or so many of them.
SETTLED = 8
FEW = 0.015
RATIO = 1.0101
SIZES = (512, 3584, 64 << 10, 300_000, 1 << 20, 2 << 20, 3_500_000, 12_000_000)


def steps_of(trace: pathlib.Path) -> list[list[str]]:
    """The lines of each step, from its mark on; before the first mark there is none."""
    steps = []
    with gzip.open(trace, "rt") as file:
        for line in file:
            if line.startswith("s "):
                steps.append([])
            if not line.startswith("#"):
                steps[-1].append(line)
    return steps


def changed(steps: list[list[str]], rng: random.Random) -> list[str]:
    """A few temporaries more in every step, and up to two blocks more that the model keeps."""
    allocations = max(sum(line.startswith("a ") for line in step) for step in steps[1:])
    temporaries = []
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        first = rng.randrange(allocations)
        temporaries.append((first, rng.choice(SIZES), first + rng.choice((1, 5, 50, 400))))
    kept = [(rng.randrange(200), rng.choice(SIZES), None) for _ in range(rng.choice((0, 0, 1, 2)))]
    lines, ident = [], 10**9
    for number, step in enumerate(steps):
        count, ends = 0, []
        mine = [] if step[0].split()[-1] == "end" else temporaries if number else kept
        for line in step:
            if line.startswith("a "):
                for first, size, last in mine:
                    if first == count:
                        ident += 1
                        lines.append(f"a {ident} {size} 0\n")
                        ends += [(last, ident)] if last is not None else []
                lines += [f"f {block}\n" for last, block in ends if last <= count]
                ends = [end for end in ends if end[0] > count]
                count += 1
            lines.append(line)
        lines += [f"f {block}\n" for _, block in ends]
    return lines


def replay(tool: str, folder: pathlib.Path, loop: str, seed: int, *options: str) -> tuple[list[int], float]:
    """The driver calls of each step, and the peak of reserved over that of live."""
    lines = changed(steps_of(folder / f"{loop}.trace.gz"), random.Random(f"{loop} {seed}"))
    with tempfile.NamedTemporaryFile("w", suffix=".trace") as trace:
        trace.writelines(lines)
        trace.flush()
        command = [tool, "--json", "--timing-runs", "0", "--repeat", REPEAT, *options, trace.name]
        result = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    return result["driver_calls_by_step"], result["ratio"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tool")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--seeds", type=int, default=60 if os.environ.get("GAPLESS_TEST_FULL") else 6)
    args = parser.parse_args()
    faults, slow, restless = [], [], []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for loop in LOOPS:
            found = list(pool.map(lambda seed, loop=loop: replay(args.tool, args.folder, loop, seed), range(args.seeds)))
            last = sorted(max((number for number, calls in enumerate(steps) if calls), default=0) for steps, _ in found)
            print(f"{loop}: the last step with a driver call is number {last[len(last) // 2]} in the median, {last[-1]} at most")
            for seed, (steps, ratio) in enumerate(found):
                later = steps[SETTLED:]
                slow += [f"{loop} {seed}"] if sum(later) > len(later) else []
                restless += [f"{loop} {seed}"] if any(steps[len(steps) // 2:]) else []
                faults += [f"{loop}, seed {seed}: ratio {ratio}, bar {RATIO}"] if ratio > RATIO else []
    loops = args.seeds * len(LOOPS)
    for what, those in (("more than one call a step from the ninth on", slow), ("calls in the second half", restless)):
        print(f"{what}: {len(those)} of {loops}: {', '.join(those)}")
        faults += [f"{len(those)} of {loops} loops make {what}"] if len(those) > max(1, FEW * loops) else []
    without = [replay(args.tool, args.folder, "unet_const", seed, "--options", "step_aside:false")[0] for seed in range(6)]
    if sum(any(steps[len(steps) // 2:]) for steps in without) < 3:
        faults.append("unet_const and its neighbours settle without step_aside too: this proves nothing")
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
