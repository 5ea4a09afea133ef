# SPDX-License-Identifier: Apache-2.0
"""Llama, full fine-tune with gradient checkpointing, accelerate."""

import torch
from accelerate import Accelerator
from common import BATCH, Texts, collate
from transformers import LlamaConfig, LlamaForCausalLM

accelerator = Accelerator()
config = LlamaConfig(num_hidden_layers=8, hidden_size=512, intermediate_size=1408, num_attention_heads=8, num_key_value_heads=4,
                     vocab_size=8000, use_cache=False)
model = LlamaForCausalLM(config)
model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
model.train()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
loader = torch.utils.data.DataLoader(Texts(64, 384, 384), batch_size=BATCH, shuffle=True, collate_fn=collate)
model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
for batch in loader:
    loss = model(**batch).loss
    accelerator.backward(loss)
    optimizer.step()
    optimizer.zero_grad()
