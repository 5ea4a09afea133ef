# SPDX-License-Identifier: Apache-2.0
"""What an attempt may change besides gradients, kept so that it can be put back: random numbers and buffers."""

import random
import sys

import torch
from torch.nn.modules.batchnorm import _NormBase


class Rewind:
    """The state at the beginning of an optimization step: random numbers, and what is `kept` (each with keep() and put_back()).
    `restore` may be called any number of times."""

    def __init__(self, device: torch.device, *kept) -> None:
        self._device = device
        self._cpu = torch.get_rng_state()
        # To ask would start CUDA.
        started = device.type == "cuda" and torch.cuda.is_initialized()
        self._cuda = torch.cuda.get_rng_state(device) if started else None
        self._python = random.getstate()
        numpy = sys.modules.get("numpy")
        self._numpy = numpy.random.get_state() if numpy is not None else None
        self._kept = kept
        for one in kept:
            one.keep()

    def restore(self) -> None:
        torch.set_rng_state(self._cpu)
        if self._cuda is not None:
            torch.cuda.set_rng_state(self._cuda, self._device)
        random.setstate(self._python)
        if self._numpy is not None:
            sys.modules["numpy"].random.set_state(self._numpy)
        for one in self._kept:
            one.put_back()


class Buffers:
    """The buffers of a model (BatchNorm's running figures). Most never change (masks, rotary tables): the host has a copy of each, made
    anew only where its version says that it changed. Normalisation with running figures changes them without a new version."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._model = model
        # By place: the tensor that was there when the step began, its copy, and its version then (None: it does not tell).
        self._kept: dict[tuple[torch.nn.Module, str], tuple[torch.Tensor, torch.Tensor, int | None]] = {}

    def keep(self) -> None:
        before, self._kept = self._kept, {}
        copies: dict[int, torch.Tensor] = {}  # of a tensor in several places, one
        for module in self._model.modules():
            tells = not isinstance(module, _NormBase)
            for name, buffer in module._buffers.items():
                if buffer is None:
                    continue
                version = buffer._version if tells else None
                old, copy, old_version = before.get((module, name), (None, None, None))
                if old is not buffer or version is None or old_version != version:
                    copy = copies.get(id(buffer))
                    if copy is None:
                        copy = copies[id(buffer)] = buffer.detach().to("cpu", copy=True)
                self._kept[module, name] = (buffer, copy, version)

    def put_back(self) -> None:
        with torch.no_grad():
            for (module, name), (buffer, copy, version) in self._kept.items():
                if version is None or buffer._version != version:
                    buffer.copy_(copy)
                if module._buffers.get(name) is not buffer:
                    module._buffers[name] = buffer
