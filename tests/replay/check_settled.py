#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Loops of constant shapes, repeated until they have settled: from some step on no driver call, and no more memory.

    check_settled.py TOOL TRACES_FOLDER

vit_const evaluates after every fifth step, so its repetitions alternate two phases. docs/adr/0006 has what unet_const does without
`step_aside`: that it never settles then is part of the check, or the check would prove nothing.
"""
import json
import pathlib
import subprocess
import sys

REPEAT = "10"
# The step (0 is the first one) from which on there is no driver call, and the least share of large allocations that keep their address.
SETTLED = {"gpt2s_pad": (2, 0.99), "llama1b_ckpt_pack": (3, 1.0), "vit_const": (4, 0.03), "unet_const": (5, 1.0),
           "lengths_gpt2_fixed": (2, 1.0), "lengths_bert_fixed": (6, 0.9), "lengths_bert_multiple": (2, 0.3), "compiled_llama": (2, 1.0)}
RATIO = 1.0101


def replay(tool: str, trace: pathlib.Path, *options: str) -> dict:
    command = [tool, "--json", "--timing-runs", "0", "--repeat", REPEAT, *options, str(trace)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def main() -> int:
    tool, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    faults = []
    for name, (first, kept) in SETTLED.items():
        result = replay(tool, folder / f"{name}.trace.gz")
        steps = result["driver_calls_by_step"]
        print(f"{name}: calls {steps[:first + 4]}..., ratio {result['ratio']}, kept {result['kept_addresses']}")
        if sum(steps[first:]) != 0:
            faults.append(f"{name}: driver calls from step {first} on: {steps[first:]}")
        if result["ratio"] > RATIO:
            faults.append(f"{name}: ratio {result['ratio']}, bar {RATIO}")
        if result["kept_addresses"] < kept:
            faults.append(f"{name}: {result['kept_addresses']} of the large allocations keep their address, it was {kept}")
    without = replay(tool, folder / "unet_const.trace.gz", "--options", "step_aside:false")["driver_calls_by_step"]
    if without[-1] == 0:
        faults.append("unet_const settles without step_aside too: it needs no such option")
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
