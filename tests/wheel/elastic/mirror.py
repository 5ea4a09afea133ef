# SPDX-License-Identifier: Apache-2.0
"""Real arithmetic with the memory of a device: each tensor that the CPU makes has a block of its size on the simulated device."""

import functools

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves


def on_host(function):
    """What `function` computes stays on the host, as it does in real loops: batches, random states, copies of buffers."""

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        with _disable_current_modes():
            return function(*args, **kwargs)

    return wrapped


class Mirror(TorchDispatchMode):
    """While active, results of operations live on the simulated device too, as long as their storage lives."""

    def __init__(self):
        super().__init__()
        self._blocks = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.sweep()
        known = {leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)}
        for leaf in tree_leaves(result):
            if not isinstance(leaf, torch.Tensor) or leaf.device.type != "cpu":
                continue
            storage = leaf.untyped_storage()
            if storage.nbytes() == 0 or storage._cdata in known or storage._cdata in self._blocks:
                continue
            block = torch.empty(storage.nbytes(), dtype=torch.uint8, device="cuda")
            self._blocks[storage._cdata] = (StorageWeakRef(storage), block)
        return result

    def sweep(self):
        dead = [key for key, (storage, _) in self._blocks.items() if storage.expired()]
        for key in dead:
            del self._blocks[key]

    def live_blocks(self):
        self.sweep()
        return len(self._blocks)
