# SPDX-License-Identifier: Apache-2.0
"""T5, a plain loop with a loader and accumulation, Adafactor."""

import torch
from common import BATCH, Texts, collate
from transformers import Adafactor, T5Config, T5ForConditionalGeneration

with torch.device("cuda"):
    model = T5ForConditionalGeneration(T5Config(d_model=384, d_ff=1024, num_layers=4, num_heads=6, vocab_size=8000,
                                                  decoder_start_token_id=0))
model.train()
optimizer = Adafactor(model.parameters(), lr=1e-3, relative_step=False, scale_parameter=False)
loader = torch.utils.data.DataLoader(Texts(72, 256, 256), batch_size=BATCH, collate_fn=collate)
for number, batch in enumerate(loader, 1):
    ids = batch["input_ids"].to("cuda")
    (model(input_ids=ids, labels=ids[:, :64].contiguous()).loss / 2).backward()
    if number % 2 == 0:
        optimizer.step()
        optimizer.zero_grad()
