# SPDX-License-Identifier: Apache-2.0
"""Whether the loss of a batch is made of the losses of its samples. Contrastive losses, for instance, are not: they compare samples."""

import contextlib
import math
from collections.abc import Callable, Sequence

import torch

# Samples that are measured one by one and together.
MOST = 4
# Of the largest loss; bf16 rounds to 0.4 %.
_CLOSE = 0.01


@contextlib.contextmanager
def evaluating(model: torch.nn.Module):
    """Without dropout, which would differ between a sample alone and in a batch, and without gradients."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True


def window(weights: Sequence[float]) -> tuple[int, int]:
    """Neighbours to be measured, [first, last): those whose weights differ most, none of weight 0. Fewer than two: there are none."""
    best, found = (0.0, 0), (0, 0)
    for first in range(len(weights)):
        last = first
        while last < len(weights) and last - first < MOST and weights[last]:
            last += 1
            score = max(weights[first:last]) / min(weights[first:last]), last - first
            if last - first > 1 and score > best:
                best, found = score, (first, last)
    return found


def is_mean(together: float, alone: Sequence[float], weights: Sequence[float]) -> bool | None:
    """Whether `together` is the mean of `alone` by weight. None: nothing can be told (a loss that is no number)."""
    away = _away(together, alone, weights)
    return None if away is None else away <= _CLOSE


def is_sum(together: float, alone: Sequence[float]) -> bool:
    away = _away(together, alone, None)
    return away is not None and away <= _CLOSE


def fitting(together: float, alone: Sequence[float], rows: Sequence[Sequence[float]]) -> list[int] | None:
    """Which of several weights make a mean of it: one, or several that are the same here. None: nothing can be told, or two that
    are not the same fit almost alike."""
    away = [_away(together, alone, row) if all(row) else math.inf for row in rows]
    if None in away:
        return None
    best = min(range(len(rows)), key=away.__getitem__)
    if away[best] > _CLOSE:
        return []
    same = [i for i, row in enumerate(rows) if alike(row, rows[best])]
    if any(away[i] < 4 * away[best] + 1e-5 for i in range(len(rows)) if i not in same):
        return None
    return same


def alike(row: Sequence[float], other: Sequence[float]) -> bool:
    """Whether two weights are the same but for their scale."""
    return all(a * other[0] == b * row[0] for a, b in zip(row, other, strict=True))


def _away(together: float, alone: Sequence[float], weights: Sequence[float] | None) -> float | None:
    if not all(map(math.isfinite, (together, *alone))):
        return None
    parts = alone if weights is None else [loss * weight / sum(weights) for loss, weight in zip(alone, weights, strict=True)]
    largest = max(abs(together), *map(abs, alone))
    return abs(together - sum(parts)) / largest if largest else 0.0


def measure(loss_of: Callable, model: torch.nn.Module, rewind, batch, first: int, last: int,
            split: Callable) -> tuple[float, list[float]] | None:
    """The loss of samples `first` to `last` together, and of each alone; of fewer where not so many fit, and None where not even two
    do. What loss_of changes is put back."""
    while last - first > 1:
        try:
            with evaluating(model):
                return loss_of(split(batch, first, last)), [loss_of(split(batch, one, one + 1)) for one in range(first, last)]
        except torch.OutOfMemoryError:
            last = first + (last - first) // 2
        finally:
            rewind.restore()
    return None
