# SPDX-License-Identifier: Apache-2.0
"""Llama, LoRA, transformers' Trainer with accumulation."""

from common import BATCH, Texts, collate
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

config = LlamaConfig(num_hidden_layers=6, hidden_size=512, intermediate_size=1408, num_attention_heads=8, num_key_value_heads=4,
                     vocab_size=8000, use_cache=False)
model = get_peft_model(LlamaForCausalLM(config), LoraConfig(r=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
arguments = TrainingArguments(output_dir="unused", per_device_train_batch_size=BATCH, gradient_accumulation_steps=2, bf16=True,
                              num_train_epochs=1, report_to="none", save_strategy="no")
Trainer(model=model, args=arguments, train_dataset=Texts(80, 200, 200), data_collator=collate).train()
