# SPDX-License-Identifier: Apache-2.0
"""GPT-2 of 4 layers of 768, float32 weights under bfloat16 autocast, batch 16 of 64..512 tokens, AdamW"""

import random

import torch
from transformers import GPT2Config, GPT2LMHeadModel

STEPS, BATCH, SHORTEST, LONGEST, VOCABULARY = 16, 16, 64, 512, 16000
# How rows get their length.
VARIANTS = {"fixed": lambda longest: LONGEST, "multiple": lambda longest: -(-longest // 64) * 64, "longest": lambda longest: longest}


def run(step, waited, variant):
    draw = random.Random(5)
    with torch.device("cuda"):
        model = GPT2LMHeadModel(GPT2Config(n_layer=4, n_embd=768, n_head=12, n_positions=LONGEST, vocab_size=VOCABULARY))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    for _ in range(STEPS):
        step()
        longest = max(draw.randint(SHORTEST, LONGEST) for _ in range(4))
        ids = torch.randint(0, VOCABULARY, (BATCH, VARIANTS[variant](longest))).to("cuda")
        mask = torch.ones_like(ids)
        with torch.autocast("cuda", torch.bfloat16):
            loss = model(input_ids=ids, attention_mask=mask, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()
        waited()
