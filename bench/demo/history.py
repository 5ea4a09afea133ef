# SPDX-License-Identifier: Apache-2.0
"""PyTorch's own memory history as a trace of requests (format: bench/traces/README.md) and as live bytes over time.

Each entry of the history carries the user metadata that was set when it was made: that gives the step of each request exactly,
without comparing clocks. The history knows nothing of record_stream, so a trace of a script that uses it lacks its lines.
"""

import gzip
import json
import os

import torch

_LIVE_UNIT = 512  # live bytes are requests rounded up to this, here and in all of the project


def label(text):
    torch.cuda.memory._set_memory_metadata(text)


def start():
    # No stacks: they cost more than all the rest. More entries than any demo makes, so that none is overwritten.
    torch.cuda.memory._record_memory_history(context=None, stacks="python", max_entries=20_000_000)
    label("step 0")


def events():
    """(kind, id, bytes, stream, step, microseconds) in the order of the calls; kind is "a" or "f", id is unique."""
    result = []
    live = {}
    streams = {}
    for entry in torch.cuda.memory._snapshot()["device_traces"][torch.cuda.current_device()]:
        step = int(entry["user_metadata"].rpartition(" ")[2] or 0)
        if entry["action"] == "alloc":
            stream = streams.setdefault(entry["stream"], len(streams))
            block = (len(result) + 1, entry["size"], stream)
            live[entry["addr"]] = block
            result.append(("a", *block, step, entry["time_us"]))
        elif entry["action"] == "free_requested" and entry["addr"] in live:
            result.append(("f", *live.pop(entry["addr"]), step, entry["time_us"]))
    return result


def rounded(size):
    return (size + _LIVE_UNIT - 1) // _LIVE_UNIT * _LIVE_UNIT


def live_curve(recorded):
    """(Unix time in seconds, live bytes) after each request."""
    live = 0
    curve = []
    for kind, _, size, _, _, time in recorded:
        live += rounded(size) if kind == "a" else -rounded(size)
        curve.append((time / 1e6, live))
    return curve


def write_trace(path, recorded, name, script):
    header = {
        "name": name,
        "desc": f"{os.path.basename(script)}, recorded from PyTorch's memory history",
        "torch": torch.__version__,
        "steps": recorded[-1][4] if recorded else 0,
        "allocs": sum(1 for event in recorded if event[0] == "a"),
        "peak_live_bytes": max((live for _, live in live_curve(recorded)), default=0),
    }
    with gzip.open(path, "wt", compresslevel=6, encoding="ascii") as out:
        out.write(f"# {json.dumps(header)}\ns 0 build\n")
        step = 0
        for kind, identity, size, stream, at, _ in recorded:
            while step < at:
                step += 1
                out.write(f"s {step} step\n")
            out.write(f"a {identity} {size} {stream}\n" if kind == "a" else f"f {identity}\n")
        out.write(f"s {step + 1} end\n")
