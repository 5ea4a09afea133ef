# SPDX-License-Identifier: Apache-2.0
"""GPT-2 on texts of very different lengths, accelerate, bf16, evaluation at the end of the epoch."""

import torch
from accelerate import Accelerator
from common import BATCH, Texts, collate
from transformers import GPT2Config, GPT2LMHeadModel

accelerator = Accelerator(mixed_precision="bf16")
model = GPT2LMHeadModel(GPT2Config(n_layer=5, n_embd=384, n_head=6, vocab_size=8000))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
# In order: a shuffled epoch may have its longest text in its last, smaller batch, and is then no judge of the worst one.
train = torch.utils.data.DataLoader(Texts(60, 32, 480), batch_size=BATCH, collate_fn=collate)
test = torch.utils.data.DataLoader(Texts(16, 32, 320), batch_size=BATCH, collate_fn=collate)
model, optimizer, train, test = accelerator.prepare(model, optimizer, train, test)
model.train()
for batch in train:
    accelerator.backward(model(**batch).loss)
    optimizer.step()
    optimizer.zero_grad()
model.eval()
for batch in test:
    with torch.no_grad():
        print("evaluated", model(**batch).loss.item())
