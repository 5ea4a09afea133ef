# SPDX-License-Identifier: Apache-2.0
"""BERT of 6 layers of 768, float16 autocast with GradScaler, token classification, batch 32 of 32..384 tokens, AdamW; 2 batches of
64 are evaluated every 4 steps"""

import random

import torch
from transformers import BertConfig, BertForTokenClassification

STEPS, BATCH, SHORTEST, LONGEST, VOCABULARY, EVALUATE_EVERY = 16, 32, 32, 384, 16000, 4
# How rows get their length.
VARIANTS = {"fixed": lambda longest: LONGEST, "multiple": lambda longest: -(-longest // 64) * 64, "longest": lambda longest: longest}


def run(step, waited, variant):
    draw = random.Random(7)

    def batch(rows):
        length = VARIANTS[variant](max(draw.randint(SHORTEST, LONGEST) for _ in range(3)))
        ids = torch.randint(0, VOCABULARY, (rows, length)).to("cuda")
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.randint(0, 9, (rows, length)).to("cuda")}

    with torch.device("cuda"):
        model = BertForTokenClassification(BertConfig(num_hidden_layers=6, vocab_size=VOCABULARY, num_labels=9))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5)
    scaler = torch.amp.GradScaler("cuda")
    for number in range(1, STEPS + 1):
        step()
        model.train()
        with torch.autocast("cuda", torch.float16):
            loss = model(**batch(BATCH)).loss
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        waited()
        if number % EVALUATE_EVERY == 0:
            model.eval()
            for _ in range(2):
                with torch.no_grad(), torch.autocast("cuda", torch.float16):
                    model(**batch(2 * BATCH)).logits.argmax(-1).cpu()
            waited()
