# SPDX-License-Identifier: Apache-2.0
"""GPT-2 small: mixed precision, batches padded to their longest text, AdamW."""

import random

import torch
from transformers import GPT2Config, GPT2LMHeadModel

STEPS, BATCH, LONGEST = 10, 8, 1024


def main():
    lengths = random.Random(1)
    with torch.device("cuda"):
        model = GPT2LMHeadModel(GPT2Config())
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5)
    for _ in range(STEPS):
        texts = [lengths.randint(32, LONGEST) for _ in range(BATCH)]
        width = (max(texts) + 7) // 8 * 8
        ids = torch.randint(0, 50257, (BATCH, width)).to("cuda")
        mask = torch.tensor([[1] * text + [0] * (width - text) for text in texts]).to("cuda")
        with torch.autocast("cuda", torch.bfloat16):
            loss = model(input_ids=ids, attention_mask=mask, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        print("loss", loss.item(), "width", width)


if __name__ == "__main__":
    main()
