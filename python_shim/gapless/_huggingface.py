# SPDX-License-Identifier: Apache-2.0
"""transformers.Trainer and accelerate."""

import functools
import types

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils._pytree import tree_flatten, tree_unflatten

from . import _batches, _device, _oom_errors
from ._evaluation import ElasticEvaluation
from ._rewind import Buffers, Rewind
from ._sizing import Sizing, even, own_label


def elastic_trainer(trainer):
    """Makes `trainer`, a transformers.Trainer that has not trained yet, survive running out of memory; returns it.

    >>> trainer = gapless.elastic_trainer(Trainer(model, args, ...))

    What the Trainer calls a batch stays what it is, and with it the effective batch, the schedule and the step count; it is run
    in smaller pieces when it does not fit. After an OOM the gradients, random numbers and buffers go back to where the
    optimizer's step began, and all its batches so far are done again. Evaluation is cut into pieces of its own.
    A trainer with a compute_loss of its own must set loss_is_scaled_for_ga (False: the loss is a mean over the batch, True: it is
    normalised by num_items_in_batch); otherwise, and where the samples of a batch cannot be told, a batch that does not fit is an
    error as before, with a note that says why it was not cut.
    One process only; auto_find_batch_size stays as it was set, and has nothing left to do.
    """
    _TrainerSteps(trainer)
    return trainer


class _TrainerSteps:
    def __init__(self, trainer) -> None:
        self._trainer = trainer
        self._training_step, self._compute_loss = trainer.training_step, trainer.compute_loss
        self._prediction_step = trainer.prediction_step
        self._sizing: Sizing | None = None
        self._evaluation: ElasticEvaluation | None = None
        self._done: list = []  # batches since the optimizer's last step
        self._rewind: Rewind | None = None
        self._begun: tuple | None = None  # the Trainer's state and its step that `_done` and `_rewind` belong to
        self._buffers: Buffers | None = None
        self._share: float | None = None
        self._micro, self._per_sample, self._whole = 0, 1.0, ""
        self.failures = 0
        trainer.training_step = types.MethodType(lambda _, *a, **k: self._step(*a, **k), trainer)
        trainer.compute_loss = types.MethodType(lambda _, *a, **k: self._loss(*a, **k), trainer)
        trainer.prediction_step = types.MethodType(lambda _, *a, **k: self._predict(*a, **k), trainer)
        trainer.gapless = self

    @property
    def evaluation_failures(self) -> int:
        return self._evaluation.failures if self._evaluation is not None else 0

    # ---- training

    def _loss(self, model, inputs, *args, **kwargs):
        result = self._compute_loss(model, inputs, *args, **kwargs)
        if self._share is None:
            return result
        if isinstance(result, tuple):
            return (result[0] * self._share, *result[1:])
        return result * self._share

    def _step(self, model, inputs, num_items_in_batch=None):
        if self._trainer.args.world_size > 1:
            return self._training_step(model, inputs, num_items_in_batch)
        device = self._trainer.args.device
        if self._sizing is None:
            self._sizing = Sizing(_device.behind(device), own_label("train"))
            self._buffers = Buffers(model)
        # The count of steps, not the optimizer's hook: a step that a GradScaler leaves out ends one too, and LOMO has none.
        state = self._trainer.state
        if self._begun is None or self._begun[0] is not state or self._begun[1] != state.global_step:
            self._begun = (state, state.global_step)
            self._rewind = Rewind(device, self._buffers)
            self._done.clear()
        most = None
        while True:
            sequence = self._sequence()
            error = None
            try:
                # After a failure all batches of the optimizer's step are done again.
                if most is not None:
                    for earlier, items in self._done:
                        self._in_pieces(model, earlier, items, most)
                loss = self._in_pieces(model, inputs, num_items_in_batch, most)
                self._done.append((inputs, num_items_in_batch))
                return loss
            except Exception as raised:
                if not _oom_errors.is_oom(raised, self._sequence() > sequence):
                    raise
                if self._whole:
                    raised.add_note(f"gapless: the batch was not cut into pieces: {self._whole}")
                if self._micro <= 1:
                    raise
                error = raised
            _oom_errors.let_go(error)
            self.failures += 1
            model.zero_grad(set_to_none=True)
            self._rewind.restore()
            record = self._sizing.device.last_oom()
            if record is not None and record["sequence"] <= sequence:
                record = None
            smaller = self._sizing.failed(self._micro, self._per_sample, record)
            most = max(1, round(smaller * self._per_sample))

    def _sequence(self) -> int:
        record = self._sizing.device.last_oom()
        return record["sequence"] if record else 0

    def _adds_up(self, items) -> bool | None:
        """Whether losses of parts add up to that of the batch, being divided by the items of all. False: they are means, and must be
        weighted. None: nobody says."""
        said = getattr(self._trainer, "loss_is_scaled_for_ga", None)
        if said is not None:
            return None if said and items is None else said
        import transformers

        if getattr(self._compute_loss, "__func__", None) is not transformers.Trainer.compute_loss:
            return None
        if items is None:
            return None if self._trainer.compute_loss_func is not None else False
        return bool(self._trainer.model_accepts_loss_kwargs or self._trainer.compute_loss_func is not None)

    def _in_pieces(self, model, inputs, items, most_units):
        """The Trainer's own step on parts of the batch. `most_units`: what the last failure left of hope."""
        adds_up, samples = self._adds_up(items), _samples(inputs)
        kind, first = self._sizing.label, not self._done
        self._whole = ""
        if adds_up is None:
            self._whole = "whether losses of parts add up is not known; loss_is_scaled_for_ga of the trainer says it"
        elif not samples:
            self._whole = "how many samples it has is not clear"
        if self._whole:
            self._micro = 0
            self._sizing.device.mark_step(kind if first else kind + "+", _batches.units(inputs) if samples else 0)
            return self._training_step(model, inputs, items)
        self._per_sample = per_sample = _batches.units(inputs) / samples
        labels = inputs.get("labels")
        weight = _batches.tokens if not adds_up and labels is not None and labels.dim() == 2 else _batches.samples
        total, done, result = None, 0, None
        size = self._sizing.begin(samples, per_sample, kind if first else kind + "+")
        if most_units is not None:
            size = max(1, min(size, int(most_units / per_sample)))
        whole_weight = 0
        while done < samples:
            count = even(samples - done, size)
            label = kind if first and done == 0 else kind + "+"
            if done > 0:
                size = self._sizing.begin(count, per_sample, label)
                count = even(samples - done, size)
            self._micro = count
            self._sizing.device.mark_step(label, round(count * per_sample))
            piece = inputs if count == samples else _batches.split(inputs, done, done + count)
            if count < samples and not adds_up:
                whole_weight = whole_weight or weight(inputs)
                share = weight(piece) / whole_weight if whole_weight else 0.0
                if share == 0.0 and (whole_weight or done + count < samples):
                    # Nothing of it counts, and a mean over nothing is no number.
                    done += count
                    continue
                self._share = share
            done += count
            try:
                result = self._training_step(model, piece, items)
            finally:
                self._share = None
            total = result if total is None else total + result
        return total

    # ---- evaluation

    def _predict(self, model, inputs, prediction_loss_only, ignore_keys=None):
        device = self._trainer.args.device
        if self._evaluation is None:
            self._evaluation = ElasticEvaluation(None, device=device)
        samples = _samples(inputs)
        if not samples:
            return self._prediction_step(model, inputs, prediction_loss_only, ignore_keys)
        joined = _Joined(samples)

        def predict(piece):
            result = self._prediction_step(model, piece, prediction_loss_only, ignore_keys)
            count = _batches.samples(piece)
            if count == samples:
                return result
            # Joined at once, so that never more than one piece is there beside the whole.
            joined.add(count, result[1:])
            return result[0]

        self._evaluation._function = predict
        try:
            pieces = self._evaluation(inputs)
        finally:
            self._evaluation._function = None
        if len(pieces) == 1:
            return pieces[0][1]
        losses = [loss * (count / samples) for count, loss in pieces if loss is not None]
        return (sum(losses) if losses else None, *joined.result())


def _samples(inputs) -> int:
    """The samples of a Trainer's batch; 0 where that is not clear, or where something belongs to the samples that cannot be cut."""
    try:
        samples = _batches.samples(inputs)
    except ValueError:
        return 0
    for name, value in inputs.items():
        texts = isinstance(value, (list, tuple)) and len(value) == samples and next(_batches.tensors(value), None) is None
        if texts or (name == "labels" and value is not None and not isinstance(value, torch.Tensor)):
            return 0
    return samples


class _Joined:
    """Outputs of pieces of one batch, which differ in their number of samples only, written into tensors of the whole."""

    def __init__(self, samples: int) -> None:
        self._samples, self._done = samples, 0
        self._whole: list | None = None
        self._form = None

    def add(self, count: int, outputs) -> None:
        leaves, form = tree_flatten(outputs)
        if self._whole is None:
            self._whole = [leaf.new_empty((self._samples, *leaf.shape[1:])) if isinstance(leaf, torch.Tensor) else leaf
                           for leaf in leaves]
            self._form = form
        for whole, leaf in zip(self._whole, leaves, strict=True):
            if isinstance(leaf, torch.Tensor):
                whole[self._done:self._done + count].copy_(leaf)
        self._done += count

    def result(self):
        return tree_unflatten(self._whole, self._form)


def find_executable_batch_size(function=None, starting_batch_size: int = 128, reduce_batch_size_fn=None):
    """accelerate.utils.find_executable_batch_size with a better next size: `function(batch_size, ...)` is called again after an
    out of memory, with the batch that gapless's record suggests; where it suggests none, with nine tenths, as accelerate does.
    `reduce_batch_size_fn`, if given, decides instead. Steps of optimizers are the steps that gapless learns from."""
    if function is None:
        return functools.partial(find_executable_batch_size, starting_batch_size=starting_batch_size,
                                 reduce_batch_size_fn=reduce_batch_size_fn)
    from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

    batch_size, label = starting_batch_size, own_label("executable")

    @functools.wraps(function)
    def decorated(*args, **kwargs):
        nonlocal batch_size
        while True:
            if batch_size == 0:
                raise RuntimeError("No executable batch size found, reached zero.")
            device = _device.of(torch.cuda.current_device()) if torch.cuda.is_available() else _device.NoDevice()
            before = device.last_oom()
            sequence = before["sequence"] if before else 0
            device.mark_step(label, batch_size)
            hook = register_optimizer_step_post_hook(
                lambda *_, device=device, size=batch_size: device.mark_step(label, size))
            error = None
            try:
                return function(batch_size, *args, **kwargs)
            except Exception as raised:
                if not should_reduce_batch_size(raised):
                    raise
                error = raised
            finally:
                hook.remove()
            _oom_errors.let_go(error)
            error = None
            record = device.last_oom()
            clear_device_cache(garbage_collection=True)
            said = record["suggestion"] if record and record["sequence"] > sequence else None
            if reduce_batch_size_fn is not None:
                batch_size = reduce_batch_size_fn()
            elif said and said["units"] and said["confidence"] >= 0.5:
                batch_size = min(said["units"], batch_size - 1)
            else:
                batch_size = min(said["units"] if said and said["units"] else batch_size, int(batch_size * 0.9))

    return decorated
