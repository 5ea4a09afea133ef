# SPDX-License-Identifier: Apache-2.0
"""How long the examples of a data set are, and which are the longest. Reading stops after a few seconds: then it is a part."""

import collections
import dataclasses
import random
import time

_SECONDS = 5.0
_KEEP = 4096  # of the longest


@dataclasses.dataclass
class Lengths:
    examples: int  # that were read
    of: int  # that there are
    least: int
    most: int
    longest: list[int]  # indices, the longest first


_found: dict[int, "Lengths | None"] = {}


def _length(value) -> int:
    """Of one example: its longest sequence. 0: it has none, an image say."""
    if isinstance(value, dict) or hasattr(value, "items"):
        return max((_length(one) for one in value.values()), default=0)
    if isinstance(value, (tuple,)):
        return max((_length(one) for one in value), default=0)
    shape = getattr(value, "shape", None)
    if shape is not None:
        return int(shape[0]) if len(shape) == 1 else 0
    if isinstance(value, list) and value and isinstance(value[0], (int, float)):
        return len(value)
    return 0


def of(dataset, observer) -> Lengths | None:
    if id(dataset) in _found:
        return _found[id(dataset)]
    state, until, lengths = random.getstate(), time.monotonic() + _SECONDS, []
    try:
        for index in range(len(dataset)):
            lengths.append(_length(dataset[index]))
            if time.monotonic() > until:
                break
    except Exception:  # a data set that cannot be read by numbers after all
        lengths = []
    random.setstate(state)
    result = None
    if lengths and max(lengths) > 0:
        order = sorted(range(len(lengths)), key=lambda index: -lengths[index])[:_KEEP]
        result = Lengths(len(lengths), len(dataset), min(lengths), max(lengths), order)
        if observer.facts["lengths"] is None:
            observer.facts["lengths"] = {"read": len(lengths), "of": len(dataset), "least": min(lengths), "most": max(lengths),
                                         "counts": sorted(collections.Counter(lengths).items())}
    _found[id(dataset)] = result
    return result


def _mapped(value, change):
    if isinstance(value, dict):
        return {key: _mapped(one, change) for key, one in value.items()}
    if isinstance(value, tuple):
        return tuple(_mapped(one, change) for one in value)
    is_list = isinstance(value, list) and value and isinstance(value[0], (int, float))
    is_tensor = len(getattr(value, "shape", ())) == 1
    return change(value) if is_list or is_tensor else value


def stretched(example, length: int):
    """The example with each of its sequences of its own length made `length` long, by repeating it."""
    own = _length(example)

    def change(value):
        if len(value) != own or own == 0:
            return value
        times = -(-length // own)
        return (value * times if isinstance(value, list) else value.repeat(times))[:length]

    return _mapped(example, change)


def shortened(example, length: int):
    """The example with its sequences cut to `length`."""
    return _mapped(example, lambda value: value[:length])
