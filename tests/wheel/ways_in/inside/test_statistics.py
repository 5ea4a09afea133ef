# SPDX-License-Identifier: Apache-2.0
"""torch.cuda.memory_stats and what is made of it."""

import pytest
import torch

MIB = 1 << 20
GIB = 1 << 30

ARRAYS = ("active", "active_bytes", "allocated_bytes", "allocation", "inactive_split", "inactive_split_bytes", "requested_bytes",
          "reserved_bytes", "segment")
KEYS = {f"{array}.{pool}.{field}" for array in ARRAYS for pool in ("all", "small_pool", "large_pool")
        for field in ("current", "peak", "allocated", "freed")}
KEYS |= {f"{stat}.{field}" for stat in ("oversize_allocations", "oversize_segments")
         for field in ("current", "peak", "allocated", "freed")}
KEYS |= {"max_split_size", "num_alloc_retries", "num_device_alloc", "num_device_free", "num_ooms", "num_sync_all_streams"}


def stat(key):
    return torch.cuda.memory_stats()[key]


def test_the_keys_are_pytorch_s():
    assert len(KEYS) == 122
    assert set(torch.cuda.memory_stats()) == KEYS


@pytest.mark.parametrize("size, rounded, pool", [(1, 512, "small_pool"), (513, 1024, "small_pool"), (MIB, MIB, "small_pool"),
                                                 (MIB + 1, MIB + 512, "large_pool"), (30 * MIB, 30 * MIB, "large_pool")])
def test_a_block_is_counted_in_its_pool(size, rounded, pool):
    tensor = torch.empty(size, dtype=torch.uint8, device="cuda")
    stats = torch.cuda.memory_stats()
    for key in ("all", pool):
        assert stats[f"allocated_bytes.{key}.current"] == rounded
        assert stats[f"active_bytes.{key}.current"] == rounded
        assert stats[f"requested_bytes.{key}.current"] == size
        assert stats[f"allocation.{key}.current"] == 1
        assert stats[f"active.{key}.current"] == 1
        assert stats[f"reserved_bytes.{key}.current"] >= rounded
    del tensor
    stats = torch.cuda.memory_stats()
    assert stats["allocated_bytes.all.current"] == 0
    assert stats["allocated_bytes.all.freed"] == rounded
    assert stats["requested_bytes.all.current"] == 0


def test_peaks_are_kept_and_reset():
    first = torch.empty(20 * MIB, dtype=torch.uint8, device="cuda")
    second = torch.empty(30 * MIB, dtype=torch.uint8, device="cuda")
    del second
    assert torch.cuda.max_memory_allocated() == 50 * MIB
    assert torch.cuda.memory_allocated() == 20 * MIB
    torch.cuda.reset_peak_memory_stats()
    assert torch.cuda.max_memory_allocated() == 20 * MIB
    del first
    assert torch.cuda.max_memory_allocated() == 20 * MIB


def test_accumulated_counts_are_reset():
    del_me = torch.empty(MIB, dtype=torch.uint8, device="cuda")
    del del_me
    assert stat("allocation.all.allocated") == 1
    torch.cuda.reset_accumulated_memory_stats()
    assert stat("allocation.all.allocated") == 0
    assert stat("allocation.all.freed") == 0


def test_reserved_returns_to_nothing():
    tensors = [torch.empty(7 * MIB, dtype=torch.uint8, device="cuda") for _ in range(5)]
    assert torch.cuda.memory_reserved() >= 35 * MIB
    assert stat("num_device_alloc") > 0
    del tensors
    torch.cuda.empty_cache()
    assert torch.cuda.memory_reserved() == 0
    assert torch.cuda.memory_allocated() == 0


def test_used_memory_of_the_device_follows():
    before = torch.cuda.mem_get_info()[0]
    tensor = torch.empty(512 * MIB, dtype=torch.uint8, device="cuda")
    assert before - torch.cuda.mem_get_info()[0] == 512 * MIB
    del tensor
    torch.cuda.empty_cache()
    assert torch.cuda.mem_get_info()[0] == before


def test_the_summary_is_printed():
    keep = torch.empty(3 * MIB, dtype=torch.uint8, device="cuda")
    text = torch.cuda.memory_summary()
    assert "PyTorch CUDA memory summary" in text
    assert "3072 KiB" in text, text
    del keep


def test_gapless_s_own_counters(on_gapless):
    import gapless

    if not on_gapless:
        with pytest.raises(RuntimeError, match="not PyTorch's CUDA allocator"):
            gapless.stats()
        return
    tensor = torch.empty(5 * MIB, dtype=torch.uint8, device="cuda")
    del tensor
    tensor = torch.empty(5 * MIB, dtype=torch.uint8, device="cuda")
    stats = gapless.stats()
    assert KEYS <= set(stats)
    assert {key: stats[key] for key in KEYS} == torch.cuda.memory_stats()
    assert stats["hits"] >= 1
    assert stats["misses"] >= 1
    assert list(stats) == sorted(stats)


class TestFraction:
    def teardown_method(self):
        torch.cuda.set_per_process_memory_fraction(1.0)

    def test_it_reads_back_and_limits(self):
        total = torch.cuda.mem_get_info()[1]
        torch.cuda.set_per_process_memory_fraction(0.3)
        assert torch.cuda.get_per_process_memory_fraction() == pytest.approx(0.3, abs=1e-9)
        fits = torch.empty(int(total * 0.29), dtype=torch.uint8, device="cuda")
        del fits
        torch.cuda.empty_cache()
        with pytest.raises(torch.OutOfMemoryError, match=r"GiB allowed; Of the allocated memory 0 bytes is allocated by PyTorch"):
            torch.empty(int(total * 0.31), dtype=torch.uint8, device="cuda")
        torch.cuda.set_per_process_memory_fraction(1.0)
        assert torch.empty(int(total * 0.31), dtype=torch.uint8, device="cuda").numel() == int(total * 0.31)

    @pytest.mark.parametrize("fraction", [-0.1, 1.5])
    def test_nonsense_is_refused(self, fraction):
        with pytest.raises((ValueError, RuntimeError)):
            torch.cuda.set_per_process_memory_fraction(fraction)
        with pytest.raises(RuntimeError, match="invalid fraction"):
            torch._C._cuda_setMemoryFraction(fraction, 0)

    def test_it_may_come_from_the_environment(self, child):
        source = """
import torch
torch.cuda.init()
print(torch.cuda.get_per_process_memory_fraction())
try:
    torch.empty(60 << 30, dtype=torch.uint8, device='cuda')
except torch.OutOfMemoryError:
    print('limited')
"""
        done = child(source, PYTORCH_CUDA_ALLOC_CONF="per_process_memory_fraction:0.5")
        assert (done.returncode, done.stdout.split()) == (0, ["0.5", "limited"]), done.stderr


@pytest.mark.parametrize("settings", ["nonsense:1", "max_split_size_mb:1", "per_process_memory_fraction:2"])
def test_a_bad_configuration_raises_in_init(child, settings):
    source = """
import torch
try:
    torch.cuda.init()
except Exception as error:
    print('raised', type(error).__name__)
"""
    done = child(source, PYTORCH_CUDA_ALLOC_CONF=settings)
    assert (done.returncode, done.stdout.split()[:1]) == (0, ["raised"]), done.stdout + done.stderr


def test_settings_changed_at_run_time_are_seen_here_too():
    torch._C._accelerator_setAllocatorSettings("pinned_num_register_threads:4")
    try:
        assert torch.cuda.memory._snapshot()["allocator_settings"]["pinned_num_register_threads"] == 4
    finally:
        torch._C._accelerator_setAllocatorSettings("pinned_num_register_threads:1")
