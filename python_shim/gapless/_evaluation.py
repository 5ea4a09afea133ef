# SPDX-License-Identifier: Apache-2.0
"""Evaluation in pieces that fit. Its size is its own: what runs out of memory here never changes training."""

import sys
from collections.abc import Callable
from typing import Any

import torch

from . import _batches, _device, _oom_errors
from ._oom_page import gib
from ._rewind import Rewind
from ._sizing import Sizing, even, own_label


class ElasticEvaluation:
    """See :func:`elastic_evaluation`."""

    def __init__(self, function=None, *, device, split=None, samples=None, units=None, label=None) -> None:
        self._function, self._device = function, torch.device(device)
        self._split, self._samples = split or _batches.split, samples or _batches.samples
        self._units, self._label = units or _batches.units, label or own_label("eval")
        self._sizing: Sizing | None = None
        self.failures = 0

    def __call__(self, batch: Any) -> list[tuple[int, Any]]:
        """(samples, result) of each piece, in the order of the batch. A piece that is done is never done again."""
        return self.run(self._function, batch)

    def run(self, function: Callable[[Any], Any], batch: Any) -> list[tuple[int, Any]]:
        """The same, of another function for each batch: what the adapters of trainers have."""
        if self._sizing is None:
            self._sizing = Sizing(_device.behind(self._device), self._label)
        sizing, samples = self._sizing, self._samples(batch)
        if samples == 0:
            return [(0, function(batch))]
        per_sample = self._units(batch) / samples
        results: list[tuple[int, Any]] = []
        done = 0
        size = sizing.begin(samples, per_sample)
        while done < samples:
            count = even(samples - done, size)
            sizing.device.mark_step(self._label, round(count * per_sample))
            before = sizing.device.last_oom()
            sequence = before["sequence"] if before else 0
            live = _oom_errors.live(self._device)
            rewind = Rewind(self._device)
            error = None
            try:
                piece = batch if count == samples else self._split(batch, done, done + count)
                results.append((count, function(piece)))
                done += count
                continue
            except Exception as raised:
                record = sizing.device.last_oom()
                fresh = record is not None and record["sequence"] > sequence
                if count <= 1 or not _oom_errors.is_oom(raised, fresh):
                    raise
                error = raised
            piece = None
            _oom_errors.let_go(error)
            error = None
            # What training draws next must not depend on it.
            rewind.restore()
            _oom_errors.settle(self._device, live, fresh)
            self.failures += 1
            size = sizing.failed(count, per_sample, record if fresh else None)
            self._explain(count, size, record if fresh else None)
        sizing.worked(size, per_sample)
        return results

    def _explain(self, count: int, size: int, record: dict | None) -> None:
        """Batches of evaluation are mostly larger than those of training, for no reason that anybody chose: what that costs here."""
        cost = ""
        if record is not None:
            live = record["live_bytes"]
            cost = f", which needs more than {gib(live + record['rounded_bytes'])} where {gib(live + record['largest_obtainable_bytes'])} can be had"
        print(f"gapless: evaluation ran out of memory at {count} samples{cost}; it goes on with {size} at once. A batch size of that for "
              "evaluation avoids the attempt; training is not changed.", file=sys.stderr, flush=True)


def elastic_evaluation(function: Callable[[Any], Any], *, device, split: Callable[[Any, int, int], Any] | None = None,
                       samples: Callable[[Any], int] | None = None, units: Callable[[Any], int] | None = None) -> ElasticEvaluation:
    """Makes an evaluation step of `function`, which sees (a part of) a batch; nothing of it may carry over from call to call.

    >>> evaluate = gapless.elastic_evaluation(lambda batch: model(**batch).logits.float().cpu(), device="cuda")
    >>> logits = torch.cat([result for _, result in evaluate(batch)])

    Parameters as for gapless.elastic. Where a single sample does not fit, the OOM is raised.
    """
    return ElasticEvaluation(function, device=device, split=split, samples=samples, units=units)
