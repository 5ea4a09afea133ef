# SPDX-License-Identifier: Apache-2.0
"""Private pools: MemPool and graph capture."""

import gc
import threading

import pytest
import torch

MIB = 1 << 20


def block(count=3 * MIB):
    return torch.empty(count, dtype=torch.uint8, device="cuda")


def segments_of(pool_id):
    return [segment for segment in torch.cuda.memory_snapshot() if segment["segment_pool_id"] == tuple(pool_id)]


def test_a_pool_is_apart_from_the_default():
    pool = torch.cuda.MemPool()
    with torch.cuda.use_mem_pool(pool):
        inside = block()
    outside = block()
    held = segments_of(pool.id)
    assert held and all(s["address"] <= inside.data_ptr() < s["address"] + s["total_size"] for s in held)
    assert not any(s["address"] <= outside.data_ptr() < s["address"] + s["total_size"] for s in held)
    assert pool.snapshot() and sum(s["allocated_size"] for s in pool.snapshot()) == 3 * MIB
    assert torch.cuda.memory_allocated() == 6 * MIB
    del inside, outside, pool
    gc.collect()
    torch.cuda.empty_cache()
    assert torch.cuda.memory_reserved() == 0


def test_use_counts_follow_the_uses():
    pool = torch.cuda.MemPool()
    assert pool.use_count() == 1
    with torch.cuda.use_mem_pool(pool):
        assert pool.use_count() == 2
    assert pool.use_count() == 1


def test_a_pool_s_tensor_may_outlive_it():
    pool = torch.cuda.MemPool()
    with torch.cuda.use_mem_pool(pool):
        tensor = block()
    del pool
    gc.collect()
    assert tensor.data_ptr() != 0
    del tensor
    torch.cuda.empty_cache()
    assert torch.cuda.memory_reserved() == 0


def test_empty_cache_of_others_leaves_the_pool():
    pool = torch.cuda.MemPool()
    with torch.cuda.use_mem_pool(pool):
        tensor = block()
        del tensor
        torch.cuda.empty_cache()
    reserved = sum(segment["total_size"] for segment in segments_of(pool.id))
    torch.cuda.empty_cache()
    assert sum(segment["total_size"] for segment in segments_of(pool.id)) == reserved


def test_pools_nest_and_the_innermost_wins():
    outer, inner = torch.cuda.MemPool(), torch.cuda.MemPool()
    with torch.cuda.use_mem_pool(outer):
        first = block()
        with torch.cuda.use_mem_pool(inner):
            second = block()
        third = block()
    assert sum(s["allocated_size"] for s in segments_of(outer.id)) == 6 * MIB
    assert sum(s["allocated_size"] for s in segments_of(inner.id)) == 3 * MIB
    del first, second, third


def test_a_pool_is_one_thread_s():
    pool = torch.cuda.MemPool()
    made = []
    with torch.cuda.use_mem_pool(pool):
        thread = threading.Thread(target=lambda: made.append(block()))
        thread.start()
        thread.join()
        mine = block()
    assert sum(s["allocated_size"] for s in segments_of(pool.id)) == 3 * MIB
    del mine
    made.clear()


def test_capture_uses_a_private_pool():
    graph = torch.cuda.CUDAGraph()
    keep = block()
    with torch.cuda.graph(graph):
        captured = block()
        captured.fill_(1)
    pool = graph.pool()
    assert sum(s["allocated_size"] for s in segments_of(pool)) >= 3 * MIB
    graph.replay()
    address = captured.data_ptr()
    del captured
    # The graph still uses it: nobody else may get the address.
    assert block().data_ptr() != address
    del graph, keep
    gc.collect()
    torch.cuda.empty_cache()
    assert not segments_of(pool)


def test_graphs_share_a_pool():
    first, second = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
    with torch.cuda.graph(first):
        one = block()
    with torch.cuda.graph(second, pool=first.pool()):
        two = block()
    assert first.pool() == second.pool()
    assert one.data_ptr() != two.data_ptr()
    del one, two, first, second


def test_checkpoints_bring_a_layout_back():
    device = torch.cuda.current_device()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kept = block(5 * MIB)
        dropped = block(7 * MIB)
        address = dropped.data_ptr()
    state = torch._C._cuda_getCheckpointState(device, graph.pool())
    del dropped
    before = {b["address"] for s in segments_of(graph.pool()) for b in s["blocks"] if b["state"] == "active_allocated"}
    assert address not in before
    torch._C._cuda_setCheckpointPoolState(device, state, [], [])
    after = {b["address"] for s in segments_of(graph.pool()) for b in s["blocks"] if b["state"] == "active_allocated"}
    assert address in after and kept.data_ptr() in after
    assert torch._C._cuda_checkPoolLiveAllocations(device, graph.pool(), after)


@pytest.mark.parametrize("use_on_oom", [False, True])
def test_use_on_oom_opens_the_pool_to_others(use_on_oom, on_gapless):
    """gapless needs no leave for it: idle physical memory moves to where it is asked for, and the pool's addresses are backed
    again when the pool wants them."""
    total = torch.cuda.mem_get_info()[0]
    pool = torch.cuda.MemPool(use_on_oom=use_on_oom)
    with torch.cuda.use_mem_pool(pool):
        tensor = block(int(total * 0.7))
        del tensor
    if use_on_oom or on_gapless:
        assert block(int(total * 0.6)).numel() == int(total * 0.6)
    else:
        with pytest.raises(torch.OutOfMemoryError, match="allocated in private pools"):
            block(int(total * 0.6))
