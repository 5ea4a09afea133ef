# SPDX-License-Identifier: Apache-2.0
"""A UNet on images in fp16 with a gradient scaler: convolutions, their workspaces, skip connections."""

import torch
from common import BATCH, Images
from torch import nn


def block(inputs, outputs):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.GroupNorm(8, outputs), nn.SiLU(),
                         nn.Conv2d(outputs, outputs, 3, padding=1), nn.GroupNorm(8, outputs), nn.SiLU())


class UNet(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.down = nn.ModuleList([block(3, width), block(width, 2 * width), block(2 * width, 4 * width)])
        self.middle = block(4 * width, 4 * width)
        self.up = nn.ModuleList([block(8 * width, 2 * width), block(4 * width, width), block(2 * width, width)])
        self.head = nn.Conv2d(width, 3, 1)

    def forward(self, x):
        kept = []
        for one in self.down:
            x = one(x)
            kept.append(x)
            x = nn.functional.avg_pool2d(x, 2)
        x = self.middle(x)
        for one in self.up:
            x = nn.functional.interpolate(x, scale_factor=2)
            x = one(torch.cat([x, kept.pop()], 1))
        return self.head(x)


model = UNet().to("cuda").train()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
scaler = torch.amp.GradScaler("cuda")
for images, _ in torch.utils.data.DataLoader(Images(48, 128), batch_size=BATCH):
    images = images.to("cuda")
    with torch.autocast("cuda", torch.float16):
        loss = (model(images) - images).pow(2).mean()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad(set_to_none=True)
