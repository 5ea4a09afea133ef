# SPDX-License-Identifier: Apache-2.0
"""Runs one loop unchanged in this process, chooses the allocator as a user would, then writes what is found: inside.py WAY RESULT LOOP

The judging is done outside (run_loop.py), from this and from the simulated device's own counts.
"""

import ctypes
import gc
import json
import re
import runpy
import sys

import torch

_STAT_GROUPS = (
    "allocation",
    "segment",
    "active",
    "inactive_split",
    "allocated_bytes",
    "reserved_bytes",
    "active_bytes",
    "inactive_split_bytes",
    "requested_bytes",
)


class Stat(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in ("current", "peak", "allocated", "freed")]


class Stats(ctypes.Structure):
    """The head of gapless_stats; the library fills as much as struct_size says."""

    _fields_ = [("struct_size", ctypes.c_size_t)] + [(name, Stat * 3) for name in _STAT_GROUPS]


def loaded_library():
    """The path of libgapless_torchM.N.so when the process has it."""
    with open("/proc/self/maps", encoding="utf-8") as maps:
        match = re.search(r"(/\S*/libgapless_torch\S*\.so)", maps.read())
    return match and match[1]


def choose_allocator(way, library):
    if way == "pluggable":
        allocator = torch.cuda.memory.CUDAPluggableAllocator(library, "gapless_malloc", "gapless_free")
        torch.cuda.memory.change_current_allocator(allocator)
    elif way == "install":
        import gapless

        gapless.install()


def core_statistics(path):
    """gapless's own statistics of device 0, asked through the C ABI."""
    library = ctypes.CDLL(path)
    core = ctypes.CDLL(re.sub(r"[^/]*$", "libgapless.so", path))
    library.gapless_torch_core.restype = ctypes.c_void_p
    core.gapless_get_stats.argtypes = [ctypes.c_void_p, ctypes.c_int32, ctypes.POINTER(Stats)]
    stats = Stats(struct_size=ctypes.sizeof(Stats))
    status = core.gapless_get_stats(library.gapless_torch_core(), 0, ctypes.byref(stats))
    if status:
        raise RuntimeError(f"gapless_get_stats: status {status}")
    return {name: {"current": getattr(stats, name)[0].current, "peak": getattr(stats, name)[0].peak} for name in _STAT_GROUPS}


def main():
    way, result, library, loop = sys.argv[1:]
    choose_allocator(way, library)
    sys.argv = [loop]
    runpy.run_path(loop, run_name="__main__")

    torch.cuda.synchronize()
    found = {"library": loaded_library()}
    if found["library"]:
        found["installed"] = bool(ctypes.CDLL(found["library"]).gapless_torch_is_installed())
        found["core"] = core_statistics(found["library"])
    if way != "pluggable":  # PyTorch refuses these questions for a pluggable allocator
        stats = torch.cuda.memory_stats()
        found["torch"] = {name: {"current": stats[f"{name}.all.current"], "peak": stats[f"{name}.all.peak"]} for name in _STAT_GROUPS}
        found["retries"] = stats["num_alloc_retries"]
        found["ooms"] = stats["num_ooms"]
        found["segments"] = len(torch.cuda.memory_snapshot())
        # The loop is over: nothing may be left but what PyTorch's libraries hold, and all of it must go back when asked.
        gc.collect()
        torch._C._cuda_clearCublasWorkspaces()
        found["live_after"] = torch.cuda.memory_allocated()
        torch.cuda.empty_cache()
        found["reserved_after"] = torch.cuda.memory_reserved()
    with open(result, "w", encoding="utf-8") as out:
        json.dump(found, out)


if __name__ == "__main__":
    main()
