# SPDX-License-Identifier: Apache-2.0
"""BERT small (4 layers of 512) fp16 AMP with GradScaler, batch 32 of dynamic length 16..256, AdamW; two batches of 64 are
evaluated every 4 steps"""

import random

import torch
from transformers import BertConfig, BertForSequenceClassification

STEPS, BATCH, EVAL_EVERY, EVAL_BATCH, LONGEST = 16, 32, 4, 64, 256


def batch(lengths, size):
    width = max(lengths.randint(16, LONGEST) for _ in range(size // 8))
    ids = torch.randint(0, 30000, (size, width)).to("cuda")
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.zeros(size, dtype=torch.long).to("cuda")}


def run(step, waited):
    lengths = random.Random(11)
    config = BertConfig(num_hidden_layers=4, hidden_size=512, num_attention_heads=8, intermediate_size=2048)
    with torch.device("cuda"):
        model = BertForSequenceClassification(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-5)
    scaler = torch.amp.GradScaler("cuda")
    for number in range(1, STEPS + 1):
        step()
        model.train()
        with torch.autocast("cuda", torch.float16):
            loss = model(**batch(lengths, BATCH)).loss
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        loss.item()
        waited()
        if number % EVAL_EVERY:
            continue
        model.eval()
        with torch.no_grad(), torch.autocast("cuda", torch.float16):
            for _ in range(2):
                model(**batch(lengths, EVAL_BATCH)).logits.float().cpu()
                waited()
