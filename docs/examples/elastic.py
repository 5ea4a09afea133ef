# SPDX-License-Identifier: Apache-2.0
"""A plain loop whose third batch is far longer than the others: it is trained in smaller pieces, and the run goes on.

Without a GPU: gapless run --sim 2GiB -- python elastic.py
"""

import gapless
import torch
import torch.nn.functional as F

VOCABULARY, WIDTH = 4096, 512
model = torch.nn.Sequential(torch.nn.Embedding(VOCABULARY, WIDTH), torch.nn.Linear(WIDTH, WIDTH), torch.nn.GELU(),
                            torch.nn.Linear(WIDTH, VOCABULARY)).cuda()
optimizer = torch.optim.AdamW(model.parameters())


def loss_of(model, batch):
    tokens = batch["input_ids"].cuda()
    return F.cross_entropy(model(tokens).flatten(0, 1), batch["labels"].cuda().flatten())


def batch_of(length):
    tokens = torch.randint(VOCABULARY, (16, length))
    return {"input_ids": tokens, "labels": tokens}


loader = [batch_of(length) for length in (128, 256, 4096, 256)]

step = gapless.elastic(lambda batch: loss_of(model, batch), optimizer=optimizer, model=model, weight=gapless.tokens)
for batch in loader:
    loss = step(batch)

print(f"{step.counts.steps} batches in {step.counts.micro_batches} pieces, {step.counts.failures} attempts failed")
