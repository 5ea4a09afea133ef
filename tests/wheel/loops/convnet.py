# SPDX-License-Identifier: Apache-2.0
"""ResNet-50 of transformers on images whose size changes from batch to batch: convolutions, batch norm, SGD with momentum."""

import random

import torch
from transformers import ResNetConfig, ResNetForImageClassification

STEPS, BATCH, SIDES = 10, 16, (160, 192, 224, 256, 320)


def main():
    sizes = random.Random(5)
    with torch.device("cuda"):
        model = ResNetForImageClassification(ResNetConfig(num_labels=1000))
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    scaler = torch.amp.GradScaler("cuda")
    for _ in range(STEPS):
        height, width = sizes.choice(SIDES), sizes.choice(SIDES)
        images = torch.zeros(BATCH, 3, height, width).to("cuda")
        labels = torch.zeros(BATCH, dtype=torch.long).to("cuda")
        with torch.autocast("cuda", torch.float16):
            loss = model(pixel_values=images, labels=labels).loss
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        print("loss", loss.item(), "image", height, width)


if __name__ == "__main__":
    main()
