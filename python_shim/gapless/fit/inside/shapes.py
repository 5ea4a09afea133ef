# SPDX-License-Identifier: Apache-2.0
"""How large a batch is: samples and width."""


def _tensors(value, depth: int = 0):
    shape = getattr(value, "shape", None)
    if shape is not None and hasattr(value, "dtype"):
        yield value
    elif depth < 4:
        if isinstance(value, dict) or hasattr(value, "items"):
            for one in value.values():
                yield from _tensors(one, depth + 1)
        elif isinstance(value, (list, tuple)):
            for one in value:
                yield from _tensors(one, depth + 1)


def of(batch) -> tuple[int, int]:
    """(samples, elements of a sample along dimension 1 where tensors are two-dimensional, else 1); (0, 0): no tensor in it.
    Of the widest of its tensors."""
    samples, width = 0, 0
    for one in _tensors(batch):
        if len(one.shape) == 0:
            continue
        samples = max(samples, int(one.shape[0]))
        width = max(width, int(one.shape[1]) if len(one.shape) == 2 else 1)
    return samples, width
