# SPDX-License-Identifier: Apache-2.0
"""Memory between streams and threads. The device completes nothing before it is waited for, so that what pends stays pending."""

import torch
from harness import GIB, MIB, block, case, device, in_threads, raised


def use(tensor, stream):
    with torch.cuda.stream(stream):
        tensor.add_(1)


@case(device="completion=lazy,strict=1")
def a_recorded_block_is_not_reused_early():
    torch.cuda.init()
    side = torch.cuda.Stream()
    tensor = torch.empty(3 * MIB, device="cuda")
    use(tensor, side)
    tensor.record_stream(side)
    address = tensor.data_ptr()
    del tensor
    early = torch.empty(3 * MIB, device="cuda").data_ptr() == address
    torch.cuda.synchronize()
    return early, device("gapless_sim_violations")


@case(device="completion=lazy,strict=1")
def after_the_stream_it_is():
    torch.cuda.init()
    side = torch.cuda.Stream()
    tensor = torch.empty(3 * MIB, device="cuda")
    use(tensor, side)
    tensor.record_stream(side)
    address = tensor.data_ptr()
    del tensor
    side.synchronize()
    return torch.empty(3 * MIB, device="cuda").data_ptr() == address, device("gapless_sim_violations")


@case(device="completion=lazy")
def a_freed_block_is_its_own_stream_s_at_once():
    torch.cuda.init()
    tensor = torch.empty(3 * MIB, device="cuda")
    tensor.add_(1)
    address = tensor.data_ptr()
    del tensor
    return torch.empty(3 * MIB, device="cuda").data_ptr() == address


@case(device="completion=lazy")
def the_own_stream_is_not_recorded():
    torch.cuda.init()
    tensor = torch.empty(3 * MIB, device="cuda")
    tensor.record_stream(torch.cuda.current_stream())
    address = tensor.data_ptr()
    del tensor
    return torch.empty(3 * MIB, device="cuda").data_ptr() == address


@case(device="completion=lazy,size=2GiB")
def an_oom_waits_for_what_pends():
    """The block is free when the side stream is: a request that needs it waits."""
    torch.cuda.init()
    side = torch.cuda.Stream()
    tensor = block(1500 * MIB)
    use(tensor, side)
    tensor.record_stream(side)
    del tensor
    return block(1500 * MIB).numel()


@case(device="completion=lazy,strict=1")
def empty_cache_waits_for_what_pends():
    torch.cuda.init()
    side = torch.cuda.Stream()
    tensor = block(40 * MIB)
    use(tensor, side)
    tensor.record_stream(side)
    del tensor
    torch.cuda.empty_cache()
    return torch.cuda.memory_reserved(), torch.cuda.memory_stats()["active_bytes.all.current"], device("gapless_sim_violations")


@case(device="completion=lazy")
def several_streams_on_one_block():
    torch.cuda.init()
    sides = [torch.cuda.Stream() for _ in range(3)]
    tensor = torch.empty(3 * MIB, device="cuda")
    for side in sides:
        use(tensor, side)
        tensor.record_stream(side)
    address = tensor.data_ptr()
    del tensor
    seen = []
    for side in sides:
        seen.append(torch.empty(3 * MIB, device="cuda").data_ptr() == address)
        side.synchronize()
    seen.append(torch.empty(3 * MIB, device="cuda").data_ptr() == address)
    return seen


@case()
def nothing_to_record():
    torch.cuda.init()
    side = torch.cuda.Stream()
    return [raised(torch.empty(0, device="cuda").record_stream, side), raised(torch.empty(5).record_stream, side)[:20]]


@case(device="completion=lazy,strict=1")
def blocks_of_another_stream():
    """A tensor made on a side stream and freed on the main one: the side stream's next allocation may have it."""
    torch.cuda.init()
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        tensor = torch.empty(3 * MIB, device="cuda")
        tensor.add_(1)
    address = tensor.data_ptr()
    del tensor
    with torch.cuda.stream(side):
        again = torch.empty(3 * MIB, device="cuda")
    return again.data_ptr() == address, device("gapless_sim_violations")


@case()
def external_streams():
    torch.cuda.init()
    other = torch.cuda.ExternalStream(torch.cuda.Stream().cuda_stream)
    with torch.cuda.stream(other):
        tensor = block(3 * MIB)
    segment = next(s for s in torch.cuda.memory_snapshot() if s["allocated_size"])
    return segment["stream"] == other.cuda_stream, tensor.numel()


@case()
def raw_blocks_on_a_stream():
    torch.cuda.init()
    side = torch.cuda.Stream()
    address = torch.cuda.caching_allocator_alloc(3 * MIB, stream=side)
    streams = [s["stream"] == side.cuda_stream for s in torch.cuda.memory_snapshot() if s["allocated_size"]]
    torch.cuda.caching_allocator_delete(address)
    return streams, torch.cuda.memory_allocated()


@case(device="size=4GiB")
def threads_and_streams():
    torch.cuda.init()
    failures = []

    def work(seed):
        try:
            source = torch.Generator().manual_seed(seed)
            stream = torch.cuda.Stream()
            kept = []
            for _ in range(400):
                with torch.cuda.stream(stream):
                    kept.append(block(int(torch.randint(1, 3 * MIB, (), generator=source))))
                if len(kept) > 12:
                    gone = kept.pop(int(torch.randint(0, len(kept), (), generator=source)))
                    gone.record_stream(torch.cuda.default_stream())
                    del gone
        except Exception as error:  # noqa: BLE001: the case says which
            failures.append(repr(error))

    in_threads(4, work)
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    return failures, torch.cuda.memory_allocated(), torch.cuda.memory_reserved()


@case(device="size=2GiB")
def a_destructor_s_free_and_an_oom():
    """A tensor that dies while an exception travels, and one in a cycle."""
    torch.cuda.init()

    class Holder:
        def __init__(self):
            self.itself, self.tensor = self, block(100 * MIB)

        def __del__(self):
            block(MIB)

    Holder()
    seen = raised(lambda: (block(500 * MIB), block(3 * GIB)))[:30]
    import gc

    gc.collect()
    return seen, torch.cuda.memory_allocated()
