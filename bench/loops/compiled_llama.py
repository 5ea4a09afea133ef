# SPDX-License-Identifier: Apache-2.0
"""Llama of 6 layers of 768 in bfloat16, compiled by torch.compile, batch 16 of 512 tokens, AdamW"""

import torch
from transformers import LlamaConfig, LlamaForCausalLM

STEPS, BATCH, LENGTH, VOCABULARY = 16, 16, 512, 16000


def run(step, waited):
    config = LlamaConfig(num_hidden_layers=6, hidden_size=768, intermediate_size=2048, num_attention_heads=12, num_key_value_heads=4,
                         vocab_size=VOCABULARY)
    with torch.device("cuda"):
        model = LlamaForCausalLM._from_config(config, dtype=torch.bfloat16)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5)
    compiled = torch.compile(model)
    for _ in range(STEPS):
        step()
        ids = torch.randint(0, VOCABULARY, (BATCH, LENGTH)).to("cuda")
        loss = compiled(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        waited()
