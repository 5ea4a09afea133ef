# SPDX-License-Identifier: Apache-2.0
"""Llama-style model with frozen bf16 weights, LoRA adapters of peft on every projection, gradient checkpointing."""

import random

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

STEPS, BATCH, LONGEST = 6, 2, 4096
PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def main():
    lengths = random.Random(3)
    config = LlamaConfig(
        num_hidden_layers=16,
        hidden_size=2048,
        intermediate_size=5632,
        num_attention_heads=16,
        num_key_value_heads=4,
        vocab_size=32000,
        use_cache=False,
    )
    with torch.device("cuda"):
        base = LlamaForCausalLM._from_config(config, dtype=torch.bfloat16)
    base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    base.enable_input_require_grads()
    adapters = LoraConfig(r=16, lora_alpha=32, lora_dropout=0.05, target_modules=PROJECTIONS, task_type="CAUSAL_LM")
    model = get_peft_model(base, adapters)
    model.print_trainable_parameters()
    model.train()
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=1e-4)
    for _ in range(STEPS):
        width = max(lengths.randint(256, LONGEST) for _ in range(BATCH))
        ids = torch.randint(0, 32000, (BATCH, width)).to("cuda")
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        print("loss", loss.item(), "width", width)


if __name__ == "__main__":
    main()
