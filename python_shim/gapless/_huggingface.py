# SPDX-License-Identifier: Apache-2.0
"""transformers.Trainer."""

import sys
import types

import torch
from torch.utils._pytree import tree_flatten, tree_unflatten

from . import _batches
from ._huggingface_loss import Loss
from ._pieces import Adapter, NotCut


def elastic_trainer(trainer, *, weight=None, folder=None):
    """Makes `trainer`, a transformers.Trainer or a Trainer of Lightning that has not trained yet, survive running out of memory;
    returns it.

    >>> trainer = gapless.elastic_trainer(Trainer(model, args, ...))

    What the trainer calls a batch stays what it is, and with it the effective batch, the schedule and the step count; it is run
    in smaller pieces when it does not fit. After an OOM the gradients, random numbers and buffers go back to where the
    optimizer's step began, and all its batches so far are done again. Evaluation is cut into pieces of its own. One process only.
    weight(batch): what the loss is a mean over (gapless.tokens, say). folder: of the report, where one sample does not fit; default:
    the trainer's output.

    transformers: whether the loss is divided by the items of all batches is measured, once, with one sample; what a mean is over
    is known for its models. A trainer with a compute_loss of its own must set loss_is_scaled_for_ga (False: the loss is a mean over
    the batch, True: it is normalised by num_items_in_batch). Where that is not known, or the samples of a batch cannot be told, a
    batch that does not fit is an error as before, with a note that says why it was not cut. auto_find_batch_size stays as it was
    set, and has nothing left to do.
    Lightning: automatic optimization; weight defaults to samples. training_step is called for each piece, and so are the hooks
    around backward; means over an epoch of what it logs count each sample once.
    """
    if hasattr(trainer, "fit_loop"):
        from . import _lightning

        _lightning.LightningSteps(trainer, weight, folder)
    else:
        _TrainerSteps(trainer, weight, folder)
    return trainer


def refusal(trainer) -> str | None:
    """Why this trainer's batches cannot be cut, whatever they are; None: they can."""
    arguments, kind = trainer.args, str(getattr(trainer.accelerator.distributed_type, "value", "NO"))
    if arguments.world_size > 1:
        return "there are several ranks, which would have to agree"
    if arguments.n_gpu > 1:
        return "DataParallel splits its batches over the devices"
    if any(word in kind for word in ("DEEPSPEED", "FSDP", "MEGATRON")):
        return f"{kind} counts the backward passes of a step"
    if any(word in str(arguments.optim).lower() for word in ("lomo", "layerwise")):
        return "its optimizer moves the parameters inside the backward pass, which cannot be undone"
    return None


class _TrainerSteps(Adapter):
    """`evaluation`: its evaluation too."""

    def __init__(self, trainer, weight, folder, *, evaluation: bool = True) -> None:
        self._trainer = trainer
        self._training_step, self._compute_loss = trainer.training_step, trainer.compute_loss
        self._prediction_step = trainer.prediction_step
        self._weight = weight
        self._forget()
        self._folder = folder or trainer.args.output_dir or "."
        self._share: float | None = None
        self._told = False
        trainer.training_step = types.MethodType(lambda _, *a, **k: self._step(*a, **k), trainer)
        trainer.compute_loss = types.MethodType(lambda _, *a, **k: self._loss(*a, **k), trainer)
        if evaluation:
            trainer.prediction_step = types.MethodType(lambda _, *a, **k: self._predict(*a, **k), trainer)
        trainer.gapless = self

    def _forget(self) -> None:
        self._loss_of = Loss(self._trainer, self._compute_loss, self._weight, self.ooms)

    # ---- training

    def _loss(self, model, inputs, *args, **kwargs):
        result = self._compute_loss(model, inputs, *args, **kwargs)
        if self._share is None:
            return result
        if isinstance(result, tuple):
            return (result[0] * self._share, *result[1:])
        return result * self._share

    def _step(self, model, inputs, num_items_in_batch=None):
        if (why := refusal(self._trainer)) is not None:
            if not self._told and self._trainer.args.world_size == 1:
                print(f"gapless: batches stay whole: {why}", file=sys.stderr, flush=True)
            self._told = True
            return self._training_step(model, inputs, num_items_in_batch)
        self._train(model, self._trainer.args.device, self._folder)
        # The count of steps, not the optimizer's hook: a step that a GradScaler leaves out ends one too.
        self._redone.begin(self._trainer.state, self._trainer.state.global_step)
        return self._redone.run((inputs, num_items_in_batch), lambda batch, most: self._in_pieces(model, *batch, most),
                                lambda: [self._trainer.optimizer])

    def _in_pieces(self, model, inputs, items, most):
        """The Trainer's own step on parts of the batch. `most`: what the last failure left of hope."""
        samples = _samples(inputs)
        units = _batches.units(inputs) if samples else 0
        weigher = None

        def weight(part):
            nonlocal weigher
            if weigher is None:
                self._redone.aside()
                weigher = self._loss_of.weigher(model, inputs, items)
            return weigher(part)

        total = None
        try:
            if not samples:
                raise NotCut("how many samples it has is not clear")
            for piece, share in self._redone.pieces(inputs, samples, units, most, split=_batches.split, weight=weight):
                self._share = share
                result = self._training_step(model, piece, items)
                total = result if total is None else total + result
        except NotCut as reason:
            self._redone.whole(units, str(reason))
            return self._training_step(model, inputs, items)
        finally:
            self._share = None
        return total

    # ---- evaluation

    def _predict(self, model, inputs, prediction_loss_only, ignore_keys=None):
        samples = _samples(inputs)
        # A model that makes its loss without labels compares the samples of a batch (CLIP).
        if not samples or (self._trainer.can_return_loss and inputs.get("labels") is None):
            return self._prediction_step(model, inputs, prediction_loss_only, ignore_keys)
        joined, weights = _Joined(samples), []
        weight = None

        def predict(piece):
            nonlocal weight
            if weight is None and _batches.samples(piece) != samples:
                weight = _batches.samples if inputs.get("labels") is None else self._loss_of.proven_mean(model, inputs, None)
            result = self._prediction_step(model, piece, prediction_loss_only, ignore_keys)
            count = _batches.samples(piece)
            if count == samples:
                return result
            # Joined at once, so that never more than one piece is there beside the whole.
            joined.add(count, result[1:])
            weights.append(weight(piece))
            return result[0]

        try:
            pieces = self._in_evaluation_pieces(predict, inputs, self._trainer.args.device)
        except NotCut as reason:
            print(f"gapless: an evaluation batch stays whole: {reason}", file=sys.stderr, flush=True)
            return self._prediction_step(model, inputs, prediction_loss_only, ignore_keys)
        if len(pieces) == 1:
            return pieces[0][1]
        losses = [loss * (part / (sum(weights) or 1.0)) for (_, loss), part in zip(pieces, weights, strict=True)
                  if loss is not None and part]
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
