# SPDX-License-Identifier: Apache-2.0
"""A mixture of experts with a fixed capacity for each expert, as Switch has it: shapes depend on the batch alone."""

import torch
from common import BATCH, Texts, collate
from torch import nn


class Experts(nn.Module):
    def __init__(self, width, experts=4):
        super().__init__()
        self.router = nn.Linear(width, experts)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)) for _ in range(experts))

    def forward(self, x):
        flat = x.flatten(0, 1)
        score = self.router(flat).softmax(-1)
        capacity = flat.shape[0] * 5 // 4 // len(self.experts)
        out = torch.zeros_like(flat)
        for number, expert in enumerate(self.experts):
            weight, chosen = score[:, number].topk(capacity)
            out = out.index_add(0, chosen, expert(flat[chosen]) * weight[:, None])
        return x + out.view_as(x)


class Model(nn.Module):
    def __init__(self, width=384, layers=4, vocabulary=8000):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.layers = nn.ModuleList(nn.ModuleList([nn.TransformerEncoderLayer(width, 6, 2 * width, batch_first=True), Experts(width)])
                                    for _ in range(layers))
        self.head = nn.Linear(width, vocabulary)

    def forward(self, ids):
        x = self.embed(ids)
        for attention, experts in self.layers:
            x = experts(attention(x))
        return self.head(x)


model = Model().to("cuda").train()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
for batch in torch.utils.data.DataLoader(Texts(48, 192, 192), batch_size=BATCH, collate_fn=collate):
    ids = batch["input_ids"].to("cuda")
    loss = nn.functional.cross_entropy(model(ids).flatten(0, 1), ids.flatten())
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
