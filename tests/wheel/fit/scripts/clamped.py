# SPDX-License-Identifier: Apache-2.0
"""A width that is read from the device: what is longer than the longest text of the batch is cut off."""

import torch
from common import BATCH, Texts, collate
from torch import nn

embed, head = nn.Embedding(8000, 64).to("cuda"), nn.Linear(64, 8000).to("cuda")
optimizer = torch.optim.AdamW([*embed.parameters(), *head.parameters()], lr=1e-4)
for batch in torch.utils.data.DataLoader(Texts(48, 64, 64), batch_size=BATCH, collate_fn=collate):
    ids = batch["input_ids"].to("cuda")
    ids = ids[:, :int((ids > 0).sum(1).max())]
    nn.functional.cross_entropy(head(embed(ids)).flatten(0, 1), ids.flatten()).backward()
    optimizer.step()
    optimizer.zero_grad()
