# SPDX-License-Identifier: Apache-2.0
"""Trace trackers, which NCCL's registration of user buffers is: every block lies in segments that were told of, and what goes had come."""

import ctypes
import os
import random

import torch
from harness import GIB, MIB, block, case

BLOCKS, UNCOVERED, TWICE, NEVER_CAME, REGISTERED_BYTES = range(5)


def attached():
    library = ctypes.CDLL(os.environ["GAPLESS_TRACKER_LIBRARY"])
    library.tracker_found.restype = ctypes.c_uint64
    library.tracker_attach()
    return library.tracker_found


def churn(seed, most_live, rounds=400):
    random.seed(seed)
    live = []
    for _ in range(rounds):
        if live and (len(live) > most_live or random.random() < 0.45):
            live.pop(random.randrange(len(live)))
        else:
            live.append(block(random.choice((600, 70_000, 3 * MIB, 11 * MIB, 30 * MIB)) + random.randrange(1000)))
    return live


@case()
def segments_are_told_before_their_blocks():
    torch.cuda.init()
    found = attached()
    live = churn(1, 30)
    reserved = torch.cuda.memory_reserved() == found(REGISTERED_BYTES)
    told = found(BLOCKS) > 100, found(UNCOVERED), found(TWICE), found(NEVER_CAME), reserved
    del live
    torch.cuda.empty_cache()
    return told, found(REGISTERED_BYTES), found(NEVER_CAME)


@case(device="size=1GiB")
def while_memory_is_short():
    """Cached memory moves or goes back while blocks live."""
    torch.cuda.init()
    found = attached()
    for seed in range(4):
        live = churn(seed, 12)
        big = block(GIB // 3)
        del big, live
    torch.cuda.empty_cache()
    return found(UNCOVERED), found(TWICE), found(NEVER_CAME), found(REGISTERED_BYTES)


@case()
def in_a_capture_s_pool():
    torch.cuda.init()
    found = attached()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = [block(3 * MIB) for _ in range(4)]
    seen = found(UNCOVERED), found(TWICE), found(NEVER_CAME)
    del graph, outputs
    torch.cuda.empty_cache()
    return seen, found(NEVER_CAME), found(REGISTERED_BYTES)


@case()
def a_pool_with_an_allocator():
    """Its segments are told of by their own names, their end before they are gone."""
    torch.cuda.init()
    found = attached()
    library = os.environ["GAPLESS_PLAIN_LIBRARY"]
    allocator = torch.cuda.memory.CUDAPluggableAllocator(library, "plain_malloc", "plain_free")
    pool = torch.cuda.MemPool(allocator.allocator())
    with torch.cuda.use_mem_pool(pool):
        blocks = [block(3 * MIB) for _ in range(5)]
    seen = found(UNCOVERED), found(TWICE), found(NEVER_CAME), found(REGISTERED_BYTES) > 0
    del blocks, pool
    torch.cuda.empty_cache()
    return seen, found(NEVER_CAME), found(REGISTERED_BYTES)
