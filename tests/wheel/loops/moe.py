# SPDX-License-Identifier: Apache-2.0
"""A mixture of experts in which the number of tokens for each expert changes from step to step. The host chooses the routing: a
router on the device would need kernels that compute."""

import random

import torch
import torch.nn.functional as F
from torch import nn

STEPS, BATCH, LENGTH, WIDTH, INNER, EXPERTS, LAYERS, HEADS, VOCABULARY = 6, 8, 512, 1024, 2816, 8, 4, 16, 32000


class Expert(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(WIDTH, INNER, bias=False)
        self.up = nn.Linear(WIDTH, INNER, bias=False)
        self.down = nn.Linear(INNER, WIDTH, bias=False)

    def forward(self, x):
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Experts(nn.Module):
    def __init__(self, routing):
        super().__init__()
        self.experts = nn.ModuleList(Expert() for _ in range(EXPERTS))
        self.routing = routing

    def forward(self, x):
        tokens = x.reshape(-1, WIDTH)
        result = torch.zeros_like(tokens)
        shares = [self.routing.lognormvariate(0, 0.6) for _ in self.experts]
        for expert, share in zip(self.experts, shares):
            count = int(2 * len(tokens) * share / sum(shares))  # top 2
            chosen = torch.randint(0, len(tokens), (count,)).to("cuda")
            result = result.index_add(0, chosen, expert(tokens.index_select(0, chosen)))
        return result.view_as(x)


class Layer(nn.Module):
    def __init__(self, routing):
        super().__init__()
        self.attention_norm = nn.RMSNorm(WIDTH)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)
        self.expert_norm = nn.RMSNorm(WIDTH)
        self.experts = Experts(routing)

    def forward(self, x):
        q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in self.qkv(self.attention_norm(x)).chunk(3, -1))
        x = x + self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        return x + self.experts(self.expert_norm(x))


def main():
    routing = random.Random(8)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        layers = [Layer(routing) for _ in range(LAYERS)]
        model = nn.Sequential(nn.Embedding(VOCABULARY, WIDTH), *layers, nn.RMSNorm(WIDTH), nn.Linear(WIDTH, VOCABULARY, bias=False))
    torch.set_default_dtype(torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    for _ in range(STEPS):
        ids = torch.randint(0, VOCABULARY, (BATCH, LENGTH)).to("cuda")
        loss = F.cross_entropy(model(ids).float().flatten(0, 1), ids.flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        print("loss", loss.item())


if __name__ == "__main__":
    main()
