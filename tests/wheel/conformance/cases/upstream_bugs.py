# SPDX-License-Identifier: Apache-2.0
"""Open reports against PyTorch's allocator, by their numbers in pytorch/pytorch. Each case is true where the report's wish holds:
on gapless, and not on the allocator of PyTorch that the report is about."""

import ctypes
import os

import torch
from harness import GIB, MIB, block, case, device, raised

FUNCTION_POINTERS = ("plain", "pluggable")


@case(device="completion=lazy,size=2GiB", columns=("native", "gapless"))
def issue_189504_a_block_that_came_back_serves_the_request():
    """Out of memory is raised although a fitting block is in the pool again by then: the wait for the side stream brought it back."""
    torch.cuda.init()
    side = torch.cuda.Stream()
    whole = block(1500 * MIB)
    del whole
    pending, keep = block(1100 * MIB), block(300 * MIB)  # parts of one segment: it cannot go back to the device
    with torch.cuda.stream(side):
        pending.add_(1)
    pending.record_stream(side)
    del pending
    return raised(block, 1100 * MIB) == "nothing" and keep.numel() > 0


@case(settings="expandable_segments:True", device="size=2GiB", columns=("native", "gapless"))
def issue_188008_a_failed_set_access_is_an_oom_and_leaves_no_trace():
    keep = block(30 * MIB)
    assert device("gapless_sim_fail_call", b"cuMemSetAccess", ctypes.c_uint64(0), 2) == 0
    first = raised(block, 200 * MIB)
    second = raised(block, 200 * MIB)
    return first in ("nothing", "OutOfMemoryError") and second == "nothing" and keep.numel() > 0


@case(settings="expandable_segments:True,max_split_size_mb:32", device="size=16GiB", columns=("native", "gapless"))
def issue_123548_reserved_memory_stays_near_what_lives():
    """What is freed joins into blocks that are too large to be split for the next requests, so that each cycle maps new memory."""
    torch.cuda.init()
    peak, borders = 0, []
    for _ in range(30):
        kept = [block(24 * MIB) for _ in range(8)]
        borders = [*borders[-2:], block(22 * MIB)]  # lives on behind what this cycle frees
        peak = max(peak, torch.cuda.memory_allocated())
        del kept
    return torch.cuda.memory_reserved() < 3 * peak


@case(columns=FUNCTION_POINTERS)
def issue_133280_its_oom_is_out_of_memory_error():
    torch.cuda.init()
    try:
        tensor = block(1 << 45)
    except torch.OutOfMemoryError:
        return True
    except RuntimeError:
        return False
    return tensor.data_ptr() != 0


@case(columns=FUNCTION_POINTERS)
def issue_133281_it_has_statistics():
    keep = block(3 * MIB)
    return raised(torch.cuda.memory_stats) == "nothing" and torch.cuda.max_memory_allocated() >= keep.numel()


@case(columns=FUNCTION_POINTERS)
def issue_98481_cudnn_s_benchmark_runs():
    """It asks for the largest block (cacheInfo)."""
    torch.backends.cudnn.benchmark = True
    layer = torch.nn.Conv2d(3, 8, 3).cuda()
    return raised(layer, torch.empty(2, 3, 32, 32, device="cuda")) == "nothing"


@case(settings="expandable_segments:True")
def issue_147851_a_pool_with_an_allocator_beside_expandable_segments():
    """The pool's segments come from its allocator, whatever the setting. PyTorch 2.11 does that too: it leaves such pools out of
    the setting, so this is a comparison."""
    torch.cuda.init()
    library = os.environ["GAPLESS_PLAIN_LIBRARY"]
    source = torch.cuda.memory.CUDAPluggableAllocator(library, "plain_malloc", "plain_free")
    pool = torch.cuda.MemPool(source.allocator())
    with torch.cuda.use_mem_pool(pool):
        keep = block(26 * MIB)
    return ctypes.CDLL(library).plain_mallocs() == 1 and keep.numel() > 0


@case(columns=FUNCTION_POINTERS)
def issue_163257_the_live_blocks_of_a_pool_are_checked():
    keep = torch.empty(MIB, device="cuda")

    def capture_and_check():
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            out = keep + 1
        assert torch._C._cuda_checkPoolLiveAllocations(torch.cuda.current_device(), graph.pool(), {out.data_ptr()})

    return raised(capture_and_check) == "nothing"


@case(columns=FUNCTION_POINTERS, device="completion=lazy")
def a_recorded_stream_is_respected():
    """Trap: the function-pointer allocator of PyTorch ignores record_stream, so memory is freed under a running kernel."""
    torch.cuda.init()
    first = block(MIB)
    side = torch.cuda.Stream()
    tensor = torch.empty(3 * MIB, device="cuda")
    with torch.cuda.stream(side):
        tensor.add_(1)
    tensor.record_stream(side)
    address = tensor.data_ptr()
    del tensor
    again = torch.empty(3 * MIB, device="cuda")
    waits = device("gapless_sim_calls", b"cuStreamWaitEvent") + device("gapless_sim_calls", b"cudaStreamWaitEvent")
    return again.data_ptr() != address or waits > 0 or first.numel() == 0


@case(columns=FUNCTION_POINTERS)
def a_graph_s_memory_is_its_own():
    """Trap: the function-pointer allocator of PyTorch has no private pools: a captured address goes to the next tensor, and a cudaMalloc
    in a capture ends it."""
    keep = torch.empty(3 * MIB, device="cuda")

    def capture():
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            out = keep + 1
        address = out.data_ptr()
        del out
        assert torch.empty(3 * MIB, device="cuda").data_ptr() != address

    return raised(capture) == "nothing"
