# SPDX-License-Identifier: Apache-2.0
"""Llama-style model, full fine-tune in bf16: accumulation over micro-batches of varying length, clipping, fused AdamW."""

import random

import torch
from transformers import LlamaConfig, LlamaForCausalLM

STEPS, ACCUMULATE, BATCH, LONGEST = 6, 2, 4, 2048


def main():
    lengths = random.Random(2)
    config = LlamaConfig(
        num_hidden_layers=12,
        hidden_size=1024,
        intermediate_size=2816,
        num_attention_heads=16,
        num_key_value_heads=8,
        vocab_size=32000,
        use_cache=False,
    )
    with torch.device("cuda"):
        model = LlamaForCausalLM._from_config(config, dtype=torch.bfloat16)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5, fused=True)
    for _ in range(STEPS):
        for _ in range(ACCUMULATE):
            width = max(lengths.randint(64, LONGEST) for _ in range(BATCH))
            ids = torch.randint(0, 32000, (BATCH, width)).to("cuda")
            loss = model(input_ids=ids, labels=ids).loss / ACCUMULATE
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        print("loss", loss.item() * ACCUMULATE, "width", width)


if __name__ == "__main__":
    main()
