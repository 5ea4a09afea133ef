# SPDX-License-Identifier: Apache-2.0
"""Data sets of the scripts. FIT_BATCH is the micro-batch, so that a test can run them as a user would with another one."""

import os

import torch

BATCH = int(os.environ.get("FIT_BATCH", "4"))


class Texts(torch.utils.data.Dataset):
    """`count` texts of `least` to `most` tokens, the longest of them late."""

    def __init__(self, count, least, most, vocabulary=8000):
        self.lengths = [least + (7 * index) % max(1, (most - least) * 3 // 4 + 1) for index in range(count)]
        self.lengths[count * 4 // 5] = most
        self.vocabulary = vocabulary

    def __len__(self):
        return len(self.lengths)

    def __getitem__(self, index):
        ids = [(index + token) % self.vocabulary for token in range(self.lengths[index])]
        return {"input_ids": ids, "labels": list(ids)}


def collate(examples):
    width = max(len(one["input_ids"]) for one in examples)
    return {key: torch.tensor([one[key] + [0] * (width - len(one[key])) for one in examples]) for key in examples[0]}


class Images(torch.utils.data.Dataset):
    """Images of one size with a class each."""

    def __init__(self, count, side):
        self.count, self.side = count, side

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return torch.zeros(3, self.side, self.side), index % 10
