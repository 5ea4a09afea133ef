# SPDX-License-Identifier: Apache-2.0
"""Out of memory: text, life afterwards, observers, traps."""

import re

import torch
from harness import GIB, MIB, block, case, raised, stat


def masked(text):
    """The figures that say what each allocator holds are its own."""
    return re.sub(r"(of which|PyTorch, and|memory) [\d.]+ \w+ (is free|is reserved|is allocated)", r"\1 # \2", text)


@case(device="size=2GiB")
def the_text():
    keep = block(512 * MIB)
    return masked(raised(block, 8 * GIB)), keep.numel()


@case(device="size=2GiB")
def the_text_below_a_fraction():
    torch.cuda.init()
    torch.cuda.set_per_process_memory_fraction(0.5)
    return masked(raised(block, int(1.2 * GIB)))


@case(device="size=2GiB")
def the_text_with_private_pools():
    pool = torch.cuda.MemPool()
    with torch.cuda.use_mem_pool(pool):
        keep, gone = block(500 * MIB), block(300 * MIB)
    del gone
    text = raised(block, 8 * GIB)
    return re.findall(r"with [\d.]+ \w+ allocated in private pools \(e.g., CUDA Graphs\)", text), keep.numel()


@case(device="size=64MiB")
def tried_names_the_segment():
    """A request of little more than 1 MiB is said to have tried 20 MiB."""
    torch.cuda.init()
    kept = []
    try:
        while True:
            kept.append(block(2 * MIB))
    except torch.OutOfMemoryError:
        pass
    seen = []
    for size in (100, MIB, int(1.1 * MIB), 9 * MIB, 10 * MIB, 11 * MIB + 1):
        text = raised(lambda size=size: kept.append(block(size)))
        seen.append(re.findall(r"Tried to allocate ([\d.]+ \w+)\.", text) or text)
    return seen[2:]


@case()
def absurd_sizes():
    torch.cuda.init()
    return [raised(block, size)[:120] for size in (858_993_459_200_000_000, 1 << 60, (1 << 60) + 5, 1 << 62)]


@case(device="size=2GiB")
def life_goes_on():
    torch.cuda.init()
    small = block(1000)
    half = block(GIB)
    seen = [raised(block, GIB + 100 * MIB)[:30] for _ in range(3)]
    del half
    again = block(GIB + 100 * MIB)
    return seen, again.numel(), small.numel(), stat("num_ooms"), torch.cuda.memory_allocated()


@case(device="size=2GiB")
def half_of_memory_twice():
    torch.cuda.init()
    total = torch.cuda.mem_get_info()[0]
    first = block(int(total * 0.6))
    text = raised(block, int(total * 0.6))[:30]
    del first
    return text, block(int(total * 0.6)).numel()


@case(device="size=2GiB")
def cached_blocks_of_other_sizes_make_room():
    kept = [block(150 * MIB) for _ in range(12)]
    del kept
    return block(1800 * MIB).numel()


@case(device="size=2GiB", settings="max_split_size_mb:1024")
def cached_blocks_make_room_with_a_split_size():
    kept = [block(150 * MIB) for _ in range(12)]
    del kept
    return block(1800 * MIB).numel()


@case(device="size=2GiB")
def a_loop_that_fails_often():
    torch.cuda.init()
    seen = []
    for _ in range(10):
        kept = []
        try:
            while True:
                kept.append(block(100 * MIB))
        except torch.OutOfMemoryError:
            seen.append(len(kept) >= 19)
        del kept
    return seen, stat("num_ooms")


@case(device="size=2GiB")
def the_observer_is_told():
    torch.cuda.init()
    seen = []
    torch._C._cuda_attach_out_of_memory_observer(lambda *figures: seen.append(figures))
    raised(block, 3 * GIB)
    torch.cuda.set_per_process_memory_fraction(0.25)
    raised(block, GIB)
    return [(device, tried, total, 0 < free <= 2 * GIB) for device, tried, total, free in seen]


@case(device="size=2GiB")
def an_observer_cannot_help():
    """What it frees comes too late for this request, and its exception replaces the error."""
    hoard = [block(1500 * MIB)]
    torch._C._cuda_attach_out_of_memory_observer(lambda *_: hoard.clear())
    first = raised(block, GIB)[:30]
    second = block(GIB).numel()

    def complain(*_):
        raise KeyError("mine")

    torch._C._cuda_attach_out_of_memory_observer(complain)
    return first, second, raised(block, 3 * GIB)


@case(device="size=2GiB")
def it_is_in_the_history():
    torch.cuda.memory._record_memory_history(context=None)
    raised(block, 3 * GIB + 5)
    entries = [entry for entry in torch.cuda.memory._snapshot()["device_traces"][0] if entry["action"] == "oom"]
    return [(sorted(entry), entry["size"], entry["device_free"] > 0) for entry in entries]


@case(device="size=2GiB")
def raw_blocks_and_types():
    torch.cuda.init()
    text = raised(torch.cuda.caching_allocator_alloc, 3 * GIB)
    return text[:60], torch.OutOfMemoryError is torch.cuda.OutOfMemoryError, issubclass(torch.OutOfMemoryError, RuntimeError)


@case(device="size=2GiB")
def retries_are_counted():
    kept = [block(150 * MIB) for _ in range(12)]
    del kept
    raised(block, 3 * GIB)
    return stat("num_ooms"), stat("num_alloc_retries") > 0
