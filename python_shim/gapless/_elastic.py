# SPDX-License-Identifier: Apache-2.0
"""A training step that survives running out of memory: the same batch in smaller pieces, with the same gradients."""

import contextlib
import dataclasses
import os
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from . import _batches, _device, _oom_errors, _oom_moment, _oom_page, _private
from ._rewind import Buffers, Rewind
from ._sizing import Sizing, even, own_label


class BatchDoesNotFit(RuntimeError):
    """One sample alone does not fit, and nothing was given that makes it smaller. The batch was written to `path`."""

    def __init__(self, text: str, path: pathlib.Path | None) -> None:
        super().__init__(text)
        self.path = path


@dataclasses.dataclass
class Counts:
    """What an elastic step has seen: whole steps, attempts that failed, micro-batches of whole steps, batches set aside."""

    steps: int = 0
    failures: int = 0
    micro_batches: int = 0
    set_aside: int = 0


def _ranks() -> int:
    dist = torch.distributed
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def _described(value) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__


class Elastic:
    """See :func:`elastic`."""

    def __init__(self, step_fn, *, optimizer, model=None, split=None, samples=None, units=None, weight=None, scaler=None,
                 before_step=None, reduce=None, on_unfit="stop", folder=".", agreement=None, device=None) -> None:
        if on_unfit not in ("stop", "set_aside"):
            raise ValueError(f"on_unfit is 'stop' or 'set_aside', not {on_unfit!r}")
        self._step_fn, self._optimizer, self._model, self._scaler = step_fn, optimizer, model, scaler
        self._split, self._samples = split or _batches.split, samples or _batches.samples
        self._units, self._weight = units or _batches.units, weight or self._samples
        self._before_step, self._reduce, self._on_unfit = before_step, reduce, on_unfit
        self._folder = pathlib.Path(folder)
        self._agreement = agreement
        self._device = torch.device(device) if device is not None else self._device_of_parameters()
        self._kept = (Buffers(model),) if model is not None else ()
        self._sizing: Sizing | None = None
        self._sequence = 0
        self._micro = 0
        self._moment: dict = {}  # of the last failure
        self._lines = _oom_moment.Lines()
        self.counts = Counts()

    def _device_of_parameters(self) -> torch.device:
        for group in self._optimizer.param_groups:
            for parameter in group["params"]:
                return parameter.device
        raise ValueError("the optimizer has no parameters")

    # ---- one step

    def __call__(self, batch: Any) -> torch.Tensor | None:
        """Trains on the batch: forward, backward and optimizer step. Returns the loss of the whole batch, detached; None when
        it was set aside. The batch may be anything that `split` understands, best on the host: it is kept until the end."""
        sizing = self._start()
        self._optimizer.zero_grad(set_to_none=True)
        rewind = Rewind(self._device, *self._kept)
        while True:
            samples = self._samples(batch)
            if samples == 0:
                raise ValueError("the batch has no samples")
            per_sample = self._units(batch) / samples
            size = sizing.begin(samples, per_sample)
            if self._agreement is not None:
                size = max(1, min(samples, int(self._agreement.least(round(size * per_sample)) / per_sample)))
            try:
                loss, smallest = self._until_it_fits(batch, samples, per_sample, size, sizing, rewind)
            finally:
                self._lines.off()
            if loss is not None:
                break
            # Not one sample fits.
            smaller = self._reduce(batch) if self._reduce is not None else None
            if smaller is None:
                return self._give_up(batch)
            batch = smaller
        sizing.worked(smallest, per_sample)
        self._finish()
        return loss

    def _start(self) -> Sizing:
        if self._sizing is None:
            # Only now has CUDA been started for certain.
            self._sizing = Sizing(_device.behind(self._device), own_label("train"))
            _oom_moment.watch(self._sizing.device)
        return self._sizing

    def _until_it_fits(self, batch, samples, per_sample, size, sizing, rewind):
        """Attempts until one ends. (loss, size), or (None, 1) when a single sample does not fit."""
        while True:
            live = _oom_errors.live(self._device)
            self._sequence = self._oom_sequence(sizing)
            error = None
            try:
                return self._attempt(batch, samples, per_sample, size, sizing), size
            except Exception as raised:
                if not _oom_errors.is_oom(raised, self._oom_sequence(sizing) > self._sequence):
                    raise
                if self._agreement is None and _ranks() > 1:
                    # The others wait in the collectives of this attempt: to begin another would not meet them.
                    raised.add_note("gapless: not done again in smaller pieces: there are several ranks, and no agreement= was given")
                    raise
                record = sizing.device.last_oom()
                if record is not None and record["sequence"] <= self._sequence:
                    record = None
                self._moment = _oom_moment.capture(raised, record, self._model, [self._optimizer])
                error = raised
            # Outside of the except block the frames can be let go, and with them the attempt's tensors.
            _oom_errors.let_go(error)
            self.counts.failures += 1
            # Should it fail again, the page can say which line holds what.
            self._lines.on(sizing.device)
            failed_size = self._micro
            self._undo(rewind, live, record is not None)
            self._tell(error, record, failed_size, samples)
            error = None
            if self._agreement is not None and self._agreement.ranks > 1:
                self._agreement.end_run(round(failed_size * per_sample), record)
            if failed_size <= 1:
                return None, 1
            size = sizing.failed(failed_size, per_sample, record)

    def _attempt(self, batch, samples, per_sample, size, sizing) -> torch.Tensor:
        self._micro = size
        total_weight = self._weight(batch)
        done, pieces = 0, 0
        total: torch.Tensor | None = None
        while done < samples:
            count = even(samples - done, size)
            label = sizing.label + ("+" if pieces > 0 else "")
            # What is left of a batch starts with the gradients of what was done: that may call for smaller pieces.
            if pieces > 0 and self._agreement is None:
                size = sizing.begin(count, per_sample, label)
                count = even(samples - done, size)
            sizing.device.mark_step(label, round(count * per_sample))
            self._micro = count
            last = done + count == samples
            whole = count == samples
            piece = batch if whole else self._split(batch, done, done + count)
            share = 1.0 if whole else self._weight(piece) / total_weight if total_weight else 0.0
            if share == 0.0 and (total_weight or not last):
                # Nothing of it counts, and a mean over nothing is no number.
                done += count
                continue
            if not last and hasattr(self._model, "no_sync"):
                # Pieces that are left out synchronise nothing.
                last = self._weight(self._split(batch, done + count, samples)) == 0
            with self._unsynchronised(not last):
                loss = self._step_fn(piece)
                if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
                    raise TypeError(f"step_fn must return the loss, a tensor of one element, not {_described(loss)}")
                part = loss if whole else loss * share
                sizing.device.mark_phase("backward")
                (self._scaler.scale(part) if self._scaler is not None else part).backward()
            total = part.detach() if total is None else total + part.detach()
            del loss, part, piece
            done += count
            pieces += 1
        self.counts.micro_batches += pieces
        return total

    def _unsynchronised(self, wanted: bool):
        """DDP reduces gradients once a step, with the last micro-batch."""
        if wanted and hasattr(self._model, "no_sync"):
            return self._model.no_sync()
        return contextlib.nullcontext()

    def _finish(self) -> None:
        device = self._sizing.device
        self._sequence = self._oom_sequence(self._sizing)
        device.mark_step("optimizer", 0)
        device.mark_phase("optimizer")
        try:
            if self._before_step is not None:
                if self._scaler is not None:
                    self._scaler.unscale_(self._optimizer)
                self._before_step()
            if self._scaler is not None:
                self._scaler.step(self._optimizer)
                self._scaler.update()
            else:
                self._optimizer.step()
        except torch.OutOfMemoryError as error:
            self._moment = _oom_moment.capture(error, self._sizing.device.last_oom(), self._model, [self._optimizer])
            # Some parameters may have moved already: doing the batch again would count it twice for them.
            error.add_note("gapless: this happened inside the optimizer's step, which is not repeated; the gradients are there. "
                           "Fewer samples would not help: its memory does not depend on the batch.")
            self._report()
            raise
        self._optimizer.zero_grad(set_to_none=True)
        self.counts.steps += 1

    # ---- after a failure

    def _oom_sequence(self, sizing) -> int:
        record = sizing.device.last_oom()
        return record["sequence"] if record is not None else 0

    def _undo(self, rewind: Rewind, live: int, counted: bool) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        if self._model is not None:
            self._model.zero_grad(set_to_none=True)
        rewind.restore()
        _oom_errors.settle(self._device, live, counted)

    def _tell(self, error, record, size, samples) -> None:
        first = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        verdict = f" ({record['verdict']}, phase {record['phase_label'] or 'forward'})" if record else ""
        print(f"gapless: out of memory at a micro-batch of {size} of {samples} samples{verdict}; done again in smaller pieces. "
              f"{first}", file=sys.stderr, flush=True)

    def _report(self) -> None:
        """The whole page, where the run loses something."""
        record = self._sizing.device.last_oom()
        if record is not None and record["sequence"] > self._sequence:
            text, _ = _oom_page.write(record, self._folder, moment=self._moment, model=self._model, optimizers=[self._optimizer])
            print(text, file=sys.stderr, end="", flush=True)

    def _give_up(self, batch) -> None:
        self.counts.set_aside += 1
        self._folder.mkdir(parents=True, exist_ok=True)
        rank = os.environ.get("RANK", "0")
        path = self._folder / f"gapless-set-aside-{rank}-{os.getpid()}-{self.counts.set_aside}.pt"
        with open(path, "wb", opener=_private.opener) as file:
            torch.save({"batch": batch, "steps_before": self.counts.steps, "time": time.time()}, file)
        self._report()
        text = f"gapless: one sample alone does not fit; the batch was written to {path}"
        print(text, file=sys.stderr, flush=True)
        if self._on_unfit == "stop":
            raise BatchDoesNotFit(text, path)


def elastic(step_fn: Callable[[Any], torch.Tensor], *, optimizer: torch.optim.Optimizer, model: torch.nn.Module | None = None,
            split: Callable[[Any, int, int], Any] | None = None, samples: Callable[[Any], int] | None = None,
            units: Callable[[Any], int] | None = None, weight: Callable[[Any], float] | None = None, scaler=None,
            before_step: Callable[[], None] | None = None, reduce: Callable[[Any], Any] | None = None, on_unfit: str = "stop",
            folder: str | os.PathLike = ".", agreement=None, device=None) -> Elastic:
    """Makes a training step of `step_fn`, which computes the mean loss of (a part of) a batch:

    >>> step = gapless.elastic(lambda batch: loss_of(model, batch), optimizer=optimizer, model=model)
    >>> for batch in loader:
    ...     loss = step(batch)

    The call does forward, backward, the optimizer's step and zero_grad. It runs the batch whole when the forecast says that it
    fits, and in micro-batches otherwise; when memory runs out all the same, the attempt is undone (gradients, random numbers,
    buffers) and the batch is done again in smaller pieces. Gradients equal those of the undivided batch; BatchNorm (statistics
    of the micro-batch) and dropout (other masks) are where that cannot hold. Every sample counts exactly once.

    model: for its buffers and, under DistributedDataParallel, to reduce gradients once.
    split(batch, start, stop), samples(batch): for batches that are not tensors with samples in dimension 0.
    units(batch): what memory grows with; tokens for two-dimensional integer batches, else samples.
    weight(batch): what the loss is a mean over; default samples. gapless.tokens: labels that count, as in language models.
    scaler: a GradScaler. before_step: called between backward and the optimizer's step (clipping); gradients are unscaled.
    reduce(batch): a smaller form of a batch of which not one sample fits (a shorter maximum length), or None.
    on_unfit: 'stop' raises BatchDoesNotFit for such a batch, 'set_aside' goes on; it is written to `folder` either way, and with
        it, or after an OOM in the optimizer's step, a report (text on stderr, JSON, HTML).
    agreement: a gapless.Agreement when several ranks must take pieces of one size. Without it an OOM on one of several ranks is
        raised: the others wait in its collectives.

    An OOM inside the optimizer's step is raised: the batch is not repeated. Without gapless it works too, by halving.
    Not thread-safe; one call at a time.
    """
    return Elastic(step_fn, optimizer=optimizer, model=model, split=split, samples=samples, units=units, weight=weight,
                   scaler=scaler, before_step=before_step, reduce=reduce, on_unfit=on_unfit, folder=folder, agreement=agreement,
                   device=device)
