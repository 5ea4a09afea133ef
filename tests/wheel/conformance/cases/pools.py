# SPDX-License-Identifier: Apache-2.0
"""torch.cuda.MemPool."""

import gc
import os
import threading

import torch
from harness import GIB, MIB, block, case, in_threads, raised, segments_of, stat


def allocated_in(pool):
    return sum(segment["allocated_size"] for segment in segments_of(pool.id))


def plain_pool(**options):
    """A pool whose segments come from cudaMalloc by way of two C functions that count."""
    source = torch.cuda.memory.CUDAPluggableAllocator(os.environ["GAPLESS_PLAIN_LIBRARY"], "plain_malloc", "plain_free")
    pool = torch.cuda.MemPool(source.allocator(), **options)
    return pool, source


def plain_count(name):
    import ctypes

    return getattr(ctypes.CDLL(os.environ["GAPLESS_PLAIN_LIBRARY"]), name)()


@case()
def ids():
    first, second = torch.cuda.MemPool(), torch.cuda.MemPool()
    handle = torch.cuda.graph_pool_handle()
    return first.id[0], second.id[1] - first.id[1], handle[1], handle[0] > 0


@case()
def uses():
    pool = torch.cuda.MemPool()
    seen = [pool.use_count()]
    with torch.cuda.use_mem_pool(pool):
        seen.append(pool.use_count())
    seen.append(pool.use_count())
    return seen


@case()
def a_pool_inside_itself():
    pool = torch.cuda.MemPool()
    with torch.cuda.use_mem_pool(pool):
        return raised(torch.cuda.use_mem_pool(pool).__enter__)


@case()
def empty_cache_and_inactive_blocks():
    torch.cuda.init()
    pool = torch.cuda.MemPool()
    with torch.cuda.use_mem_pool(pool):
        first, second = block(20 * MIB), block(20 * MIB)
    seen = [allocated_in(pool)]
    del first
    torch.cuda.empty_cache()
    seen.append(allocated_in(pool))
    kept = len(segments_of(pool.id)) > 0
    del second, pool
    gc.collect()
    torch.cuda.empty_cache()
    return seen, kept, torch.cuda.memory_reserved()


@case()
def a_pool_with_an_allocator():
    """Segments come through the given allocator and go back to it when the pool dies."""
    torch.cuda.init()
    pool, source = plain_pool()
    seen = [pool.use_count(), len(pool.snapshot())]
    with torch.cuda.use_mem_pool(pool):
        first = block(26 * MIB)
        seen += [pool.use_count(), plain_count("plain_mallocs")]
        second = block(26 * MIB)
    seen += [plain_count("plain_mallocs"), len(pool.snapshot()), allocated_in(pool), plain_count("plain_frees")]
    outside = block(26 * MIB)
    seen += [plain_count("plain_mallocs"), torch.cuda.memory_allocated()]
    del first, second
    del pool
    gc.collect()
    torch.cuda.empty_cache()
    seen += [plain_count("plain_frees"), torch.cuda.memory_allocated(), outside.numel(), type(source).__name__]
    return seen


@case()
def a_tensor_outlives_pool_and_allocator():
    torch.cuda.init()
    pool, source = plain_pool()
    with torch.cuda.use_mem_pool(pool):
        tensor = block(26 * MIB)
    del pool, source
    gc.collect()
    before = plain_count("plain_frees")
    del tensor
    torch.cuda.empty_cache()
    return before, plain_count("plain_frees")


@case(device="size=2GiB")
def an_allocator_that_has_nothing():
    """A null pointer of the pool's allocator is an out of memory, and the pool serves again when it has something."""
    torch.cuda.init()
    pool, source = plain_pool()
    with torch.cuda.use_mem_pool(pool):
        text = raised(block, 3 * GIB)
        after = block(26 * MIB)
    return text[:60], after.numel(), type(source).__name__


@case(device="size=2GiB")
def an_allocator_with_a_limit_lends_on_oom():
    torch.cuda.init()
    pool, source = plain_pool(use_on_oom=True)
    with torch.cuda.use_mem_pool(pool):
        inside = block(1500 * MIB)
    del inside
    outside = block(1200 * MIB)
    return outside.numel(), type(source).__name__


@case(device="size=2GiB")
def a_dead_pool_lends_nothing():
    torch.cuda.init()
    pool = torch.cuda.MemPool(use_on_oom=True)
    with torch.cuda.use_mem_pool(pool):
        inside = block(1500 * MIB)
    del pool, inside
    gc.collect()
    return block(1500 * MIB).numel(), torch.cuda.memory_allocated()


@case(device="size=2GiB")
def a_pool_of_its_own_keeps_its_memory():
    """use_on_oom=False: free memory of the pool is nobody else's."""
    torch.cuda.init()
    pool = torch.cuda.MemPool()
    with torch.cuda.use_mem_pool(pool):
        inside = block(1500 * MIB)
        del inside
    return raised(block, 1000 * MIB)[:30]


@case()
def no_split():
    return whole_blocks(torch.cuda.MemPool(no_split=True))


@case()
def no_split_with_an_allocator():
    return whole_blocks(plain_pool(no_split=True)[0])


def whole_blocks(pool):
    """Does a small request get a whole free block, and the next one another?"""
    torch.cuda.init()
    with torch.cuda.use_mem_pool(pool):
        first = block(40 * MIB)
        address = first.data_ptr()
        del first
        small = block(10 * MIB)
        other = block(10 * MIB)
    spans = sorted((t.data_ptr(), t.data_ptr() + t.numel()) for t in (small, other))
    return small.data_ptr() == address, spans[0][1] <= spans[1][0], not 0 <= other.data_ptr() - address < 40 * MIB


@case()
def nested():
    outer, inner = torch.cuda.MemPool(), torch.cuda.MemPool()
    with torch.cuda.use_mem_pool(outer):
        first = block(3 * MIB)
        with torch.cuda.use_mem_pool(inner):
            second = block(5 * MIB)
        third = block(7 * MIB)
    outside = block(MIB)
    return allocated_in(outer), allocated_in(inner), [t.numel() for t in (first, second, third, outside)]


@case()
def threads_have_their_own():
    torch.cuda.init()
    barrier = threading.Barrier(4)
    seen = [None] * 4

    def work(index):
        torch.cuda.set_device(0)
        pool = torch.cuda.MemPool()
        with torch.cuda.use_mem_pool(pool):
            barrier.wait()
            kept = [block((index + 1) * MIB) for _ in range(3)]
            torch.cuda.empty_cache()
            barrier.wait()
        outside = block(MIB)
        seen[index] = allocated_in(pool), len(kept), outside.numel()
        barrier.wait()

    in_threads(4, work)
    return seen


@case()
def another_thread_s_scope_is_not_mine():
    pool = torch.cuda.MemPool()
    made = []
    with torch.cuda.use_mem_pool(pool):
        thread = threading.Thread(target=lambda: made.append(block(2 * MIB)))
        thread.start()
        thread.join()
        mine = block(3 * MIB)
    return allocated_in(pool), mine.numel(), made[0].numel(), torch.cuda.memory_allocated()


@case()
def empty_cache_inside_a_scope():
    """It is the default pool's and the named pool's business, not that of others."""
    pool, other = torch.cuda.MemPool(), torch.cuda.MemPool()
    with torch.cuda.use_mem_pool(other):
        held = block(20 * MIB)
        del held
    with torch.cuda.use_mem_pool(pool):
        gone = block(20 * MIB)
        del gone
        torch.cuda.empty_cache()
        again = block(20 * MIB)
    return allocated_in(pool), allocated_in(other), again.numel(), len(segments_of(other.id)) > 0


@case(device="devices=2")
def a_pool_is_of_one_device():
    with torch.cuda.device(1):
        pool = torch.cuda.MemPool()
        with torch.cuda.use_mem_pool(pool, device="cuda:1"):
            there = torch.empty(3 * MIB, dtype=torch.uint8, device="cuda:1")
            here = torch.empty(3 * MIB, dtype=torch.uint8, device="cuda:0")
    return [segment["device"] for segment in segments_of(pool.id)], there.device.index, here.device.index


@case()
def a_raw_block_in_a_scope():
    pool = torch.cuda.MemPool()
    with torch.cuda.use_mem_pool(pool):
        address = torch.cuda.caching_allocator_alloc(3 * MIB)
    inside = allocated_in(pool)
    torch.cuda.caching_allocator_delete(address)
    return inside, allocated_in(pool)


@case()
def an_exception_leaves_the_scope():
    pool = torch.cuda.MemPool()
    try:
        with torch.cuda.use_mem_pool(pool):
            block(3 * MIB)
            raise ValueError("from inside")
    except ValueError:
        pass
    keep = block(5 * MIB)
    return allocated_in(pool), pool.use_count(), keep.numel()


@case()
def counts_while_pools_are_used():
    torch.cuda.init()
    pool = torch.cuda.MemPool()
    with torch.cuda.use_mem_pool(pool):
        keep = [block(1000), block(3 * MIB)]
    seen = [stat(f"{key}.{kind}.current") for key in ("allocation", "allocated_bytes", "active_bytes") for kind in ("small_pool", "large_pool")]
    keep.clear()
    return seen, [stat(f"{key}.all.current") for key in ("allocation", "allocated_bytes", "active_bytes")]
