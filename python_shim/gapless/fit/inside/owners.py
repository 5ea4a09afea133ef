# SPDX-License-Identifier: Apache-2.0
"""Whose a block of device memory is, as PyTorch has it: weights, gradients, optimizer state; and what the models are made of."""

import gc
import weakref

import torch

_OTHER, _PARAMETER, _MODULE, _LINEAR = range(4)


def _kind(kind: type) -> int:
    # By the type, not by isinstance: that asks the thing itself, and lazy ones begin to import.
    if issubclass(kind, torch.nn.Parameter):
        return _PARAMETER
    if issubclass(kind, torch.nn.Linear):
        return _LINEAR
    return _MODULE if issubclass(kind, torch.nn.Module) else _OTHER


class Things:
    """Parameters and modules of the process. Going through all objects of a program takes a fifth of a second, more than a step of it
    does: models are made before the first steps, so later looks are at what is known, at twice the distance each."""

    def __init__(self) -> None:
        self._known: list[tuple[int, weakref.ref]] = []
        self._looks, self._next = 0, 1

    def look(self) -> None:
        self._looks += 1
        if self._looks < self._next:
            return
        self._next *= 2
        kinds: dict[type, int] = {}
        self._known = []
        for thing in gc.get_objects():
            kind = kinds.get(type(thing))
            if kind is None:
                kind = kinds[type(thing)] = _kind(type(thing))
            if kind != _OTHER:
                self._known.append((kind, weakref.ref(thing)))

    def __iter__(self):
        """(kind, object): each parameter once, what has taken a known one's place in its module too."""
        seen: set[int] = set()
        for kind, known in self._known:
            if (thing := known()) is None:
                continue
            parameters = [thing] if kind == _PARAMETER else thing.__dict__.get("_parameters", {}).values()
            for one in parameters:
                if one is not None and id(one) not in seen:
                    seen.add(id(one))
                    yield _PARAMETER, one
            if kind != _PARAMETER:
                yield kind, thing


def _add(found: dict[int, str], tensor, category: str) -> None:
    """By address. Tensors that share storage count once."""
    if isinstance(tensor, torch.Tensor) and tensor.device.type == "cuda":
        try:
            address = tensor.untyped_storage().data_ptr()
        except RuntimeError:  # no storage: a meta or fake tensor
            return
        if address:
            found.setdefault(address, category)


def state(optimizers) -> dict[int, str]:
    """What the optimizers keep: address, "optimizer"."""
    found: dict[int, str] = {}
    for optimizer in optimizers:
        for values in list(optimizer.state.values()):
            for value in values.values() if isinstance(values, dict) else ():
                _add(found, value, "optimizer")
    return found


def weights(things: Things) -> dict[int, str]:
    """Parameters, buffers and gradients: address, category."""
    found: dict[int, str] = {}
    for kind, thing in things:
        if kind == _PARAMETER:
            _add(found, thing.data, "weights")
            if thing.grad is not None:
                _add(found, thing.grad, "gradients")
        else:
            for buffer in thing.__dict__.get("_buffers", {}).values():
                _add(found, buffer, "weights")
    return found


def models(things: Things, optimizers: list) -> dict:
    """Bytes of what the optimizers train and of all weights, for estimates."""
    things.look()
    trained = {id(parameter) for optimizer in optimizers for group in optimizer.param_groups for parameter in group["params"]}
    found = {"trained": 0, "trained_bytes": 0, "frozen": 0, "frozen_bytes": 0, "dtypes": {}, "linear": [], "checkpointing": None}
    for kind, thing in things:
        try:
            if kind == _PARAMETER:
                if thing.device.type == "cuda":
                    part = "trained" if id(thing) in trained else "frozen"
                    found[part] += thing.numel()
                    found[part + "_bytes"] += thing.numel() * thing.element_size()
                    found["dtypes"][str(thing.dtype)] = found["dtypes"].get(str(thing.dtype), 0) + thing.numel()
            elif kind == _LINEAR and thing.weight.device.type == "cuda":
                found["linear"].append([thing.in_features, thing.out_features])
            elif hasattr(thing, "gradient_checkpointing"):
                found["checkpointing"] = bool(found["checkpointing"] or thing.gradient_checkpointing)
        except (ReferenceError, RuntimeError, AttributeError):
            continue
    return found
