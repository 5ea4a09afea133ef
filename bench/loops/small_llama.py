# SPDX-License-Identifier: Apache-2.0
"""Llama of 8 layers of 512 in bfloat16, 2 micro-batches of 2 sequences of 64..512 tokens a step, gradient clipping, fused AdamW;
every 4 steps 16 tokens are generated with a growing cache"""

import random

import torch
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

STEPS, ACCUMULATE, BATCH, LONGEST, GENERATE_EVERY, NEW_TOKENS = 10, 2, 2, 512, 4, 16


@torch.no_grad()
def generate(model):
    cache = DynamicCache(config=model.config)
    token = torch.randint(0, 16000, (4, 96)).to("cuda")
    for _ in range(NEW_TOKENS):
        logits = model(input_ids=token, past_key_values=cache, use_cache=True).logits[:, -1]
        token = logits.float().softmax(-1).argmax(-1, keepdim=True)


def run(step, waited):
    lengths = random.Random(13)
    config = LlamaConfig(
        num_hidden_layers=8,
        hidden_size=512,
        intermediate_size=1408,
        num_attention_heads=8,
        num_key_value_heads=4,
        vocab_size=16000,
    )
    with torch.device("cuda"):
        model = LlamaForCausalLM._from_config(config, dtype=torch.bfloat16)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5, fused=True)
    for number in range(1, STEPS + 1):
        step()
        model.train()
        for _ in range(ACCUMULATE):
            width = max(lengths.randint(64, LONGEST) for _ in range(BATCH))
            ids = torch.randint(0, 16000, (BATCH, width)).to("cuda")
            loss = model(input_ids=ids, labels=ids, use_cache=False).loss / ACCUMULATE
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()
        waited()
        if number % GENERATE_EVERY == 0:
            model.eval()
            generate(model)
            waited()
