# SPDX-License-Identifier: Apache-2.0
"""Blocks as PyTorch hands them out: addresses, frees, raw blocks, switched-off caching, what else PyTorch asks of them."""

import threading

import pytest
import torch

MIB = 1 << 20


def test_addresses_are_aligned_and_disjoint():
    tensors = [torch.empty(size, dtype=torch.uint8, device="cuda") for size in (1, 511, 512, 513, 3 * MIB, 40 * MIB)]
    spans = sorted((t.data_ptr(), t.data_ptr() + t.numel()) for t in tensors)
    assert all(start % 512 == 0 for start, _ in spans)
    assert all(spans[i][1] <= spans[i + 1][0] for i in range(len(spans) - 1))


def test_a_freed_block_is_used_again():
    first = torch.empty(10 * MIB, dtype=torch.uint8, device="cuda")
    address = first.data_ptr()
    del first
    assert torch.empty(10 * MIB, dtype=torch.uint8, device="cuda").data_ptr() == address


def test_nothing_for_no_bytes():
    empty = torch.empty(0, device="cuda")
    assert empty.data_ptr() == 0
    assert empty.device == torch.device("cuda", 0)
    assert torch.cuda.memory_allocated() == 0


def test_raw_blocks_are_counted():
    address = torch.cuda.caching_allocator_alloc(1000)
    assert torch.cuda.memory_allocated() == 1024
    torch.cuda.caching_allocator_delete(address)
    assert torch.cuda.memory_allocated() == 0


def test_an_unknown_address_raises():
    with pytest.raises(RuntimeError, match="invalid device pointer"):
        torch.cuda.caching_allocator_delete(0x1234000)


def test_storages_know_their_deleter():
    tensor = torch.empty(100, device="cuda")
    assert torch._C._has_Standard_Deleter(tensor.untyped_storage()._cdata)


def test_switched_off_caching_is_not_counted():
    cached = torch.empty(MIB, dtype=torch.uint8, device="cuda")
    allocated = torch.cuda.memory_allocated()
    torch.cuda.caching_allocator_enable(False)
    try:
        raw = torch.empty(MIB, dtype=torch.uint8, device="cuda")
        assert raw.data_ptr() != 0
        assert torch.cuda.memory_allocated() == allocated
        del raw
    finally:
        torch.cuda.caching_allocator_enable(True)
    del cached
    assert torch.cuda.memory_allocated() == 0


def test_blocks_find_home_after_caching_was_switched(on_gapless):
    if not on_gapless:
        pytest.skip("native gives a cached block to cudaFree here")
    cached = torch.cuda.caching_allocator_alloc(MIB)
    torch.cuda.caching_allocator_enable(False)
    try:
        raw = torch.cuda.caching_allocator_alloc(MIB)
        torch.cuda.caching_allocator_delete(cached)
    finally:
        torch.cuda.caching_allocator_enable(True)
    torch.cuda.caching_allocator_delete(raw)
    assert torch.cuda.memory_allocated() == 0


def test_no_caching_by_environment(child):
    source = """
import torch
tensor = torch.empty(1 << 20, device='cuda')
print(torch.cuda.memory_allocated(), tensor.data_ptr() != 0)
"""
    done = child(source, PYTORCH_NO_CUDA_MEMORY_CACHING="1")
    assert (done.returncode, done.stdout.split()) == (0, ["0", "True"]), done.stderr


def test_storages_are_copied_and_resized():
    tensor = torch.empty(MIB, device="cuda")
    copy = tensor.untyped_storage().clone()
    assert copy.nbytes() == tensor.untyped_storage().nbytes()
    tensor.untyped_storage().resize_(8 * MIB)
    assert torch.cuda.memory_allocated() == 12 * MIB


def test_threads_share_the_allocator():
    failures = []

    def work(seed):
        try:
            generator = torch.Generator().manual_seed(seed)
            kept = []
            for _ in range(2000):
                size = int(torch.randint(1, 3 * MIB, (), generator=generator))
                kept.append(torch.empty(size, dtype=torch.uint8, device="cuda"))
                if len(kept) > 16:
                    del kept[int(torch.randint(0, len(kept), (), generator=generator))]
        except Exception as error:  # noqa: BLE001: handed to the main thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert torch.cuda.memory_allocated() == 0


def test_a_tensor_may_die_at_interpreter_exit(child):
    source = """
import torch
class Keeper: pass
keeper = Keeper(); keeper.tensor = torch.empty(1 << 20, device='cuda'); keeper.itself = keeper
import sys; sys.modules['keeper'] = keeper
print('ended')
"""
    done = child(source)
    assert (done.returncode, done.stdout.strip()) == (0, "ended"), done.stderr


def test_accelerator_sees_the_same():
    tensor = torch.empty(MIB, device="cuda")
    assert torch.accelerator.memory_allocated() == torch.cuda.memory_allocated() == tensor.untyped_storage().nbytes()
    assert torch.accelerator.memory_stats() == torch.cuda.memory_stats()


def test_the_backend_has_native_s_name():
    assert torch.cuda.memory.get_allocator_backend() == "native"


def test_pinned_memory_works():
    assert torch.empty(1000, pin_memory=True).is_pinned()
