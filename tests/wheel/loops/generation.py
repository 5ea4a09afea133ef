# SPDX-License-Identifier: Apache-2.0
"""Text generation, token by token, with a key-value cache that grows: requests of varying batch and prompt length."""

import random

import torch
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

REQUESTS, NEW_TOKENS = 5, 16


@torch.no_grad()
def generate(model, prompt, new_tokens):
    cache = DynamicCache(config=model.config)
    token = prompt
    for _ in range(new_tokens):
        logits = model(input_ids=token, past_key_values=cache, use_cache=True).logits[:, -1]
        token = logits.float().softmax(-1).argmax(-1, keepdim=True)
    return cache.get_seq_length()


def main():
    requests = random.Random(6)
    config = LlamaConfig(
        num_hidden_layers=16,
        hidden_size=2048,
        intermediate_size=5632,
        num_attention_heads=16,
        num_key_value_heads=4,
        vocab_size=32000,
    )
    with torch.device("cuda"):
        model = LlamaForCausalLM._from_config(config, dtype=torch.bfloat16)
    model.eval()
    for _ in range(REQUESTS):
        batch, length = requests.randint(1, 16), requests.randint(32, 1024)
        prompt = torch.randint(0, 32000, (batch, length)).to("cuda")
        print("batch", batch, "prompt", length, "cache", generate(model, prompt, NEW_TOKENS))


if __name__ == "__main__":
    main()
