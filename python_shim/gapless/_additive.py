# SPDX-License-Identifier: Apache-2.0
"""Whether the loss of a batch is made of the losses of its samples. Contrastive losses, for instance, are not: they compare samples."""

import contextlib
import math
from collections.abc import Callable, Sequence

import torch

from . import _oom_errors
from ._classes import Classes, tells
from ._pieces import NotCut

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


def measure(loss_of: Callable, model: torch.nn.Module, rewind, batch, first: int, last: int, split: Callable,
            counted: Callable[[], int]) -> tuple[float, list[float]] | None:
    """The loss of samples `first` to `last` together, and of each alone; of fewer where not so many fit, and None where not even two
    do. What loss_of changes is put back. `counted`: how often the allocator was out of memory."""
    while last - first > 1:
        before, error = counted(), None
        try:
            with evaluating(model):
                return loss_of(split(batch, first, last)), [loss_of(split(batch, one, one + 1)) for one in range(first, last)]
        except Exception as raised:
            if not _oom_errors.is_oom(raised, counted() > before):
                raise
            error = raised
        finally:
            rewind.restore()
        _oom_errors.let_go(error)
        last = first + (last - first) // 2
    return None


# Neighbours of different classes that are measured of one batch before it is said that nothing can be told.
_TRIES = 4


def compare_classes(known: Classes, batch, samples: int, weights: Sequence[float],
                    losses_of: Callable[[int, int], tuple[float, list[float]] | None]) -> None:
    """Raises NotCut unless samples of all classes of the batch were measured to count by `weights` alone. losses_of(first, last): as
    measure()."""
    labels = known.labels(batch, samples)
    tries = 0
    while apart := [i for i in known.apart(labels) if weights[i] and weights[i + 1]]:
        if tries == _TRIES or tries >= len(apart):
            raise NotCut("whether its loss weighs samples by their class cannot be told from this batch")
        first = last = apart[tries]
        while last < samples and last - first < MOST and weights[last]:
            last += 1
        found = losses_of(first, last)
        if found is None or not all(map(math.isfinite, (found[0], *found[1]))):
            return  # nothing is found out now
        together, alone = found
        told = tells(together, alone, weights[first:first + len(alone)])
        if told is False:
            raise NotCut("its loss is not the mean of its samples' losses: does it weigh them by their class?")
        if told:
            known.weigh_alike(labels, first, first + len(alone))
        tries += 0 if told else 1
