# SPDX-License-Identifier: Apache-2.0
"""Runs one of loops.py and writes what each step cost: inside.py LOOP RESULT

A step's line: its phase, the driver calls that touched memory, reserved and live peaks up to its end.
"""

import ctypes
import json
import sys

import loops
import torch

# By their exported names. What frees or asks is not among the things that a settled loop may do either.
CALLS = ("cuMemCreate", "cuMemRelease", "cuMemMap", "cuMemUnmap", "cuMemSetAccess", "cuMemAddressReserve", "cuMemAddressFree",
         "cudaMalloc", "cudaMallocAsync", "cudaFree", "cudaFreeAsync", "cuMemAlloc_v2", "cuMemAllocAsync", "cuMemFree_v2", "cuMemFreeAsync")


class Steps:
    def __init__(self):
        self.device = ctypes.CDLL("libcuda.so.1")
        self.device.gapless_sim_calls.argtypes = [ctypes.c_char_p]
        self.device.gapless_sim_calls.restype = ctypes.c_uint64
        self.lines, self.phase, self.before = [], None, 0

    def calls(self):
        return sum(self.device.gapless_sim_calls(name.encode()) for name in CALLS)

    def end(self):
        if self.phase is not None:
            stats = torch.cuda.memory_stats()
            self.lines.append({"phase": self.phase, "calls": self.calls() - self.before,
                               "reserved": stats["reserved_bytes.all.peak"], "live": stats["allocated_bytes.all.peak"]})

    def begin(self, phase):
        self.end()
        self.phase, self.before = phase, self.calls()


def main():
    name, result = sys.argv[1:]
    steps = Steps()
    getattr(loops, name)(steps.begin)
    steps.end()
    with open("/proc/self/maps", encoding="utf-8") as maps:
        loaded = any("libgapless_torch" in line for line in maps)
    with open(result, "w", encoding="utf-8") as out:
        json.dump({"loaded": loaded, "steps": steps.lines}, out)


if __name__ == "__main__":
    main()
