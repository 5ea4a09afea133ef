# SPDX-License-Identifier: Apache-2.0
"""Memory between streams: a block is not reused while a stream that was recorded on it may use it."""

import torch

MIB = 1 << 20


def test_a_stream_s_memory_is_its_own():
    side = torch.cuda.Stream()
    first = torch.empty(4 * MIB, dtype=torch.uint8, device="cuda")
    address = first.data_ptr()
    del first
    with torch.cuda.stream(side):
        other = torch.empty(4 * MIB, dtype=torch.uint8, device="cuda")
        assert other.data_ptr() != 0
    again = torch.empty(4 * MIB, dtype=torch.uint8, device="cuda")
    assert again.data_ptr() == address or other.data_ptr() == address


def test_record_stream_keeps_the_block_until_the_stream_is_done():
    side = torch.cuda.Stream()
    tensor = torch.empty(4 * MIB, dtype=torch.uint8, device="cuda")
    with torch.cuda.stream(side):
        tensor.fill_(1)
    tensor.record_stream(side)
    del tensor
    assert torch.cuda.memory_allocated() == 0  # freed as far as the program is concerned
    torch.cuda.synchronize()
    assert torch.empty(4 * MIB, dtype=torch.uint8, device="cuda").data_ptr() != 0


def test_recording_the_own_stream_is_nothing():
    tensor = torch.empty(4 * MIB, dtype=torch.uint8, device="cuda")
    address = tensor.data_ptr()
    tensor.record_stream(torch.cuda.current_stream())
    del tensor
    assert torch.empty(4 * MIB, dtype=torch.uint8, device="cuda").data_ptr() == address


def test_foreign_memory_is_ignored():
    host = torch.empty(1000, pin_memory=True)
    view = torch.empty(0, device="cuda")
    view.record_stream(torch.cuda.Stream())
    assert host.is_pinned()


def test_blocks_of_a_stream_may_be_freed_on_another():
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        tensors = [torch.empty(size * MIB, dtype=torch.uint8, device="cuda") for size in range(1, 9)]
    del tensors
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    assert torch.cuda.memory_reserved() == 0
