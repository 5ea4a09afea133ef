# SPDX-License-Identifier: Apache-2.0
"""Shapes that depend on values on the device: only tokens above a score are used."""

import torch
from common import BATCH, Texts, collate
from torch import nn

embed, head = nn.Embedding(8000, 64).to("cuda"), nn.Linear(64, 8000).to("cuda")
optimizer = torch.optim.AdamW([*embed.parameters(), *head.parameters()], lr=1e-4)
for batch in torch.utils.data.DataLoader(Texts(24, 64, 64), batch_size=BATCH, collate_fn=collate):
    ids = batch["input_ids"].to("cuda")
    kept = ids[ids > 0]
    nn.functional.cross_entropy(head(embed(kept)), kept).backward()
    optimizer.step()
    optimizer.zero_grad()
