# SPDX-License-Identifier: Apache-2.0
"""Two streams: the next batch is copied from pinned memory on a side stream while the model trains on this one. A batch is made
on one stream and last used on the other, so record_stream keeps its memory from being handed out too early."""

import random

import torch
from torch import nn

STEPS, BATCH, WIDTH, DEPTH = 16, 64, 2048, 8


class Prefetcher:
    def __init__(self, sizes):
        self.sizes = sizes
        self.stream = torch.cuda.Stream()
        self.next = None
        self.load()

    def load(self):
        host = torch.zeros(BATCH, self.sizes.randint(16, 512), WIDTH).pin_memory()
        with torch.cuda.stream(self.stream):
            # The scaled copy is made on the side stream, its source dies there.
            self.next = host.to("cuda", non_blocking=True).mul(0.5)

    def get(self):
        torch.cuda.current_stream().wait_stream(self.stream)
        batch = self.next
        batch.record_stream(torch.cuda.current_stream())
        self.load()
        return batch


def main():
    blocks = (nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), nn.GELU()) for _ in range(DEPTH))
    model = nn.Sequential(*blocks).to("cuda")
    optimizer = torch.optim.AdamW(model.parameters())
    prefetcher = Prefetcher(random.Random(7))
    for _ in range(STEPS):
        batch = prefetcher.get()
        with torch.autocast("cuda", torch.bfloat16):
            loss = model(batch).float().square().mean()
        length = batch.shape[1]
        del batch
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        print("loss", loss.item(), "length", length)


if __name__ == "__main__":
    main()
