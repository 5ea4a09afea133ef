# SPDX-License-Identifier: Apache-2.0
"""Runs one training loop of tests/wheel/loops in this process and writes what it took: measure_loop.py LOOP RESULT [--fraction=F] [--sizes]

The loop knows nothing of it: the end of a step is the end of an optimizer's step() and of the device's work for it. F limits
the process's share of the device's memory. With --sizes the sizes of all allocations are recorded: not for timing.
"""

import hashlib
import json
import random
import runpy
import sys
import time

START = time.monotonic()

import torch  # noqa: E402
from torch.optim.optimizer import register_optimizer_step_post_hook  # noqa: E402


def requested_sizes(limit):
    """The sizes of the first `limit` allocations of the process, in order."""
    trace = torch.cuda.memory._snapshot()["device_traces"][0]
    return [entry["size"] for entry in trace if entry["action"] == "alloc"][:limit]


def checksum(parameters):
    digest = hashlib.sha256()
    for parameter in parameters:
        digest.update(parameter.detach().contiguous().view(torch.uint8).cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def main():
    loop, result, *options = sys.argv[1:]
    torch.manual_seed(0)
    random.seed(0)
    torch.use_deterministic_algorithms(True, warn_only=True)
    for option in options:
        if option.startswith("--fraction="):
            torch.cuda.set_per_process_memory_fraction(float(option.removeprefix("--fraction=")))
    if "--sizes" in options:
        torch.cuda.memory._record_memory_history(max_entries=200_000, stacks="python", context=None)
    steps, parameters = [], {}

    def stepped(optimizer, *_):
        torch.cuda.synchronize()
        steps.append(time.monotonic())
        for group in optimizer.param_groups:
            parameters.update({id(each): each for each in group["params"]})

    register_optimizer_step_post_hook(stepped)
    ended = "well"
    sys.argv = [loop]
    try:
        runpy.run_path(loop, run_name="__main__")
    except torch.OutOfMemoryError:
        ended = "out of memory"
    stats = torch.cuda.memory_stats()
    found = {
        "ended": ended,
        "first_step_s": steps[0] - START if steps else None,
        "step_ms": [1000 * (b - a) for a, b in zip(steps, steps[1:])],
        "live": stats.get("allocated_bytes.all.peak", 0),
        "reserved": stats.get("reserved_bytes.all.peak", 0),
        "retries": stats.get("num_alloc_retries", 0),
        "allocations": stats.get("allocation.all.allocated", 0),
        "parameters": checksum(parameters.values()),
        "sizes": requested_sizes(20_000) if "--sizes" in options else [],
    }
    with open(result, "w", encoding="utf-8") as out:
        json.dump(found, out)


if __name__ == "__main__":
    main()
