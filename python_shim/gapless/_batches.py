# SPDX-License-Identifier: Apache-2.0
"""What elastic steps assume of a batch unless told otherwise: nested dicts, lists and tuples of tensors with the samples in
dimension 0."""

import collections.abc
import copy

import torch


def tensors(batch):
    """All tensors of the batch, depth first."""
    if isinstance(batch, torch.Tensor):
        yield batch
    elif isinstance(batch, dict) or hasattr(batch, "items"):
        for _, value in batch.items():
            yield from tensors(value)
    elif isinstance(batch, (list, tuple)):
        for value in batch:
            yield from tensors(value)


def samples(batch) -> int:
    """The number of samples. ValueError when tensors disagree: then `split` and `samples` must be given."""
    counts = {tensor.shape[0] for tensor in tensors(batch) if tensor.dim() > 0}
    if len(counts) != 1:
        raise ValueError(f"the number of samples is not clear: the batch's tensors have {sorted(counts)} in dimension 0; "
                         "give samples= and split=")
    return counts.pop()


def split(batch, start: int, stop: int):
    """Samples `start` to `stop`. Views: no tensor is copied. Lists and arrays of other things with as many entries as there are
    samples (texts, names) have one for each."""
    try:
        count = samples(batch)
    except ValueError:
        count = -1  # the caller's samples= said it; which lists have one entry for each nobody says
    return _split(batch, start, stop, count)


def _split(batch, start: int, stop: int, count: int):
    if isinstance(batch, torch.Tensor):
        return batch[start:stop] if batch.dim() > 0 else batch
    if _one_each(batch, count):
        return batch[start:stop]
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(_split(value, start, stop, count) for value in batch))
    if isinstance(batch, (list, tuple)):
        return type(batch)(_split(value, start, stop, count) for value in batch)
    if isinstance(batch, dict) or hasattr(batch, "items"):  # transformers' BatchEncoding has them too
        parts = {key: _split(value, start, stop, count) for key, value in batch.items()}
        return parts if type(batch) is dict else _like(batch, parts)
    return batch


def _one_each(value, count: int) -> bool:
    """Whether something without tensors has one entry for each of `count` samples."""
    if getattr(value, "shape", None) is not None:  # NumPy's
        return len(value.shape) > 0 and value.shape[0] == count
    if not isinstance(value, (list, tuple)) or hasattr(value, "_fields") or len(value) != count:
        return False
    # Fields of several entries are collated into lists of which each has one entry a sample.
    return next(tensors(value), None) is None and not all(_one_each(one, count) for one in value)


def _like(batch, parts: dict):
    """A mapping of the batch's kind. Some are made in a way of their own (defaultdict)."""
    try:
        return type(batch)(parts)
    except TypeError:
        like = copy.copy(batch)
        like.update(parts)
        return like


def join(results: list, counts: list[int]):
    """The result of a batch, from those of its pieces of `counts` samples: what has one entry a sample follows one another, numbers
    are averaged over the samples, the rest is the first piece's."""
    first = results[0]
    if len(results) == 1:
        return first
    if isinstance(first, collections.abc.Mapping):
        parts = {key: join([one[key] for one in results], counts) for key in first}
        return parts if type(first) is dict else _like(first, parts)
    if isinstance(first, torch.Tensor) and first.dim() == 0:
        if not first.is_floating_point():
            return first
        return sum(one * (count / sum(counts)) for one, count in zip(results, counts, strict=True))
    entries = [isinstance(one, (torch.Tensor, list)) and len(one) == count for one, count in zip(results, counts, strict=True)]
    if all(entries):
        return torch.cat(results) if isinstance(first, torch.Tensor) else [entry for one in results for entry in one]
    if isinstance(first, (list, tuple)):
        parts = [join(list(one), counts) for one in zip(*results, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts)
    if isinstance(first, float):
        return sum(one * count for one, count in zip(results, counts, strict=True)) / sum(counts)
    return first


def units(batch) -> int:
    """Tokens, padding included, where the batch has a two-dimensional integer tensor (token ids); samples otherwise."""
    for tensor in tensors(batch):
        if tensor.dim() == 2 and not tensor.is_floating_point() and not tensor.is_complex():
            return tensor.numel()
    return samples(batch)


def tokens(batch, ignore: int = -100) -> int:
    """Labels that count in the loss of a causal language model: those not `ignore`, the first of each row left out, as it
    predicts nothing. Waits for the device when the labels are there."""
    labels = batch["labels"]
    return int((labels[..., 1:] != ignore).sum())
