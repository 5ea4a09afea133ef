# SPDX-License-Identifier: Apache-2.0
"""Lightning's Trainer: what it calls a closure (forward, zero_grad and backward of a batch) is done in pieces."""

import contextlib
import sys
from collections import OrderedDict
from collections.abc import Callable

import torch

from . import _additive, _batches
from ._classes import Classes
from ._pieces import Adapter, NotCut
from ._rewind import Buffers, Rewind


def refusal(trainer) -> str | None:
    """Why this trainer's batches cannot be cut, whatever they are; None: they can."""
    if trainer.world_size > 1:
        return "there are several ranks, which would have to agree"
    kind = type(trainer.strategy).__name__
    if any(word in kind for word in ("DeepSpeed", "FSDP", "ModelParallel")):
        return f"{kind} counts the backward passes of a step"
    return None


class LightningSteps(Adapter):
    """See gapless.elastic_trainer. `weight`: or Measured."""

    def __init__(self, trainer, weight, folder) -> None:
        self._trainer, self._folder = trainer, folder or trainer.default_root_dir
        self._weight = Measured(self) if weight is Measured else weight or _batches.samples
        self._window: object = None
        self._told = False
        self._loop = trainer.fit_loop.epoch_loop.automatic_optimization
        self._make_closure = self._loop._make_closure
        self._loop._make_closure = self._closure
        for name in ("validation_step", "test_step", "predict_step"):
            setattr(trainer.strategy, name, self._evaluating(getattr(trainer.strategy, name)))
        trainer.gapless = self

    def _forget(self) -> None:
        if isinstance(self._weight, Measured):
            self._weight = Measured(self)

    # ---- training

    def _closure(self, kwargs: OrderedDict, optimizer, batch_idx: int):
        closure = self._make_closure(kwargs, optimizer, batch_idx)
        # A training_step that takes the loader's iterator has its batches to itself.
        if self._trainer.world_size == 1 and "batch" in kwargs:
            one = _Batch(closure, kwargs)
            closure.closure = torch.enable_grad()(lambda *_, **__: self._step(one))
        return closure

    def _step(self, one: "_Batch"):
        module = self._trainer.lightning_module
        self._train(module, self._trainer.strategy.root_device, self._folder, _Metrics(self._trainer))
        # Each call of it, when the optimizer asks several times.
        if one.clears:
            self._window = object()
        self._redone.begin(self._window, self._trainer.global_step)
        return self._redone.run(one, self._in_pieces, lambda: self._trainer.optimizers)

    def _in_pieces(self, one: "_Batch", most: float | None):
        try:
            samples, units = _batches.samples(one.batch), _batches.units(one.batch)
        except ValueError:
            self._redone.whole(0, "how many samples it has is not clear")
            return self._piece(one, one.batch, None)
        results, counts = [], []
        weight = self._weight.of(one) if isinstance(self._weight, Measured) else self._weight
        try:
            for piece, share in self._redone.pieces(one.batch, samples, units, most, split=_batches.split, weight=weight):
                results.append(self._piece(one, piece, share))
                counts.append(_batches.samples(piece))
        except NotCut as reason:
            self._redone.whole(units, str(reason))
            return self._piece(one, one.batch, None)
        whole = results[0]
        if len(results) > 1:
            losses = [result.loss for result in results if result.loss is not None]
            whole.loss = sum(losses) if losses else None
            whole.extra = _batches.join([result.extra for result in results], counts)
        return whole

    def _piece(self, one: "_Batch", piece, share: float | None):
        """What the closure does, with a part of the batch; the result is detached from its graph."""
        with self._logged_as(piece):
            result = self._loop._training_step(OrderedDict(one.kwargs, batch=piece))
        one.zero_gradients()
        if result.closure_loss is None:
            return result
        if share is not None:
            result = type(result)(result.closure_loss * share, extra=result.extra)
        if one.closure._backward_fn is not None:
            self._redone.phase("backward")
            one.closure._backward_fn(result.closure_loss)
        result.closure_loss = result.loss
        return result

    @contextlib.contextmanager
    def _logged_as(self, piece):
        """What is logged meanwhile is of so many samples."""
        results = self._trainer._results
        if results is None:
            yield
            return
        before = results.batch, results.batch_size
        results.batch, results.batch_size = piece, None
        try:
            yield
        finally:
            results.batch, results.batch_size = before

    # ---- evaluation

    def _evaluating(self, function):
        def evaluate(*args, **kwargs):
            try:
                alone = self._trainer.world_size == 1 and _batches.samples(args[0]) > 1
            except (IndexError, ValueError):
                alone = False
            if not alone:
                return function(*args, **kwargs)
            kept = Buffers(self._trainer.lightning_module), _Metrics(self._trainer)

            def of(piece):
                for one in kept:
                    one.keep()
                try:
                    with self._logged_as(piece):
                        return function(piece, *args[1:], **kwargs)
                except Exception:
                    for one in kept:
                        one.put_back()
                    raise

            pieces = self._in_evaluation_pieces(of, args[0], self._trainer.strategy.root_device)
            if len(pieces) > 1 and isinstance(self._weight, Measured) and not self._told:
                self._told = True
                print("gapless: evaluation batches are cut; what they log is taken for means over samples", file=sys.stderr, flush=True)
            return _batches.join([result for _, result in pieces], [count for count, _ in pieces])

        return evaluate


class Measured:
    """What the loss of a program that does not say it is a mean over: training_step with some samples alone and together. It stays
    measured from the first batch on of which the samples tell the cases apart."""

    def __init__(self, steps: LightningSteps) -> None:
        self._steps = steps
        self._fitting: list[Callable] = []
        self._classes = Classes()

    def of(self, one: "_Batch") -> Callable:
        """The weight of a part of that batch; None of it: losses add up. Raises NotCut."""
        found: Callable | None = None

        def weight(part):
            nonlocal found
            if found is None:
                found = self._fitting[0] if len(self._fitting) == 1 else self._measure(one)
                self._compare_classes(one, found)
            return found(part)

        return weight

    def _measure(self, one: "_Batch") -> Callable:
        steps, batch = self._steps, one.batch
        steps._redone.aside()
        weighers = [_batches.samples]
        labels = batch.get("labels") if isinstance(batch, dict) else None
        if isinstance(labels, torch.Tensor) and labels.dim() == 2 and not labels.is_floating_point():
            weighers += [_batches.tokens, lambda part: int((part["labels"] != -100).sum())]
        rows = [[weigher(_batches.split(batch, i, i + 1)) for i in range(_batches.samples(batch))] for weigher in weighers]
        if self._fitting and all(_additive.alike(row, rows[0]) for row in rows):
            return self._fitting[0]
        first, last = _additive.window(rows[-1])
        if last - first < 2:
            raise NotCut("no two of its samples can be measured")
        found = self._losses(one, first, last)
        if found is None:
            raise NotCut("not even two of its samples fit without gradients")
        together, alone = found
        if not any((together, *alone)):
            return weighers[0]  # of nothing, any part is nothing; kernels of the simulated device compute no more
        last = first + len(alone)
        which = _additive.fitting(together, alone, [row[first:last] for row in rows])
        if which is None or not all(_additive.alike(rows[i], rows[which[0]]) for i in which):
            raise NotCut("what its loss is a mean over cannot be told from this batch")
        fitting = [weighers[i] for i in which]
        if not fitting and _additive.is_sum(together, alone):
            fitting = [lambda part: None]
        if not fitting:
            raise NotCut("its loss is neither the mean nor the sum of its samples' losses: does it compare them, or weigh them?")
        # Several: all samples weigh alike, whatever the mean is over.
        self._fitting = fitting
        return fitting[0]

    def _compare_classes(self, one: "_Batch", weigher: Callable) -> None:
        samples = _batches.samples(one.batch)
        weights = [weigher(_batches.split(one.batch, i, i + 1)) for i in range(samples)]
        if None in weights:
            return  # a sum: its parts add up whatever their weights
        self._steps._redone.aside()
        _additive.compare_classes(self._classes, one.batch, samples, weights, lambda first, last: self._losses(one, first, last))

    def _losses(self, one: "_Batch", first: int, last: int) -> tuple[float, list[float]] | None:
        trainer = self._steps._trainer
        module = trainer.lightning_module

        def loss_of(part) -> float:
            result = self._steps._loop._training_step(OrderedDict(one.kwargs, batch=part))
            if result.closure_loss is None:
                raise NotCut("its training_step returns no loss")
            return float(result.closure_loss)

        rewind = Rewind(trainer.strategy.root_device, Buffers(module), _Metrics(trainer))
        return _additive.measure(loss_of, module, rewind, one.batch, first, last, _batches.split, self._steps.ooms)


class _Batch:
    def __init__(self, closure, kwargs: OrderedDict) -> None:
        self.closure, self.kwargs, self.batch = closure, kwargs, kwargs["batch"]
        self.clears = closure._zero_grad_fn is not None
        self._cleared = False

    def zero_gradients(self) -> None:
        """Lightning's, with its hooks: once."""
        if self.clears and not self._cleared:
            self._cleared = True
            self.closure._zero_grad_fn()


class _Metrics:
    """What is logged, and the module's metrics: an attempt that failed has added to them."""

    def __init__(self, trainer) -> None:
        self._trainer = trainer

    def keep(self) -> None:
        from torchmetrics import Metric

        results = self._trainer._results if self._trainer._results is not None else {}  # predictions log nothing
        self._results, self._logged = results, {key: (metric, dict(metric.__dict__)) for key, metric in results.items()}
        self._states = []
        for metric in self._trainer.lightning_module.modules():
            if isinstance(metric, Metric):
                state = {name: _copied(getattr(metric, name)) for name in metric._defaults}
                self._states.append((metric, state, metric._update_count, metric._computed))

    def put_back(self) -> None:
        for key in [key for key in self._results if key not in self._logged]:
            del self._results[key]
        for metric, state in self._logged.values():
            metric.__dict__.update(state)
        for metric, state, count, computed in self._states:
            for name, value in state.items():
                setattr(metric, name, _copied(value))
            metric._update_count, metric._computed = count, computed


def _copied(state):
    return list(state) if isinstance(state, list) else state.detach().clone()
