# SPDX-License-Identifier: Apache-2.0
"""CUDA graphs: private pools, sharing, what frees in a capture mean, checkpoints of cudagraph trees."""

import gc
import threading

import torch
from harness import GIB, MIB, block, case, in_threads, raised, segments_of, stat


def live_in(pool_id):
    return sorted(b["address"] for s in segments_of(pool_id) for b in s["blocks"] if b["state"] == "active_allocated")


def capture(body, pool=None, stream=None):
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=pool, stream=stream):
        out = body()
    return graph, out


def chain(start, count=4, size=MIB):
    """A body that frees what it makes on the way."""
    def body():
        value = start
        for _ in range(count):
            value = value + 1
        return value

    return body


@case()
def a_capture_s_pool():
    keep = torch.empty(3 * MIB, device="cuda")
    graph, out = capture(chain(keep))
    pool = graph.pool()
    inside = any(s["address"] <= out.data_ptr() < s["address"] + s["total_size"] for s in segments_of(pool))
    graph.replay()
    address = out.data_ptr()
    del out
    other = torch.empty_like(keep)
    taken = other.data_ptr() == address
    before = len(segments_of(pool)) > 0
    del graph
    gc.collect()
    torch.cuda.empty_cache()
    return inside, taken, before, len(segments_of(pool))


@case()
def frees_in_a_capture_are_reused_there():
    keep = torch.empty(3 * MIB, device="cuda")

    def body():
        addresses = []
        for _ in range(5):
            value = keep + 1
            addresses.append(value.data_ptr())
            del value
        return len(set(addresses))

    graph, different = capture(body)
    return different, graph.pool() is not None


@case()
def graphs_in_one_pool():
    keep = torch.empty(MIB, device="cuda")
    first, one = capture(chain(keep))
    second, two = capture(chain(keep), pool=first.pool())
    third, three = capture(chain(one), pool=first.pool())
    same = first.pool() == second.pool() == third.pool()
    spans = sorted((t.data_ptr(), t.data_ptr() + 4 * t.numel()) for t in (one, two, three))
    apart = all(spans[i][1] <= spans[i + 1][0] for i in range(2))
    first.reset()
    del one
    second.replay()
    del first, second, third, two, three
    gc.collect()
    torch.cuda.empty_cache()
    return same, apart, torch.cuda.memory_allocated()


@case()
def a_dead_output_s_place_in_a_shared_pool():
    """With the first graph's output dead, the second may have its memory: they run one after the other."""
    keep = torch.empty(4 * MIB, device="cuda")
    first, one = capture(lambda: keep + 1)
    address = one.data_ptr()
    del one
    second, two = capture(lambda: keep + 1, pool=first.pool())
    return two.data_ptr() == address


@case()
def statistics_and_results_after_the_graph():
    torch.cuda.init()
    seen = []
    for size in (128, 5000, 3 * MIB, 12 * MIB):
        source = torch.empty(size, dtype=torch.uint8, device="cuda")
        before = [stat(f"{key}.all.current") for key in ("allocated_bytes", "active_bytes", "allocation", "active")]
        graph, out = capture(lambda source=source: source + 1)
        during = [stat(f"{key}.all.current") for key in ("allocated_bytes", "active_bytes", "allocation", "active")]
        seen.append([b - a for a, b in zip(before, during)])
        graph.replay()
        del graph
        gc.collect()
        seen.append([stat(f"{key}.all.current") - a for key, a in zip(("allocated_bytes", "allocation"), before[::2])])
        assert out.sum() is not None
        del out
        torch.cuda.empty_cache()
    return seen


@case()
def a_capture_that_fails():
    torch.cuda.init()
    graph = torch.cuda.CUDAGraph()

    def attempt():
        with torch.cuda.graph(graph):
            block(3 * MIB)
            raise ValueError("from inside")

    text = raised(attempt)
    return text, block(3 * MIB).numel(), torch.cuda.memory_allocated()


@case(device="size=2GiB")
def out_of_memory_in_a_capture():
    torch.cuda.init()
    graph = torch.cuda.CUDAGraph()

    def attempt():
        with torch.cuda.graph(graph):
            block(3 * GIB)

    text = raised(attempt)
    return text[:30], block(GIB).numel()


@case()
def record_stream_in_a_capture():
    torch.cuda.init()
    side = torch.cuda.Stream()
    keep = torch.empty(3 * MIB, device="cuda")

    def body():
        value = keep + 1
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            value.add_(1)
        value.record_stream(side)
        address = value.data_ptr()
        del value
        early = (keep + 1).data_ptr() == address  # the side stream may not be done with it
        torch.cuda.current_stream().wait_stream(side)
        return early

    graph, early = capture(body)
    graph.replay()
    return early


@case()
def a_stream_s_blocks_in_one_pool():
    """A capture that spreads over two streams: one pool, one id."""
    torch.cuda.init()
    side = torch.cuda.Stream()
    keep = torch.empty(3 * MIB, device="cuda")

    def body():
        one = keep + 1
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            two = keep + 2
        torch.cuda.current_stream().wait_stream(side)
        return one, two

    graph, outs = capture(body)
    pool = graph.pool()
    inside = [any(s["address"] <= t.data_ptr() < s["address"] + s["total_size"] for s in segments_of(pool)) for t in outs]
    return inside, len({s["stream"] for s in segments_of(pool) if s["active_size"]})


@case()
def captures_of_two_threads():
    torch.cuda.init()
    keep = torch.empty(3 * MIB, device="cuda")
    barrier = threading.Barrier(2)
    seen = [None, None]

    def work(index):
        graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.Stream()
        barrier.wait()
        with torch.cuda.stream(stream):
            graph.capture_begin(capture_error_mode="thread_local")
            out = keep + index
            barrier.wait()
            graph.capture_end()
        pool = graph.pool()
        seen[index] = sum(s["allocated_size"] for s in segments_of(pool)), out.numel()
        barrier.wait()

    in_threads(2, work)
    return seen


@case()
def another_thread_allocates_meanwhile():
    torch.cuda.init()
    keep = torch.empty(3 * MIB, device="cuda")
    made = []
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        inside = keep + 1
        thread = threading.Thread(target=lambda: made.append(block(5 * MIB)))
        thread.start()
        thread.join()
    pool = graph.pool()
    return sum(s["allocated_size"] for s in segments_of(pool)) == inside.numel() * 4, made[0].numel()


@case()
def a_mempool_in_a_capture():
    pool = torch.cuda.MemPool()
    keep = torch.empty(3 * MIB, device="cuda")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=pool.id):
        out = keep + 1
    return graph.pool() == pool.id, sum(s["allocated_size"] for s in segments_of(pool.id)), out.numel()


@case()
def generators_and_graphs():
    torch.cuda.init()
    before = torch.cuda.memory_allocated()
    seen = []
    for _ in range(3):
        generators = [torch.Generator("cuda") for _ in range(3)]
        graphs = [torch.cuda.CUDAGraph() for _ in range(3)]
        for graph in graphs:
            for generator in generators:
                graph.register_generator_state(generator)
        for graph in graphs:
            with torch.cuda.graph(graph):
                torch.rand(10, device="cuda", generator=generators[0])
        seen.append(torch.cuda.memory_allocated() - before)
        del graphs, graph, generators, generator
        gc.collect()
        torch.cuda.empty_cache()
        seen.append(torch.cuda.memory_allocated() - before)
    return seen


# ---- checkpoints: what torch._inductor.cudagraph_trees does with a pool


def checkpoint_of(graph):
    return torch._C._cuda_getCheckpointState(torch.cuda.current_device(), graph.pool())


def restore(graph, state, stale=(), live=()):
    storages = [t.untyped_storage()._cdata for t in live]
    torch._C._cuda_setCheckpointPoolState(torch.cuda.current_device(), state, list(stale), storages)


@case()
def a_checkpoint_brings_blocks_back():
    graph, (kept, dropped) = capture(lambda: (block(5 * MIB), block(7 * MIB)))
    address = dropped.data_ptr()
    state = checkpoint_of(graph)
    before = live_in(graph.pool())
    del dropped
    between = live_in(graph.pool())
    restore(graph, state)
    return address in between, live_in(graph.pool()) == before, len(before), kept.numel()


@case()
def blocks_in_the_middle_of_a_segment():
    def body():
        made = [block(MIB // 4) for _ in range(6)]
        return [made[1], made[4]]

    graph, kept = capture(body)
    state = checkpoint_of(graph)
    before = live_in(graph.pool())
    kept[0] = None
    restore(graph, state)
    after_first = live_in(graph.pool())
    _, more = capture(lambda: [block(MIB // 4) for _ in range(3)], pool=graph.pool())
    grown = len(live_in(graph.pool()))
    stale = [t.untyped_storage()._cdata for t in more]
    restore(graph, state, stale=stale)
    return after_first == before, grown - len(before), live_in(graph.pool()) == before


@case()
def a_tensor_made_later_is_freed():
    graph, kept = capture(lambda: [block(5 * MIB), block(3000)])
    state = checkpoint_of(graph)
    before = live_in(graph.pool())
    graph2, later = capture(lambda: [block(5 * MIB), block(3000), block(20 * MIB)], pool=graph.pool())
    during = len(live_in(graph.pool()))
    restore(graph, state, stale=[t.untyped_storage()._cdata for t in later])
    after = live_in(graph.pool()) == before
    later.clear()  # their memory is not theirs any more
    return during - len(before), after, live_in(graph.pool()) == before, len(kept), graph2 is not None


@case()
def deleters_go_and_come_back():
    """What a graph's outputs go through: theirs are taken away with the memory; those of the next run, made of bare addresses, get
    one for the block that is there again."""
    graph, kept = capture(lambda: [block(5 * MIB), block(7 * MIB)])
    state = checkpoint_of(graph)
    before = live_in(graph.pool())
    places = [(t.data_ptr(), t.device, t.untyped_storage().nbytes()) for t in kept]
    has = torch._C._has_Standard_Deleter
    seen = [[has(t.untyped_storage()._cdata) for t in kept]]
    restore(graph, state, stale=[t.untyped_storage()._cdata for t in kept])
    seen.append([has(t.untyped_storage()._cdata) for t in kept])
    kept.clear()
    again = [torch._C._construct_storage_from_data_pointer(*place) for place in places]
    torch._C._cuda_setCheckpointPoolState(torch.cuda.current_device(), state, [], [s._cdata for s in again])
    seen.append([has(s._cdata) for s in again])
    same = live_in(graph.pool()) == before
    again.clear()
    return seen, same, len(live_in(graph.pool()))


@case()
def live_allocations_are_checked():
    graph, kept = capture(lambda: [block(5 * MIB), block(7 * MIB), block(100)])
    pool, device = graph.pool(), torch.cuda.current_device()
    live = set(live_in(pool))
    check = torch._C._cuda_checkPoolLiveAllocations
    seen = [check(device, pool, live), check(device, pool, set()), check(device, pool, live | {12345})]
    kept.pop(0)
    return seen, check(device, pool, live), check(device, pool, set(live_in(pool))), raised(check, device, (9, 9), set())


@case()
def a_thread_allocates_to_the_pool():
    """What cudagraph trees do for the backward pass, which autograd runs on another thread."""
    torch.cuda.init()
    pool, device = torch.cuda.graph_pool_handle(), torch.cuda.current_device()
    stream = torch.cuda.Stream()
    seen = []

    def work():
        with torch.cuda.device(device), torch.cuda.stream(stream):
            torch._C._cuda_beginAllocateCurrentStreamToPool(device, pool)
            made = block(20 * MIB)
            seen.append(sum(s["allocated_size"] for s in segments_of(pool)))
            torch._C._cuda_endAllocateToPool(device, pool)
            del made

    for _ in range(2):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    for _ in range(2):
        torch._C._cuda_releasePool(device, pool)
    torch.cuda.empty_cache()
    return seen, len(segments_of(pool))


@case()
def scopes_that_do_not_match():
    torch.cuda.init()
    device = torch.cuda.current_device()
    return [raised(torch._C._cuda_endAllocateToPool, device, (7, 0)) != "nothing",
            raised(torch._C._cuda_getCheckpointState, device, (7, 0)) != "nothing",
            raised(torch._C._cuda_releasePool, device, (7, 0)) != "nothing"]
