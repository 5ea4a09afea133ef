# SPDX-License-Identifier: Apache-2.0
"""Runs one loop on the simulated device and judges the run: run_loop.py --build DIR --way WAY LOOP.py

Ways: preload, pluggable, install (the three ways into gapless); native, expandable (PyTorch's own allocators).
The exit code is 0 when the loop ended well, was served by the allocator that was asked for, kept what it took from the device
close to what the loop held, gave everything back in the end, and broke no rule of the device.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
GAPLESS_WAYS = ("preload", "pluggable", "install")
MIB = 1 << 20

# Reserved over live that gapless may reach on these loops. Below 1.5 GB of live bytes granules of 2 MiB weigh more, so some are
# free of charge. A second stream keeps memory of its own for a while.
SLACK = 1.02
FREE_BYTES = 24 * MIB
STREAMS_SLACK = {"two_streams": 1.25}
# Graphs keep the pages of their pool between replays, also those that no block needs just then.
GRAPHS_SLACK = 1.06


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, required=True, help="the build folder with bin and lib")
    parser.add_argument("--way", choices=(*GAPLESS_WAYS, "native", "expandable"), required=True)
    parser.add_argument("--completion", default="eager", help="when the device completes work (default: %(default)s)")
    parser.add_argument("--size", default="80GiB")
    parser.add_argument("loop", type=pathlib.Path)
    return parser.parse_args()


def torch_library(build):
    libraries = sorted((build / "lib").glob("libgapless_torch*.so"))
    if not libraries:
        sys.exit(f"no libgapless_torch*.so in {build / 'lib'}")
    return libraries[0]


def environment(args):
    result = {key: value for key, value in os.environ.items() if key not in ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")}
    result["GAPLESS_LIBRARY_DIR"] = str(args.build / "lib")
    result["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT / "python_shim"), os.environ.get("PYTHONPATH")]))
    result["HF_HUB_OFFLINE"] = "1"
    if args.way == "expandable":
        result["PYTORCH_CUDA_ALLOC_CONF"] = "expandable_segments:True"
    return result


def run(args, folder):
    """(what inside.py found, what the device counted)"""
    found, counted = folder / "found.json", folder / "device.json"
    command = [str(args.build / "bin" / "gapless-sim"), "--size", args.size, "--completion", args.completion, "--stats", str(counted)]
    command += ["--strict"] + (["--gapless"] if args.way == "preload" else []) + ["--"]
    command += [sys.executable, str(HERE / "inside.py"), args.way, str(found), str(torch_library(args.build)), str(args.loop)]
    done = subprocess.run(command, env=environment(args), stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        sys.exit(f"FAILED: the loop ended with exit code {done.returncode}")
    return json.loads(found.read_text()), json.loads(counted.read_text())


class Verdict:
    def __init__(self):
        self.failures = []

    def expect(self, truth, text):
        if not truth:
            self.failures.append(text)


def judge_gapless(verdict, args, found, counted):
    calls = counted["driver_calls"]
    verdict.expect(found["loaded"], "libgapless_torch is not in the process")
    verdict.expect(calls.get("cuMemCreate", 0) > 0, "no physical memory was created through cuMemCreate")
    verdict.expect(not calls.get("cudaMalloc"), f"{calls.get('cudaMalloc')} calls of cudaMalloc: another allocator served too")
    ours = found.get("gapless", {})
    verdict.expect(ours.get("hits", 0) > 1000, f"gapless counts {ours.get('hits')} hits")
    for name, value in found["torch"].items():
        verdict.expect(ours.get(name, value) == value, f"{name}: torch.cuda.memory_stats says {value}, gapless {ours.get(name)}")
    live, reserved = found["torch"]["allocated_bytes.all.peak"], found["torch"]["reserved_bytes.all.peak"]
    verdict.expect(live > 100 * MIB, f"a live peak of {live} bytes is no training loop's")
    slack = STREAMS_SLACK.get(args.loop.stem, SLACK)
    graphs = found["held_by_graphs"]
    most = min(slack * live + graphs, max(slack, GRAPHS_SLACK) * live) + FREE_BYTES
    verdict.expect(live <= reserved <= most, f"reserved {reserved} against live {live}, {graphs} held by graphs: more than {most}")
    peak = counted["physical_bytes_peak"]
    verdict.expect(abs(peak - reserved) <= 2 * MIB, f"the device counts a peak of {peak}, gapless says {reserved}")
    print(f"live {live / MIB:.1f} MiB, reserved {reserved / MIB:.1f} MiB, ratio {reserved / max(live, 1):.4f}, "
          f"held by graphs {graphs / MIB:.1f} MiB")


def judge(args, found, counted):
    verdict = Verdict()
    verdict.expect(counted["violations"] == 0, f"{counted['violations']} violations: {counted.get('violation_reports')}")
    if args.way in GAPLESS_WAYS:
        judge_gapless(verdict, args, found, counted)
    else:
        verdict.expect(not found["loaded"], f"gapless is in the process of a {args.way} run")
    ooms, retries = found["torch"]["num_ooms"], found["torch"]["num_alloc_retries"]
    verdict.expect(ooms == 0 and retries == 0, f"{ooms} OOMs, {retries} retries with room to spare")
    verdict.expect(found["segments"] > 0, "the snapshot has no segment")
    verdict.expect(found["live_after"] == 0, f"{found['live_after']} bytes are still allocated after the loop")
    verdict.expect(found["reserved_after"] == 0, f"{found['reserved_after']} bytes are still reserved after empty_cache()")
    verdict.expect(counted["physical_bytes"] == 0, f"{counted['physical_bytes']} bytes are still held on the device")
    return verdict.failures


def main():
    args = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="gapless-loop-") as folder:
        failures = judge(args, *run(args, pathlib.Path(folder)))
    for failure in failures:
        print(f"FAILED: {failure}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
