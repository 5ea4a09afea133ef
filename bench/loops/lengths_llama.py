# SPDX-License-Identifier: Apache-2.0
"""Llama of 6 layers of 1024 in bfloat16 with gradient checkpointing, 2 micro-batches of 4 sequences of 128..1024 tokens a step,
gradient clipping, fused AdamW"""

import random

import torch
from transformers import LlamaConfig, LlamaForCausalLM

STEPS, ACCUMULATE, BATCH, SHORTEST, LONGEST, VOCABULARY = 12, 2, 4, 128, 1024, 16000
# How rows get their length.
VARIANTS = {"fixed": lambda longest: LONGEST, "multiple": lambda longest: -(-longest // 64) * 64, "longest": lambda longest: longest}


def run(step, waited, variant):
    draw = random.Random(6)
    config = LlamaConfig(num_hidden_layers=6, hidden_size=1024, intermediate_size=2816, num_attention_heads=16, num_key_value_heads=4,
                         vocab_size=VOCABULARY)
    with torch.device("cuda"):
        model = LlamaForCausalLM._from_config(config, dtype=torch.bfloat16)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5, fused=True)
    for _ in range(STEPS):
        step()
        for _ in range(ACCUMULATE):
            longest = max(draw.randint(SHORTEST, LONGEST) for _ in range(2))
            ids = torch.randint(0, VOCABULARY, (BATCH, VARIANTS[variant](longest))).to("cuda")
            loss = model(input_ids=ids, labels=ids, use_cache=False).loss / ACCUMULATE
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()
        waited()
