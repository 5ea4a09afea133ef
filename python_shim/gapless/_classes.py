# SPDX-License-Identifier: Apache-2.0
"""Whether a loss weighs samples by their class. One that does is a mean over weights that nobody names; between samples of one class
it looks like a mean over samples."""

from collections.abc import Sequence

import torch

from . import _batches

# Of this many values and more it is a number of something, not a class.
_MOST = 4096
# Of what the losses of samples differ by: weights of 9 to 8 move the mean of two samples by so much.
_TELLING = 0.03
# transformers' and PyTorch's label of what does not count.
_IGNORED = -100


class Classes:
    """Which values of integers that a batch has one a sample of (labels) were measured to weigh alike."""

    def __init__(self) -> None:
        self._above: dict[tuple[int, int], tuple[int, int]] = {}  # of (tensor, value): one that weighs alike; a forest
        self._numbers: set[int] = set()  # tensors that have too many values

    def labels(self, batch, samples: int) -> list[list[tuple[int, int]]]:
        """Of each such tensor of the batch, what its samples have. Waits for the device."""
        whole = [one for one in _batches.tensors(batch)
                 if one.dim() == 1 and len(one) == samples and not one.is_floating_point() and not one.is_complex()]
        return [[(k, value) for value in one.tolist()] for k, one in enumerate(whole)]

    def apart(self, labels: Sequence[Sequence[tuple[int, int]]]) -> list[int]:
        """The neighbours, first of two, that are not known to weigh alike."""
        return [i for row in labels for i, (one, other) in enumerate(zip(row, row[1:], strict=False))
                if one[0] not in self._numbers and _IGNORED not in (one[1], other[1]) and self._root(one) != self._root(other)]

    def weigh_alike(self, labels: Sequence[Sequence[tuple[int, int]]], first: int, last: int) -> None:
        """Samples `first` to `last` do."""
        for row in labels:
            for value in row[first + 1:last]:
                self._above[self._root(value)] = self._root(row[first])
            if row and sum(k == row[0][0] for k, _ in self._above) > _MOST:
                self._numbers.add(row[0][0])

    def _root(self, value: tuple[int, int]) -> tuple[int, int]:
        while self._above.get(value, value) != value:
            value = self._above[value]
        return value


def tells(together: float, alone: Sequence[float], weights: Sequence[float]) -> bool | None:
    """Whether the weights are the ones that make `together` of `alone`, so that others would have shown. None: it cannot be told,
    since the samples' losses are too much alike for their precision."""
    away = abs(together - sum(loss * weight for loss, weight in zip(alone, weights, strict=True)) / sum(weights))
    if away <= _TELLING * (max(alone) - min(alone)):
        return True
    # bf16 rounds to 0.4 %.
    return None if away <= 0.01 * max(abs(together), *map(abs, alone)) else False
