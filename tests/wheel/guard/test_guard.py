# SPDX-License-Identifier: Apache-2.0
"""GAPLESS_CONF=guard:true under PyTorch: writes to freed memory and behind a tensor are found, a program's own work is not."""

import ctypes

import gapless
import pytest
import torch


def write(address: int, count: int) -> None:
    """As a faulty kernel would."""
    runtime = ctypes.CDLL(f"libcudart.so.{torch.version.cuda.split('.')[0]}")
    assert runtime.cudaMemset(ctypes.c_void_p(address), 7, ctypes.c_size_t(count)) == 0


def test_what_is_broken_is_found_and_told(capfd):
    tensor = torch.zeros(1000, device="cuda")
    behind = torch.zeros(1000, device="cuda")
    assert gapless.check_guards() == 0
    write(tensor.data_ptr() + 4000, 2)
    assert gapless.check_guards() == 1
    assert "written 0 bytes behind the end of a block" in capfd.readouterr().err
    address = behind.data_ptr()
    del behind
    write(address + 16, 3)
    assert gapless.check_guards() == 2
    told = capfd.readouterr().err
    assert "freed memory was written, 16 bytes into a block" in told
    assert "4000 bytes at" in told


def test_a_program_that_keeps_to_its_tensors_is_left_in_peace():
    before = gapless.check_guards()
    model = torch.nn.Sequential(torch.nn.Linear(100, 300), torch.nn.GELU(), torch.nn.Linear(300, 10)).cuda()
    optimizer = torch.optim.AdamW(model.parameters())
    side = torch.cuda.Stream()
    for rows in (8, 64, 8, 100):
        batch = torch.ones(rows, 100).cuda()
        with torch.cuda.stream(side):
            side.wait_stream(torch.cuda.default_stream())
            doubled = batch * 2
            batch.record_stream(side)
        torch.cuda.default_stream().wait_stream(side)
        doubled.record_stream(torch.cuda.default_stream())
        model(doubled).sum().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        del batch, doubled
    torch.cuda.synchronize()
    assert gapless.check_guards() == before
    torch.cuda.empty_cache()
    assert gapless.check_guards() == before


def test_an_unknown_device_is_an_error():
    with pytest.raises(RuntimeError, match="no device 99"):
        gapless.check_guards(99)
