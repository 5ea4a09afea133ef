# SPDX-License-Identifier: Apache-2.0
"""What an attempt may change besides gradients, kept so that it can be put back: random numbers and buffers."""

import random
import sys

import torch


class Rewind:
    """The state at the beginning of an optimization step. `restore` may be called any number of times."""

    def __init__(self, device: torch.device, buffers: "Buffers | None") -> None:
        self._device = device
        self._cpu = torch.get_rng_state()
        self._cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        self._python = random.getstate()
        numpy = sys.modules.get("numpy")
        self._numpy = numpy.random.get_state() if numpy is not None else None
        self._buffers = buffers
        if buffers is not None:
            buffers.keep()

    def restore(self) -> None:
        torch.set_rng_state(self._cpu)
        if self._cuda is not None:
            torch.cuda.set_rng_state(self._cuda, self._device)
        random.setstate(self._python)
        if self._numpy is not None:
            sys.modules["numpy"].random.set_state(self._numpy)
        if self._buffers is not None:
            self._buffers.put_back()


class Buffers:
    """The buffers of a model (BatchNorm's running figures) that training changes. Most buffers never change (masks, rotary
    tables): all are kept on the host for two steps, and from then on
    those that were seen to change."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._watched = list(model.buffers())
        self._kept: list[tuple[torch.Tensor, torch.Tensor, int]] = []
        self._changed: set[int] = set()
        self._steps = 0

    def keep(self) -> None:
        self._changed |= {id(buffer) for buffer, _, version in self._kept if buffer._version != version}
        if self._steps == 2:
            self._watched = [buffer for buffer in self._watched if id(buffer) in self._changed]
        self._steps += 1
        with torch.no_grad():
            self._kept = [(buffer, buffer.detach().to("cpu", copy=True), buffer._version) for buffer in self._watched]

    def put_back(self) -> None:
        with torch.no_grad():
            for buffer, value, version in self._kept:
                if buffer._version != version:
                    buffer.copy_(value)
