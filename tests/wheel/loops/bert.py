# SPDX-License-Identifier: Apache-2.0
"""BERT base, sentence classification in fp16 with a gradient scaler; an evaluation phase with a larger batch every few steps."""

import random

import torch
from transformers import BertConfig, BertForSequenceClassification

STEPS, BATCH, EVAL_EVERY, EVAL_BATCH, EVAL_BATCHES, LONGEST = 12, 32, 4, 128, 3, 512


def batch(lengths, size):
    width = max(lengths.randint(32, LONGEST) for _ in range(size))
    ids = torch.randint(0, 30000, (size, width)).to("cuda")
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.zeros(size, dtype=torch.long).to("cuda")}


@torch.no_grad()
def evaluate(model, lengths):
    model.eval()
    predictions = []
    for _ in range(EVAL_BATCHES):
        with torch.autocast("cuda", torch.float16):
            predictions.append(model(**batch(lengths, EVAL_BATCH)).logits.float())
    model.train()
    return torch.cat(predictions).argmax(-1).cpu()


def main():
    lengths = random.Random(4)
    with torch.device("cuda"):
        model = BertForSequenceClassification(BertConfig())
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-5)
    scaler = torch.amp.GradScaler("cuda")
    for step in range(1, STEPS + 1):
        with torch.autocast("cuda", torch.float16):
            loss = model(**batch(lengths, BATCH)).loss
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        print("loss", loss.item())
        if step % EVAL_EVERY == 0:
            print("evaluated", len(evaluate(model, lengths)))


if __name__ == "__main__":
    main()
