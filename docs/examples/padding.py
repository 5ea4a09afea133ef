# SPDX-License-Identifier: Apache-2.0
"""Padded batches at addresses that stay: a language model over sequences of many lengths, in rows of a multiple of 64 tokens.

Without a GPU: gapless run --sim 4GiB -- python padding.py
"""

import gapless
import torch
from torch.utils.data import DataLoader
from transformers import GPT2Config, GPT2LMHeadModel

model = GPT2LMHeadModel(GPT2Config(vocab_size=8192, n_embd=128, n_layer=2, n_head=2, n_positions=512)).cuda()
optimizer = torch.optim.AdamW(model.parameters())
dataset = [{"input_ids": torch.randint(8192, (length,)).tolist()} for length in range(32, 512, 4)]

collate = gapless.PaddingCollator(pad_id=0, multiple_of=64, causal=True)
loader = DataLoader(dataset, batch_size=8, shuffle=True, collate_fn=collate, num_workers=2, pin_memory=True)

for batch in gapless.prefetch(loader):
    loss = model(**batch).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()

counts = gapless.constant_stats()
print(f"{counts['acquired']} batches in {counts['buffers']} buffers of {counts['classes']} shapes, {counts['moved']} moved")
