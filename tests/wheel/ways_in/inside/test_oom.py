# SPDX-License-Identifier: Apache-2.0
"""Out of memory as PyTorch says it, and life afterwards."""

import re

import pytest
import torch

GIB = 1 << 30

# The text of 2.11, with its double spaces.
TEXT = re.compile(
    r"CUDA out of memory\. Tried to allocate (?P<tried>[\d.]+ \w+)\. GPU 0 has a total capacity of (?P<total>[\d.]+ GiB) of which "
    r"(?P<free>[\d.]+ \w+) is free\. (?:Including non-PyTorch memory, this process has [\d.]+ \w+ memory in use\. )?"
    r"(?:Process \d+ has [\d.]+ \w+ memory in use\. )*"
    r"Of the allocated memory (?P<allocated>[\d.]+ \w+) is allocated by PyTorch, "
    r"and (?P<unallocated>[\d.]+ \w+) is reserved by PyTorch but unallocated\. If reserved but unallocated memory is large try "
    r"setting PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid fragmentation\.  See documentation for Memory Management  "
    r"\(https://docs\.pytorch\.org/docs/stable/notes/cuda\.html#optimizing-memory-usage-with-pytorch-cuda-alloc-conf\)")


def bytes_on_device(count):
    return torch.empty(count, dtype=torch.uint8, device="cuda")


def fail_to_allocate(count):
    with pytest.raises(torch.OutOfMemoryError) as caught:
        bytes_on_device(count)
    return str(caught.value)


def test_the_text_is_pytorch_s():
    keep = bytes_on_device(20 * GIB)
    match = TEXT.fullmatch(fail_to_allocate(1 << 40))
    assert match is not None
    assert match["tried"] == "1024.00 GiB"
    assert match["total"] == f"{torch.cuda.mem_get_info()[1] / GIB:.2f} GiB"
    assert match["allocated"] == "20.00 GiB"
    assert match["unallocated"] == "0 bytes"
    del keep


@pytest.mark.parametrize("count, text", [
    (859_830_000_000_000_000, "Tried to allocate 800"),
    (1 << 60, "CUDA out of memory. Tried to allocate more than 1EB memory."),
])
def test_absurd_sizes(count, text):
    assert text in fail_to_allocate(count)


def test_it_is_a_runtime_error_too():
    with pytest.raises(RuntimeError):
        bytes_on_device(1 << 45)
    assert torch.OutOfMemoryError is torch.cuda.OutOfMemoryError


def test_the_process_goes_on_and_the_same_request_succeeds_after_a_free():
    total = torch.cuda.mem_get_info()[0]
    keep = bytes_on_device(int(total * 0.7))
    small = bytes_on_device(1 << 20)
    ooms = torch.cuda.memory_stats()["num_ooms"]
    for _ in range(3):
        fail_to_allocate(total // 2)
    assert torch.cuda.memory_stats()["num_ooms"] == ooms + 3
    assert torch.cuda.memory_allocated() == keep.numel() + small.numel()
    assert bytes_on_device(1 << 30).numel() == 1 << 30
    del keep
    assert bytes_on_device(total // 2).numel() == total // 2


def test_cached_memory_of_other_sizes_is_no_obstacle():
    total = torch.cuda.mem_get_info()[0]
    pieces = [bytes_on_device(total // 40) for _ in range(38)]
    del pieces
    assert bytes_on_device(int(total * 0.9)).numel() == int(total * 0.9)


def test_raw_blocks_fail_the_same_way():
    with pytest.raises(torch.OutOfMemoryError, match="Tried to allocate"):
        torch.cuda.caching_allocator_alloc(1 << 45)


def test_observers_see_it_first(child):
    source = """
import torch
torch.cuda.init()
seen = []
torch._C._cuda_attach_out_of_memory_observer(lambda *figures: seen.append(figures))
try:
    torch.empty(1 << 45, dtype=torch.uint8, device='cuda')
except torch.OutOfMemoryError:
    pass
(device, tried, total, free), = seen
print(device == 0, tried == 1 << 45, total == torch.cuda.mem_get_info()[1], 0 < free <= total)
torch.cuda.set_per_process_memory_fraction(0.25)
try:
    torch.empty(40 << 30, dtype=torch.uint8, device='cuda')
except torch.OutOfMemoryError:
    pass
print(abs(seen[1][2] / torch.cuda.mem_get_info()[1] - 0.25) < 1e-6)
"""
    done = child(source)
    assert (done.returncode, set(done.stdout.split())) == (0, {"True"}), done.stdout + done.stderr


def test_an_observer_may_allocate_and_its_exception_wins(child):
    source = """
import torch
torch.cuda.init()
def observe(*figures):
    torch.empty(1000, device='cuda')
    raise KeyError('from the observer')
torch._C._cuda_attach_out_of_memory_observer(observe)
try:
    torch.empty(1 << 45, dtype=torch.uint8, device='cuda')
except KeyError as error:
    print('KeyError')
print(torch.empty(1000, device='cuda').numel())
"""
    done = child(source)
    assert (done.returncode, done.stdout.split()) == (0, ["KeyError", "1000"]), done.stdout + done.stderr
