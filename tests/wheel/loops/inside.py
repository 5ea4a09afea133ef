# SPDX-License-Identifier: Apache-2.0
"""Runs one loop unchanged in this process, chooses the allocator as a user would, then writes what is found:
inside.py WAY RESULT LIBRARY LOOP

The judging is done outside (run_loop.py), from this and from the simulated device's own counts.
"""

import gc
import json
import runpy
import sys

import torch


def choose_allocator(way, library):
    if way == "pluggable":
        allocator = torch.cuda.memory.CUDAPluggableAllocator(library, "gapless_malloc", "gapless_free")
        torch.cuda.memory.change_current_allocator(allocator)
    elif way == "install":
        import gapless

        gapless.install(strict=True)


def library_is_loaded():
    with open("/proc/self/maps", encoding="utf-8") as maps:
        return any("libgapless_torch" in line for line in maps)


def main():
    way, result, library, loop = sys.argv[1:]
    choose_allocator(way, library)
    sys.argv = [loop]
    held_by_graphs = runpy.run_path(loop, run_name="__main__").get("HELD_BY_GRAPHS", 0)

    torch.cuda.synchronize()
    found = {"loaded": library_is_loaded(), "torch": torch.cuda.memory_stats(), "segments": len(torch.cuda.memory_snapshot())}
    found["held_by_graphs"] = held_by_graphs
    if found["loaded"]:
        import gapless

        found["gapless"] = gapless.stats()
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
