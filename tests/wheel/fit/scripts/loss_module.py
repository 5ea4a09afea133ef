# SPDX-License-Identifier: Apache-2.0
"""A loop as most are: a mean over the data before training, a loss that is a module, evaluation under no_grad, the best model kept."""

import pathlib

import torch
from common import BATCH, Texts, collate
from torch import nn

model = nn.Sequential(nn.Embedding(8000, 256), nn.Linear(256, 8000)).to("cuda")
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
training, held_out = (torch.utils.data.DataLoader(Texts(24, 64, 64), batch_size=BATCH, collate_fn=collate) for _ in range(2))
tokens = sum(batch["input_ids"].numel() for batch in training)
print("tokens", tokens)


def loss_of(batch):
    ids = batch["input_ids"].to("cuda")
    return criterion(model(ids).view(-1, 8000), ids.view(-1))


for _ in range(2):
    model.train()
    for batch in training:
        loss_of(batch).backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
    with torch.no_grad():
        print("loss", sum(loss_of(batch).item() for batch in held_out))
    torch.save(model.state_dict(), pathlib.Path("best.pt"))
