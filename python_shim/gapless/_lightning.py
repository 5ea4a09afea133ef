# SPDX-License-Identifier: Apache-2.0
"""Lightning's Trainer: what it calls a closure (forward, zero_grad and backward of a batch) is done in pieces."""

import contextlib
from collections import OrderedDict

import torch

from . import _batches
from ._pieces import Adapter, Redone
from ._rewind import Buffers


class LightningSteps(Adapter):
    """See gapless.elastic_trainer."""

    def __init__(self, trainer, weight, folder) -> None:
        self._trainer, self._folder = trainer, folder or trainer.default_root_dir
        self._weight = weight or _batches.samples
        self._window: object = None
        self._loop = trainer.fit_loop.epoch_loop.automatic_optimization
        self._make_closure = self._loop._make_closure
        self._loop._make_closure = self._closure
        for name in ("validation_step", "test_step", "predict_step"):
            setattr(trainer.strategy, name, self._evaluating(getattr(trainer.strategy, name)))
        trainer.gapless = self

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
        if self._redone is None or self._redone.model is not module:
            self._redone = Redone(module, self._trainer.strategy.root_device, self._folder, _Metrics(self._trainer))
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
        for piece, share in self._redone.pieces(one.batch, samples, units, most, split=_batches.split, weight=self._weight):
            results.append(self._piece(one, piece, share))
            counts.append(_batches.samples(piece))
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
            return _batches.join([result for _, result in pieces], [count for count, _ in pieces])

        return evaluate


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
