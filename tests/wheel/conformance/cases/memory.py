# SPDX-License-Identifier: Apache-2.0
"""Blocks, statistics, fractions, caching switched off."""

import contextlib
import os
import random

import torch
from harness import GIB, MIB, block, case, device, raised, stat


@case()
def statistics_before_the_first_use():
    return dict(torch.cuda.memory_stats()), torch.cuda.is_initialized()


@case()
def an_import_starts_nothing():
    before = device("gapless_sim_calls", b"cuInit")
    torch.cuda.device_count()
    return before, torch.cuda.is_initialized()


@case()
def raw_blocks():
    torch.cuda.init()
    seen = []
    for size in (1, 511, 512, 1000, MIB, 14 * MIB):
        before = torch.cuda.memory_allocated()
        address = torch.cuda.caching_allocator_alloc(size, stream=torch.cuda.current_stream())
        seen.append(torch.cuda.memory_allocated() - before)
        torch.cuda.caching_allocator_delete(address)
        seen.append(torch.cuda.memory_allocated() - before)
    return seen


@case()
def an_unknown_address():
    torch.cuda.init()
    return raised(torch.cuda.caching_allocator_delete, 12345)


@case()
def statistics_through_a_program():
    """Current and peak after each of a long series of steps, some of them resets."""
    torch.cuda.init()
    source = random.Random(7)
    kept, seen = [], []

    def look():
        stats = torch.cuda.memory_stats()
        keys = [f"{name}.{pool}.{field}" for name in ("allocated_bytes", "active_bytes", "requested_bytes", "allocation", "active")
                for pool in ("all", "small_pool", "large_pool") for field in ("current", "peak", "allocated", "freed")]
        seen.append([stats[key] for key in keys])

    for step in range(60):
        action = source.random()
        if action < 0.6 or not kept:
            kept.append(block(source.choice((100, 5000, MIB, 3 * MIB, 30 * MIB))))
        elif action < 0.9:
            kept.pop(source.randrange(len(kept)))
        elif action < 0.93:
            torch.cuda.empty_cache()
        elif action < 0.97:
            torch.cuda.reset_peak_memory_stats()
        else:
            torch.cuda.reset_accumulated_memory_stats()
        if step % 3 == 0:
            look()
    kept.clear()
    look()
    return seen


@case()
def the_keys():
    torch.cuda.init()
    return sorted(torch.cuda.memory_stats()), sorted(torch.cuda.memory_stats_as_nested_dict())


@case()
def a_small_block_is_counted_exactly():
    keep = torch.empty(256, device="cuda")
    stats = torch.cuda.memory_stats()
    return [stats[f"{name}.{pool}.current"] for name in ("active_bytes", "allocated_bytes", "requested_bytes", "allocation", "active")
            for pool in ("all", "small_pool", "large_pool")], keep.numel()


@case()
def the_summary():
    """The table's rows and columns; the reserved memory is each allocator's own."""
    keep = block(3 * MIB)
    lines = torch.cuda.memory_summary().splitlines()
    own = ("GPU reserved", "Non-releasable", "from ", "Segments", "GPU segments")
    return [line for line in lines if line.startswith("| A") or "summary" in line and not any(word in line for word in own)], keep.numel()


@case()
def every_device_question_answers():
    torch.cuda.init()
    return {name: raised(getattr(torch.cuda, name)) for name in
            ("memory_allocated", "max_memory_allocated", "memory_reserved", "max_memory_reserved", "memory_stats", "memory_summary",
             "reset_peak_memory_stats", "reset_accumulated_memory_stats", "reset_max_memory_allocated", "memory_snapshot", "mem_get_info",
             "host_memory_stats", "empty_cache", "memory_stats_as_nested_dict", "reset_max_memory_cached")}


@case()
def the_accelerator_s_view():
    keep = block(5 * MIB)
    torch.accelerator.reset_peak_memory_stats()
    del keep
    return (torch.accelerator.memory_allocated(), torch.accelerator.max_memory_allocated(),
            torch.accelerator.memory_stats() == torch.cuda.memory_stats(), torch.accelerator.empty_cache() is None,
            torch.accelerator.get_memory_info()[1] == torch.cuda.mem_get_info()[1])


@case(device="devices=2")
def devices_are_counted_apart():
    keep = torch.empty(MIB, dtype=torch.uint8, device="cuda:1")
    with torch.cuda.device(1):
        inside = torch.empty(MIB, dtype=torch.uint8, device="cuda")
    seen = [torch.cuda.memory_allocated(device) for device in range(2)], len(torch.cuda.memory._snapshot()["device_traces"])
    torch.cuda.reset_peak_memory_stats(0)
    return seen, [torch.cuda.max_memory_allocated(device) for device in range(2)], keep.device.index, inside.device.index


@case(device="devices=2")
def an_unknown_device():
    torch.cuda.init()
    texts = raised(torch.cuda.memory_stats, 5), raised(torch.cuda.set_per_process_memory_fraction, 0.5, 7)
    return [text.replace(chr(5), "5").replace(chr(7), "7") for text in texts]  # native prints the number as a character


@case(device="devices=2,data=1")
def copies_between_devices():
    here = torch.arange(1000, dtype=torch.int32, device="cuda:0") * 0
    source = torch.arange(1000, dtype=torch.int32).to("cuda:0")
    there = source.to("cuda:1")
    return there.cpu().tolist() == list(range(1000)), there.to("cuda:0").cpu().tolist()[-1], here.device.index


@case(device="devices=2,data=1")
def copies_between_devices_of_many_sizes():
    seen = []
    for size in (1, 600, 5000, MIB, 5 * MIB):
        source = torch.randint(0, 255, (size,), dtype=torch.uint8)
        first = source.to("cuda:0")
        second = torch.empty(size, dtype=torch.uint8, device="cuda:1")
        second.copy_(first, non_blocking=True)
        seen.append(torch.equal(second.cpu(), source))
    return seen


@case(device="size=2GiB")
def a_fraction():
    torch.cuda.init()
    total = torch.cuda.mem_get_info()[1]
    seen = [raised(torch.cuda.set_per_process_memory_fraction, *arguments) for arguments in
            ((1,), ("a",), (-0.1,), (2.0,), (0.5, "cuda"), (0.25, torch.device("cuda", 0)))]
    seen.append(torch.cuda.get_per_process_memory_fraction())
    torch.cuda.set_per_process_memory_fraction(0.5)
    seen.append(torch.cuda.get_per_process_memory_fraction())
    torch.cuda.empty_cache()
    seen.append(block(int(total * 0.499)).numel())
    torch.cuda.empty_cache()
    text = raised(block, int(total * 0.5) + 2 * MIB)
    seen.append("out of memory" in text and "1024.00 MiB allowed" in text)
    torch.cuda.set_per_process_memory_fraction(1.0)
    seen.append(block(int(total * 0.8)).numel())
    return seen


@case()
def caching_switched_off():
    torch.cuda.init()
    cached = block(MIB)
    before = dict(torch.cuda.memory_stats())
    torch.cuda.caching_allocator_enable(False)
    raw = block(3 * MIB)
    address = torch.cuda.caching_allocator_alloc(2 * MIB)
    during = dict(torch.cuda.memory_stats())
    torch.cuda.caching_allocator_delete(address)
    del raw
    torch.cuda.caching_allocator_enable(True)
    del cached
    return before == during, torch.cuda.memory_allocated()


@case(environment={"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"})
def caching_off_by_environment():
    tensor = block(MIB)
    torch.cuda.caching_allocator_enable(True)
    other = block(MIB)
    return torch.cuda.memory_allocated(), device("gapless_sim_calls", b"cudaMalloc"), tensor.numel() + other.numel()


@case(device="size=2GiB,data=1")
def random_blocks_keep_their_bytes():
    source = random.Random(42)
    torch.cuda.init()
    live, wrong = [], 0
    for number in range(600):
        action = source.random()
        if action < 0.55 or not live:
            size = source.choice((100, 3000, 70_000, MIB, 2 * MIB, 6 * MIB))
            pattern = torch.full((64,), number % 251, dtype=torch.uint8)
            tensor = block(size)
            for place in (0, size - 64):
                tensor[place:place + 64].copy_(pattern)
            live.append((tensor, number % 251))
        elif action < 0.98:
            tensor, value = live.pop(source.randrange(len(live)))
            wrong += int((tensor[:64].cpu() != value).any()) + int((tensor[-64:].cpu() != value).any())
            del tensor
        else:
            torch.cuda.empty_cache()
        while sum(tensor.numel() for tensor, _ in live) > GIB:
            live.pop(0)
    live.clear()
    return wrong, torch.cuda.memory_allocated()


@case(environment={"CUBLAS_WORKSPACE_CONFIG": ":4096:2:16:8"})
def a_matrix_product_s_workspace():
    a = torch.empty(16, 16, device="cuda")
    before = torch.cuda.memory_allocated()
    torch._C._cuda_clearCublasWorkspaces()
    b = a @ a
    grown = torch.cuda.memory_allocated() - before
    torch._C._cuda_clearCublasWorkspaces()
    return grown, torch.cuda.memory_allocated() - before, b.shape[0]


@case()
def a_matrix_product_s_peak():
    a, b = torch.empty(100, 100, device="cuda"), torch.empty(100, 100, device="cuda")
    out = a @ b
    del out
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.max_memory_allocated()
    out = torch.matmul(a, b)
    first = torch.cuda.max_memory_allocated() - before
    torch.cuda.reset_peak_memory_stats()
    torch.matmul(a, b, out=out)
    return first, torch.cuda.max_memory_allocated() - before


@case()
def gpu_trace_hooks():
    from torch.cuda import _gpu_trace

    seen = []
    _gpu_trace.register_callback_for_memory_allocation(lambda address: seen.append(("a", address)))
    _gpu_trace.register_callback_for_memory_deallocation(lambda address: seen.append(("d", address)))
    torch._C._activate_gpu_trace()
    tensor = block(1000)
    address = tensor.data_ptr()
    del tensor
    raw = torch.cuda.caching_allocator_alloc(1000)
    torch.cuda.caching_allocator_delete(raw)
    empty = block(0)
    return [(kind, at == address) for kind, at in seen], empty.numel()


@case()
def the_free_mutex():
    torch.cuda.init()
    with getattr(torch.cuda.memory, "_free_mutex", contextlib.nullcontext)():  # gone in 2.15
        keep = block(MIB)
        del keep
        torch.cuda.empty_cache()
    return torch.cuda.memory_allocated()


@case()
def a_benchmark_of_convolutions():
    """cuDNN's benchmark asks for the largest block (cacheInfo)."""
    torch.backends.cudnn.benchmark = True
    layer = torch.nn.Conv2d(3, 8, 3).cuda()
    out = layer(torch.empty(2, 3, 32, 32, device="cuda"))
    return list(out.shape)


@case()
def storages():
    tensor = block(MIB)
    storage = tensor.untyped_storage()
    copy = storage.clone()
    storage.resize_(8 * MIB)
    grown = torch.cuda.memory_allocated()
    storage.resize_(0)
    return copy.nbytes(), grown, torch.cuda.memory_allocated(), torch._C._has_Standard_Deleter(copy._cdata)


@case()
def slack_of_large_blocks():
    """Native gives a large request up to 1 MiB more than it asked for, rather than split a segment."""
    keep = block(25 * MIB)
    return torch.cuda.memory_allocated(), keep.numel()


@case()
def reserved_bytes_return():
    torch.cuda.init()
    free = torch.cuda.mem_get_info()[0]
    kept = [block(size) for size in (10, 3 * MIB, 40 * MIB)]
    del kept
    torch.cuda.empty_cache()
    return torch.cuda.memory_reserved(), torch.cuda.mem_get_info()[0] - free, stat("segment.all.current")


@case()
def a_forked_child_frees_what_it_inherited():
    keep = block(MIB)
    child = os.fork()
    if child == 0:
        del keep
        os._exit(3)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), torch.cuda.memory_allocated(), keep.numel()
