# SPDX-License-Identifier: Apache-2.0
"""ResNet-26 of transformers on images of 48..96 pixels whose size changes from batch to batch, batch 64, bfloat16 autocast,
SGD with momentum"""

import random

import torch
from transformers import ResNetConfig, ResNetForImageClassification

STEPS, BATCH, SIDES = 16, 64, (48, 64, 72, 80, 96)


def run(step, waited):
    sizes = random.Random(12)
    config = ResNetConfig(num_labels=100, depths=[2, 2, 2, 2], hidden_sizes=[128, 256, 512, 1024])
    with torch.device("cuda"):
        model = ResNetForImageClassification(config)
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    for _ in range(STEPS):
        step()
        height, width = sizes.choice(SIDES), sizes.choice(SIDES)
        images = torch.zeros(BATCH, 3, height, width).to("cuda")
        labels = torch.zeros(BATCH, dtype=torch.long).to("cuda")
        with torch.autocast("cuda", torch.bfloat16):
            loss = model(pixel_values=images, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()
        waited()
