# SPDX-License-Identifier: Apache-2.0
"""Runs a training script as it is and watches its memory from outside: observe.py RESULT.json [--trace FILE] SCRIPT ARGS...

The script is not changed and does not notice: PyTorch's global hook after optimizer.step() gives the steps, a thread asks the
device how many bytes are in use, and, with --trace, PyTorch's own memory history gives every request in order.
"""

import argparse
import ctypes
import json
import re
import runpy
import sys
import threading
import time
import traceback

import torch
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_post_hook

import device as devices
import history

SAMPLE_SECONDS = 0.002


class Watch:
    """Samples of used bytes, and the moment and the call counts at the end of each optimizer step."""

    def __init__(self, device):
        self.device = device
        self.samples = []  # (seconds, bytes)
        self.steps = []  # (seconds, memory calls by function or None)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="observe", daemon=True)
        self._start = time.perf_counter()
        self._start_unix = time.time()

    def __enter__(self):
        self._hook = register_optimizer_step_post_hook(lambda *_: self._on_step())
        self._first_forward = register_module_forward_pre_hook(lambda *_: self._on_first_forward())
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        self._hook.remove()

    def now(self):
        return time.perf_counter() - self._start

    def since_start(self, unix_seconds):
        return unix_seconds - self._start_unix

    def _on_first_forward(self):
        self._first_forward.remove()
        history.label("step 1")

    def _on_step(self):
        self.steps.append((self.now(), self.device.memory_calls()))
        history.label(f"step {len(self.steps) + 1}")

    def _sample(self):
        last = -1
        while not self._stop.wait(SAMPLE_SECONDS):
            used = self.device.used_bytes()
            if used != last:
                self.samples.append((self.now(), used))
                last = used


def allocator_statistics():
    stats = torch.cuda.memory_stats()
    names = {
        "peak_requested_bytes": "requested_bytes.all.peak",
        "peak_allocated_bytes": "allocated_bytes.all.peak",
        "peak_reserved_bytes": "reserved_bytes.all.peak",
        "retries": "num_alloc_retries",
        "ooms": "num_ooms",
    }
    return {name: stats.get(key, 0) for name, key in names.items()}


def served_by_gapless():
    """Asked of the library itself when it is loaded, so that nothing of gapless has to be importable here."""
    with open("/proc/self/maps", encoding="utf-8") as maps:
        library = re.search(r"/\S*/libgapless_torch\S*\.so", maps.read())
    return bool(library) and ctypes.CDLL(library[0]).gapless_torch_is_installed() == 1


def run(script, arguments):
    """The script's exit code, as the shell would see it."""
    sys.argv = [script, *arguments]
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:  # noqa: BLE001 (whatever the script died of is its result)
        traceback.print_exc()
        return 1
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result")
    parser.add_argument("--trace", help="record the requests as a trace in the format of bench/traces/README.md")
    parser.add_argument("script")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    args = parser.parse_args()

    device = devices.current_device(torch)
    if args.trace:
        history.start()
    with Watch(device) as watch:
        code = run(args.script, args.arguments)
        end = watch.now()
    result = {
        "exit_code": code,
        "device": device.kind,
        "device_name": torch.cuda.get_device_name(),
        "gapless": served_by_gapless(),
        "seconds": end,
        "samples": watch.samples,
        "steps": [seconds for seconds, _ in watch.steps],
        "calls_by_step": [calls for _, calls in watch.steps],
        "calls": device.memory_calls(),
        "peak_device_bytes": device.peak_bytes(),
        "violations": device.violations(),
        **allocator_statistics(),
    }
    if args.trace:
        events = history.events()
        history.write_trace(args.trace, events, name="demo", script=args.script)
        result["live"] = [(watch.since_start(unix), bytes) for unix, bytes in history.live_curve(events)]
        result["peak_live_bytes"] = max((bytes for _, bytes in result["live"]), default=0)
    with open(args.result, "w", encoding="utf-8") as out:
        json.dump(result, out)
    sys.exit(code)


if __name__ == "__main__":
    main()
