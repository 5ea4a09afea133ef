# SPDX-License-Identifier: Apache-2.0
"""A vision transformer, a plain loop with an evaluation after each epoch."""

import torch
from common import BATCH, Images
from transformers import ViTConfig, ViTForImageClassification

with torch.device("cuda"):
    model = ViTForImageClassification(ViTConfig(num_hidden_layers=6, hidden_size=384, num_attention_heads=6, intermediate_size=1536,
                                                image_size=160, num_labels=10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
train = torch.utils.data.DataLoader(Images(48, 160), batch_size=BATCH, shuffle=True)
test = torch.utils.data.DataLoader(Images(32, 160), batch_size=2 * BATCH)
for _ in range(2):
    model.train()
    for images, labels in train:
        with torch.autocast("cuda", torch.bfloat16):
            loss = model(pixel_values=images.to("cuda"), labels=labels.to("cuda")).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    model.eval()
    with torch.no_grad():
        for images, _ in test:
            model(pixel_values=images.to("cuda"))
