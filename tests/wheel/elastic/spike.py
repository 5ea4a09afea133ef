# SPDX-License-Identifier: Apache-2.0
"""The loop: one batch in fifty is ten times as long as the others, and there is room for a third of it."""

import gc

import torch
from transformers import GPT2Config, GPT2LMHeadModel

MIB = 1 << 20
SHORT, LONG, BATCH, STEPS, SPIKE = 64, 640, 8, 50, 31


def make():
    config = GPT2Config(n_layer=3, n_embd=128, n_head=4, vocab_size=4000, n_positions=1024)
    with torch.device("cuda"):
        return GPT2LMHeadModel(config)


def batch_of(step):
    width = LONG if step == SPIKE else SHORT
    ids = torch.randint(0, 4000, (BATCH, width))
    return {"input_ids": ids, "labels": ids}


def on_device(batch):
    return {name: value.to("cuda") for name, value in batch.items()}


def plain_step(model, optimizer, batch):
    loss = model(**on_device(batch)).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def room():
    """Bytes that hold the short batches and a third of the long one: no allocator can train the long one whole in it."""
    model = make()
    optimizer = torch.optim.AdamW(model.parameters())
    peaks = []
    for step in (0, 1, SPIKE):
        torch.cuda.reset_peak_memory_stats()
        plain_step(model, optimizer, batch_of(step))
        peaks.append(torch.cuda.max_memory_allocated())
    resident = torch.cuda.memory_allocated()
    limit = resident + (peaks[2] - resident) // 3
    assert peaks[1] < limit < peaks[2] - 100 * MIB
    del model, optimizer
    gc.collect()
    torch.cuda.empty_cache()
    return limit


def plain_loop():
    """How many steps it does before it runs out of memory."""
    model = make()
    optimizer = torch.optim.AdamW(model.parameters())
    for step in range(STEPS):
        try:
            plain_step(model, optimizer, batch_of(step))
        except torch.OutOfMemoryError:
            return step
    return STEPS
