# SPDX-License-Identifier: Apache-2.0
"""gapless's own view of a device: PyTorch's statistics and the counters PyTorch has no name for."""

import ctypes

from . import _device
from ._abi import Stat, Stats

_POOLS = ("all", "small_pool", "large_pool")


def stats(device: int | None = None) -> dict[str, int]:
    """The statistics of `device` (default: torch's current one), flat, bytes and counts, in alphabetical order.

    Keys as in torch.cuda.memory_stats ("allocated_bytes.all.peak"), then gapless's own: "hits", "misses",
    "reactivations", "moves", "lends", "wait_edges", "stalls", "pinned_bytes", "dormant_mappings", "idle_bytes",
    "reserved_address_bytes", "large_repeated", "large_kept" (gapless.h says what they count). Empty before CUDA is in use, as PyTorch's are.
    Raises RuntimeError when gapless is not the allocator or does not know the device.
    """
    one = _device.required(device)
    return dict(sorted(_flatten(one.stats()).items())) if one is not None else {}


def _flatten(result: Stats) -> dict[str, int]:
    flat: dict[str, int] = {}
    for name, kind in Stats._fields_:
        value = getattr(result, name)
        if name == "struct_size":
            continue
        if kind is Stat:
            flat.update(_one(name, value))
        elif isinstance(value, ctypes.Array):
            for pool, stat in zip(_POOLS, value, strict=True):
                flat.update(_one(f"{name}.{pool}", stat))
        else:
            flat[name] = value
    return flat


def _one(name: str, stat: Stat) -> dict[str, int]:
    return {f"{name}.{field}": getattr(stat, field) for field, _ in Stat._fields_}
