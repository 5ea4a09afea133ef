# SPDX-License-Identifier: Apache-2.0
"""What the loss of a transformers.Trainer is a mean over, so that those of pieces add up to that of the batch."""

from collections.abc import Callable

import torch

from . import _additive, _batches
from ._classes import Classes
from ._pieces import NotCut
from ._rewind import Buffers, Rewind

# A loss divided by the items halves when they double, one that ignores them stays: room for bf16 around both.
_HALVES, _STAYS = (1.9, 2.1), (0.97, 1.03)


class Loss:
    """`weight`: the user's word for what a mean is over."""

    def __init__(self, trainer, compute_loss: Callable, weight: Callable[[dict], float] | None, counted: Callable[[], int]) -> None:
        import transformers

        self._trainer, self._compute_loss, self._weight, self._counted_ooms = trainer, compute_loss, weight, counted
        self._custom = getattr(compute_loss, "__func__", None) is not transformers.Trainer.compute_loss
        self._proven = False  # that the loss of a batch is the mean that it is taken for
        self._classes = Classes()
        self._divides: bool | None = None  # measured: the loss is divided by the items that it is given

    def weigher(self, model, inputs: dict, items) -> Callable[[dict], float | None]:
        """Of a batch that is to be cut: how much a part of it counts; None of it: losses of parts add up. Raises NotCut."""
        if self._adds_up(model, inputs, items):
            return lambda part: None
        return self.proven_mean(model, inputs, items)

    def proven_mean(self, model, inputs: dict, items) -> Callable[[dict], float]:
        """How much a part of `inputs` counts in a loss that is a mean, as was measured. Raises NotCut."""
        if self._weight is not None:
            return self._weight
        weight = self._mean_over(inputs)
        self._prove(model, inputs, items, weight)
        return weight

    def _mean_over(self, inputs: dict) -> Callable[[dict], float]:
        counted = self._counted(inputs)
        if counted is None:
            raise NotCut("what its loss is a mean over is not known; weight= of gapless.elastic_trainer says it")
        return lambda part: float(counted(part).sum())

    # ---- a sum over all items, or a mean

    def _adds_up(self, model, inputs, items) -> bool:
        said = getattr(self._trainer, "loss_is_scaled_for_ga", None)
        own = self._trainer.compute_loss_func is not None
        if said is not None:
            if said and items is None:
                raise NotCut("its loss is said to be divided by the items of all batches, which are not known")
            return bool(said)
        if self._custom or (own and items is None):
            raise NotCut("whether losses of parts add up is not known; loss_is_scaled_for_ga of the trainer says it")
        if items is None or not (own or self._trainer.model_accepts_loss_kwargs):
            return False
        # Many models take any keyword and ignore this one: transformers believes them, and so would a sum be a multiple.
        if self._divides is None:
            self._divides = self._measured(model, inputs, items)
        return self._divides

    def _measured(self, model, inputs, items) -> bool:
        """One sample's loss, with the items and with twice as many; without gradients, and nothing of it stays."""
        counted = self._counted(inputs)
        first = int(counted(inputs).bool().int().argmax()) if counted is not None else 0
        rewind = Rewind(self._trainer.args.device, Buffers(model))
        losses = []
        try:
            for factor in (1, 2):
                with torch.no_grad():
                    losses.append(self._loss(model, _batches.split(inputs, first, first + 1), items * factor))
                rewind.restore()
        finally:
            rewind.restore()
        ratio = losses[0] / losses[1] if losses[1] else float("nan")
        if _STAYS[0] <= ratio <= _STAYS[1]:
            return False
        if ratio == ratio and not _HALVES[0] <= ratio <= _HALVES[1]:
            raise NotCut("its loss is neither a mean nor divided by the items of all batches (an auxiliary loss?)")
        return True  # or nothing can be told from it: what transformers believes

    def _loss(self, model, part, items) -> float:
        with self._trainer.compute_loss_context_manager():
            return float(self._compute_loss(model, self._trainer._prepare_inputs(part), num_items_in_batch=items))

    def _prove(self, model, inputs, items, weight) -> None:
        """Measures some samples alone and together. Raises NotCut where their losses do not make that of the batch."""
        samples = _batches.samples(inputs)
        weights = [weight(_batches.split(inputs, one, one + 1)) for one in range(samples)]
        rewind = Rewind(self._trainer.args.device, Buffers(model))

        def losses_of(first: int, last: int):
            return _additive.measure(lambda part: self._loss(model, part, items), model, rewind, inputs, first, last, _batches.split,
                                     self._counted_ooms)

        if not self._proven:
            first, last = _additive.window(weights)
            found = losses_of(first, last)
            if found is None:
                return  # few samples without gradients: where not even two fit, nothing is found out now
            together, alone = found
            mean = _additive.is_mean(together, alone, weights[first:first + len(alone)])
            if mean is False:
                raise NotCut("its loss is not the mean of its samples' losses: does it compare them, or weigh them?")
            self._proven = bool(mean)
        _additive.compare_classes(self._classes, inputs, samples, weights, losses_of)

    # ---- what a mean is over

    def _counted(self, inputs) -> Callable[[dict], torch.Tensor] | None:
        """What counts, of each sample; None: not known. transformers' rule for num_items_in_batch where the model is one of its."""
        labels = inputs.get("labels")
        given = [name for name in self._trainer.label_names or () if inputs.get(name) is not None]
        if not isinstance(labels, torch.Tensor) or labels.is_floating_point() or labels.dim() == 0:
            return _samples if labels is None or len(given) <= 1 else None
        known = self._shifts()
        if known is not None and len(given) > 1:
            return None  # a sum of means over different things
        if "shift_labels" in inputs:
            return lambda part: _rows(part["shift_labels"])
        if labels.dim() == 1:
            return lambda part: _rows(part["labels"])
        if labels.dim() == 2 and known is not None:
            return lambda part: _rows(part["labels"][..., 1:] if known else part["labels"])
        # A model of the user's: whatever it is over, all samples count alike, or nobody knows.
        for rows in (_rows(labels), _rows(labels[..., 1:])):
            if not bool((rows == rows[0]).all()):
                return None
        return _samples

    def _shifts(self) -> bool | None:
        """Whether the model predicts the next label, as causal language models do; None: not one of transformers'."""
        import transformers
        from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

        model = self._trainer.accelerator.unwrap_model(self._trainer.model)
        model = model.get_base_model() if hasattr(model, "get_base_model") else model
        if not isinstance(model, transformers.PreTrainedModel):
            return None
        return getattr(self._trainer, "_loss_shifts_labels", False) or type(model).__name__ in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()


def _rows(labels: torch.Tensor) -> torch.Tensor:
    return (labels != -100).flatten(1).sum(1) if labels.dim() > 1 else (labels != -100).long()


def _samples(part) -> torch.Tensor:
    return torch.ones(_batches.samples(part))
