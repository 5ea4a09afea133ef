# SPDX-License-Identifier: Apache-2.0
"""A trainer's batch in pieces, and all batches of the optimizer's step again when one does not fit: what the adapters share."""

import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch

from . import _device, _oom_errors, _oom_moment, _oom_page
from ._evaluation import ElasticEvaluation
from ._rewind import Buffers, Rewind
from ._sizing import Sizing, even, own_label


class NotCut(Exception):
    """Raised by `weight` of pieces(): how the losses of parts make that of the batch is not known. Its text says why."""


class Adapter:
    """What a trainer's attribute `gapless` tells, and where the parts of an adapter are."""

    _redone: "Redone | None" = None
    _evaluation: ElasticEvaluation | None = None
    _failed_before = 0  # with models before this one

    @property
    def failures(self) -> int:
        return self._failed_before + (self._redone.failures if self._redone is not None else 0)

    def _train(self, model: torch.nn.Module, device: torch.device, folder: str | os.PathLike, *kept) -> "Redone":
        """The batches of this model. A search over hyperparameters makes one for each trial."""
        if self._redone is None or self._redone.model is not model:
            self._failed_before = self.failures
            if self._redone is not None:
                self._forget()
            self._redone = Redone(model, device, folder, *kept)
        return self._redone

    def _forget(self) -> None:
        """What was measured of the model before."""

    def ooms(self) -> int:
        """How often the allocator was out of memory."""
        return self._redone.ooms() if self._redone is not None else 0

    @property
    def evaluation_failures(self) -> int:
        return self._evaluation.failures if self._evaluation is not None else 0

    def _in_evaluation_pieces(self, function: Callable[[Any], Any], batch: Any, device: torch.device) -> list[tuple[int, Any]]:
        if self._evaluation is None:
            self._evaluation = ElasticEvaluation(device=device)
        return self._evaluation.run(function, batch)


class Redone:
    """The batches between two steps of the optimizer. `kept`: what an attempt changes besides gradients, random numbers and the
    model's buffers; with keep() and put_back()."""

    def __init__(self, model: torch.nn.Module, device: torch.device, folder: str | os.PathLike, *kept) -> None:
        self._sizing = Sizing(_device.behind(device), own_label("train"))
        self.model, self._device, self._folder = model, device, folder
        self._kept = (Buffers(model), *kept)
        self._rewind: Rewind | None = None
        self._window: tuple[object, int] | None = None
        self._done: list = []
        self._gradients = False  # of this step, so far
        self._micro, self._per_sample, self._why = 0, 1.0, ""
        self._lines = _oom_moment.Lines()
        _oom_moment.watch(self._sizing.device)
        self.failures = 0

    def begin(self, owner: object, number: int) -> None:
        """A batch of the optimizer's step `number` of `owner` begins."""
        if self._window is None or self._window[0] is not owner or self._window[1] != number:
            self._window = (owner, number)
            self._rewind = Rewind(self._device, *self._kept)
            self._done.clear()
            self._gradients = False

    def run(self, batch: Any, step: Callable[[Any, float | None], Any], optimizers: Callable[[], list]) -> Any:
        """What step(batch, most) returns; after an OOM the step's batches so far are done again, in smaller pieces. `most`: the
        units that the last failure left hope for. `optimizers`: for the report, where nothing is left to try."""
        try:
            return self._until_it_fits(batch, step, optimizers)
        finally:
            self._lines.off()

    def _until_it_fits(self, batch, step, optimizers):
        most = None
        while True:
            sequence = self.ooms()
            error = None
            try:
                if most is not None:
                    for earlier in self._done:
                        step(earlier, most)
                result = step(batch, most)
                self._done.append(batch)
                # What follows is the optimizer's: it does not depend on the batch.
                self._sizing.device.mark_step("optimizer", 0)
                self._sizing.device.mark_phase("optimizer")
                return result
            except Exception as raised:
                if not _oom_errors.is_oom(raised, self.ooms() > sequence):
                    raise
                record = self._sizing.device.last_oom()
                if record is not None and record["sequence"] <= sequence:
                    record = None
                if self._micro <= 1:
                    raised.add_note(f"gapless: the batch was not cut into pieces: {self._why}" if self._why else
                                    "gapless: not even one sample fits")
                    self._report(raised, record, optimizers())
                    raise
                error = raised
            _oom_errors.let_go(error)
            # Should it fail again, the page can say which line holds what.
            self._lines.on(self._sizing.device)
            self.failures += 1
            self.model.zero_grad(set_to_none=True)
            self._gradients = False
            self._rewind.restore()
            # Gradients were live when the attempt began, and are not now: whatever is left may be held by cycles.
            _oom_errors.settle(self._device, 0, record is not None)
            most = max(1, round(self._sizing.failed(self._micro, self._per_sample, record) * self._per_sample))

    def whole(self, units: int, why: str) -> None:
        """Marks a batch that cannot be cut."""
        self._micro, self._why = 0, why
        self._sizing.device.mark_step(self._label(), units)
        self._gradients = True

    def pieces(self, batch: Any, samples: int, units: int, most: float | None, *, split: Callable[[Any, int, int], Any],
               weight: Callable[[Any], float | None]) -> Iterator[tuple[Any, float | None]]:
        """(piece, share) one after the other, each marked. share: what the piece's loss counts in the batch's; None: as it is.
        `weight`: what the loss is a mean over, asked only of batches that are cut; None: the losses of pieces add up."""
        self._per_sample, self._why = units / samples, ""
        per_sample = self._per_sample
        device = self._sizing.device
        size = self._sizing.begin(samples, per_sample, self._label())
        if most is not None:
            size = max(1, min(size, int(most / per_sample)))
        done, whole = 0, 0.0
        while done < samples:
            count = even(samples - done, size)
            if done > 0:
                size = self._sizing.begin(count, per_sample, self._label())
                count = even(samples - done, size)
            self._micro = count
            if count == samples:
                device.mark_step(self._label(), round(count * per_sample))
                yield batch, None
                self._gradients = True
                return
            if done == 0:
                whole = weight(batch)
            piece = split(batch, done, done + count)
            done += count
            share = None
            if whole is not None:
                share = weight(piece) / whole if whole else 0.0
                if share == 0.0 and (whole or done < samples):
                    # Nothing of it counts, and a mean over nothing is no number.
                    continue
            device.mark_step(self._label(), round(count * per_sample))
            yield piece, share
            self._gradients = True

    def phase(self, name: str) -> None:
        self._sizing.device.mark_phase(name)

    def aside(self) -> None:
        """What follows is no part of a step."""
        self._sizing.device.mark_step("aside", 0)

    def _label(self) -> str:
        return self._sizing.label + ("+" if self._gradients else "")

    def ooms(self) -> int:
        record = self._sizing.device.last_oom()
        return record["sequence"] if record else 0

    def _report(self, error: BaseException, record: dict | None, optimizers: list) -> None:
        if record is None:
            return
        moment = _oom_moment.capture(error, record, self.model, optimizers)
        text, path = _oom_page.write(record, self._folder, moment=moment, model=self.model, optimizers=optimizers)
        print(text, file=sys.stderr, end="", flush=True)
        error.add_note(f"gapless: report: {path}")
