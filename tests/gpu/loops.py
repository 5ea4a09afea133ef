# SPDX-License-Identifier: Apache-2.0
"""Questions 7 and 8: training loops on the device with three allocators, and the same loops simulated on the same machine."""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LOOPS = ["gpt2", "two_streams", "moe"]
WAYS = ["native", "expandable", "gapless"]
# Of the live peak, as a share of the device: which is the smallest limit that the loop completes with?
MARGINS = [1.01, 1.03, 1.06, 1.1, 1.2, 1.35]
PATIENCE = 90  # seconds for one run


def environment(build, way):
    left_out = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
    result = {key: value for key, value in os.environ.items() if key not in left_out}
    result.update(HF_HUB_OFFLINE="1", CUBLAS_WORKSPACE_CONFIG=":4096:8", PYTHONHASHSEED="0", GAPLESS_LIBRARY_DIR=str(build / "lib"))
    if way == "expandable":
        result["PYTORCH_CUDA_ALLOC_CONF"] = "expandable_segments:True"
    if way == "gapless":
        before = [result["LD_PRELOAD"]] if result.get("LD_PRELOAD") else []
        result["LD_PRELOAD"] = ":".join([*before, str(build / "lib" / "libgapless_preload.so")])
    return result


def run(build, loop, way, seconds, fraction=None, simulated=False, sizes=False):
    """What measure_loop.py found, or {'ended': why}."""
    with tempfile.TemporaryDirectory(prefix="gapless-gpu-") as folder:
        result = pathlib.Path(folder) / "found.json"
        command = [sys.executable, str(HERE / "measure_loop.py"), str(ROOT / "tests" / "wheel" / "loops" / f"{loop}.py"), str(result)]
        command += [f"--fraction={fraction:.6f}"] if fraction is not None else []
        command += ["--sizes"] if sizes else []
        if simulated:
            command = [str(build / "bin" / "gapless-sim"), "--size", "140GiB", "--", *command]
        try:
            done = subprocess.run(command, env=environment(build, way), capture_output=True, text=True, timeout=seconds, check=False)
        except subprocess.TimeoutExpired:
            return {"ended": f"stopped after {seconds:.0f} s"}
        if not result.exists():
            errors = [line for line in done.stderr.strip().splitlines() if "gapless-sim:" not in line]
            return {"ended": f"exit code {done.returncode}: {(errors or ['no word'])[-1]}"}
        return json.loads(result.read_text(encoding="utf-8"))


def row(loop, way, found, native):
    cells = {"loop": loop, "allocator": way, "ended": found["ended"]}
    if found.get("step_ms"):
        cells["ms/step"] = f"{statistics.median(found['step_ms'][len(found['step_ms']) // 2:]):.1f}"
        cells["first step, s"] = f"{found['first_step_s']:.1f}"
    if found.get("live"):
        cells["reserved/live"] = f"{found['reserved'] / found['live']:.4f}"
        same = native and native.get("parameters") == found["parameters"]
        cells["parameters as native's"] = "" if way == "native" else "yes" if same else "no"
    return cells


def sequence_note(loop, real, simulated):
    ours, theirs = simulated.get("sizes") or [], real.get("sizes") or []
    if not ours or not theirs:
        return f"{loop}: sizes not compared: on the device {real['ended']}, simulated {simulated['ended']}"
    if ours == theirs:
        return f"{loop}: the {len(theirs)} allocation sizes are the simulation's, one by one"
    first = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), min(len(ours), len(theirs)))
    pair = [sizes[first] if first < len(sizes) else "none" for sizes in (theirs, ours)]
    return (f"{loop}: {len(theirs)} allocations on the device, {len(ours)} simulated; the first difference is number {first}: "
            f"{pair[0]} bytes against {pair[1]}; peak live {real['live']} against {simulated['live']} bytes")  # fmt: skip


def smallest_margin(build, loop, way, live, total, left):
    for margin in MARGINS:
        if left() < 20:
            return "not finished: no time"
        found = run(build, loop, way, min(PATIENCE, left()), fraction=min(1.0, margin * live / total))
        if found["ended"] == "well":
            return f"{margin} of the live peak, {found['retries']} retries"
    return f"none up to {MARGINS[-1]}"


def total_bytes():
    ask = "import torch; print(torch.cuda.get_device_properties(0).total_memory)"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=False)
    return int(done.stdout.strip() or 0)


def measure(build, seconds, quick):
    end = time.monotonic() + seconds

    def left():
        return end - time.monotonic()

    rows, notes, raw = [], [], {}
    build = build.resolve()
    for loop in LOOPS[:1] if quick else LOOPS:
        for way in WAYS:
            if left() < 20:
                notes.append(f"{loop}, {way}: no time left")
                continue
            raw[f"{loop} {way}"] = run(build, loop, way, min(PATIENCE, left()))
            rows.append(row(loop, way, raw[f"{loop} {way}"], raw[f"{loop} native"]))
    # The same loop on the device and simulated beside it: does it ask for the same sizes in the same order?
    for loop in LOOPS[:1] if quick else LOOPS:
        if left() < 40:
            notes.append(f"{loop}: sizes not compared: no time left")
            continue
        real = run(build, loop, "native", min(PATIENCE, left()), sizes=True)
        notes.append(sequence_note(loop, real, run(build, loop, "native", min(PATIENCE, left()), simulated=True, sizes=True)))
    native = raw.get(f"{LOOPS[0]} native", {"ended": "not"})
    if native["ended"] == "well" and not quick:
        total = total_bytes()
        for way in WAYS:
            found = smallest_margin(build, LOOPS[0], way, native["live"], total, left)
            notes.append(f"{LOOPS[0]}, {way}: smallest limit that it completes with: {found}")
    return {"rows": rows, "notes": notes, "runs": raw}
