# SPDX-License-Identifier: Apache-2.0
"""BERT for classification, transformers' Trainer, an evaluation with a larger batch each epoch, variable lengths."""

import torch
from common import BATCH, Texts
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments


def collate(examples):
    width = max(len(one["input_ids"]) for one in examples)
    ids = torch.tensor([one["input_ids"] + [0] * (width - len(one["input_ids"])) for one in examples])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.zeros(len(examples), dtype=torch.long)}


model = BertForSequenceClassification(BertConfig(num_hidden_layers=6, hidden_size=384, num_attention_heads=6, intermediate_size=1536,
                                                 vocab_size=8000))
arguments = TrainingArguments(output_dir="unused", per_device_train_batch_size=BATCH, per_device_eval_batch_size=16,
                              eval_strategy="epoch", num_train_epochs=1, report_to="none", save_strategy="no")
Trainer(model=model, args=arguments, train_dataset=Texts(60, 64, 320), eval_dataset=Texts(32, 64, 256), data_collator=collate).train()
