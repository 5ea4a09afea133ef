# SPDX-License-Identifier: Apache-2.0
"""What elastic steps assume of a batch unless told otherwise: nested dicts, lists and tuples of tensors with the samples in
dimension 0."""

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
    """Samples `start` to `stop`. Views: nothing is copied."""
    if isinstance(batch, torch.Tensor):
        return batch[start:stop] if batch.dim() > 0 else batch
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(split(value, start, stop) for value in batch))
    if isinstance(batch, (list, tuple)):
        return type(batch)(split(value, start, stop) for value in batch)
    if isinstance(batch, dict):
        return {key: split(value, start, stop) for key, value in batch.items()}
    if hasattr(batch, "items"):  # transformers' BatchEncoding
        return type(batch)({key: split(value, start, stop) for key, value in batch.items()})
    return batch


def join(results: list, counts: list[int]):
    """The result of a batch, from those of its pieces of `counts` samples: what has one entry a sample follows one another, numbers
    are averaged over the samples, the rest is the first piece's."""
    first = results[0]
    if len(results) == 1:
        return first
    if isinstance(first, dict):
        return type(first)({key: join([one[key] for one in results], counts) for key in first})
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
