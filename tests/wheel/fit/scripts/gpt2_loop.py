# SPDX-License-Identifier: Apache-2.0
"""GPT-2, mixed precision, a plain loop without a loader: the batch is an argument."""

import argparse

import torch
from transformers import GPT2Config, GPT2LMHeadModel

parser = argparse.ArgumentParser()
parser.add_argument("--batch-size", type=int, default=4)
args = parser.parse_args()
with torch.device("cuda"):
    model = GPT2LMHeadModel(GPT2Config(n_layer=6, n_embd=384, n_head=6, vocab_size=16000))
model.train()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
for _ in range(8):
    ids = torch.randint(0, 16000, (args.batch_size, 256)).to("cuda")
    with torch.autocast("cuda", torch.bfloat16):
        loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    print("loss", loss.item())
