# SPDX-License-Identifier: Apache-2.0
"""Batches of Hugging Face datasets, padded on the device into buffers whose addresses stay.

Two stages, so that a DataLoader's workers can do the first: PaddingCollator makes a Ragged of lists, which travels between processes and
can be pinned; Ragged.to(device) pads. transformers.Trainer and accelerate call `to` themselves.
"""

import dataclasses

import torch

from . import _constant
from ._constant import SequenceTooLong


@dataclasses.dataclass(frozen=True)
class Rule:
    """How batches are padded; PaddingCollator says what its members mean."""

    pad_id: int = 0
    length: int | None = None
    multiple_of: int | None = None
    left: bool = False
    ignore_index: int = -100
    mask: bool = True
    positions: bool = False
    cu_seqlens: bool = False
    token_labels: bool = False

    def __post_init__(self) -> None:
        for name, value in (("length", self.length), ("multiple_of", self.multiple_of)):
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ValueError(f"{name} is {value!r}: a number of tokens, 1 or more")

    def row(self) -> tuple[int, int]:
        """gapless_pad's rule and its value."""
        if self.length is not None:
            step = self.multiple_of or 1
            return _constant.TO_LENGTH, -(-self.length // step) * step
        return (_constant.TO_MULTIPLE, self.multiple_of) if self.multiple_of else (_constant.TO_LONGEST, 0)

    def outputs(self, labels: bool) -> int:
        """gapless_pad's bits."""
        chosen = ((self.mask, _constant.MASK), (self.positions, _constant.POSITIONS), (labels, _constant.LABELS),
                  (self.cu_seqlens, _constant.CU_SEQLENS))
        return sum(bit for wanted, bit in chosen if wanted)


class Padded(dict):
    """Tensors by name, on a device. The buffers under them are in use as long as one of the tensors is."""

    leases: tuple = ()
    loose: tuple = ()  # tensors with memory of their own

    def pass_to(self, stream: "torch.cuda.Stream") -> "Padded":
        """The batch is read on `stream` from now on, after what the stream it was made on holds now."""
        for lease in self.leases:
            lease.pass_to(stream)
        for tensor in self.loose:
            tensor.record_stream(stream)
        return self


@dataclasses.dataclass
class Ragged:
    """A batch before padding: values one after the other, in host memory."""

    rule: Rule
    lengths: torch.Tensor
    tokens: torch.Tensor
    labels: torch.Tensor | None  # one for each token
    # One value for each token, by name, and what they are padded with; then what has one value for each sequence.
    extra: dict[str, tuple[torch.Tensor, int]]
    plain: dict[str, torch.Tensor]
    # Labels of a length of their own, as of a sequence that is generated.
    target: "Ragged | None" = None

    def pin_memory(self) -> "Ragged":
        """For a DataLoader with pin_memory=True."""
        def pin(tensor):
            return tensor.pin_memory() if tensor is not None else None

        return dataclasses.replace(
            self, tokens=pin(self.tokens), labels=pin(self.labels), extra={name: (pin(values), pad) for name, (values, pad) in self.extra.items()},
            plain={name: pin(values) for name, values in self.plain.items()}, target=self.target.pin_memory() if self.target else None)

    def to(self, device, non_blocking: bool = True) -> Padded:
        """Pads. On a CUDA device whose allocator is gapless: by a kernel on the current stream, into buffers whose addresses stay; elsewhere on
        the host, with the same values. Raises SequenceTooLong."""
        device = torch.device(device)
        pool = None
        if device.type == "cuda":
            pool = _constant.pool(device.index)
        batch = Padded()
        leases = []
        padded = self._pad(pool, self.tokens, self.labels, self.rule, leases)
        names = {"tokens": "input_ids", "mask": "attention_mask", "positions": "position_ids", "labels": "labels", "cu_seqlens": "cu_seqlens"}
        for name, tensor in padded.items():
            batch[names[name]] = tensor
        for name, (values, pad_id) in self.extra.items():
            rule = dataclasses.replace(self.rule, pad_id=pad_id, mask=False, positions=False, cu_seqlens=False, token_labels=False)
            batch[name] = self._pad(pool, values, None, rule, leases)["tokens"]
        if self.target is not None:
            target = self.target
            try:
                batch["labels"] = target._pad(pool, target.tokens, None, target.rule, leases)["tokens"]
            except SequenceTooLong as error:
                error.add_note("these are the labels, which have a length of their own")
                raise
        batch.leases = tuple(leases)
        loose = self.plain if leases else {**batch, **self.plain}
        batch.update({name: tensor.to(device, non_blocking=non_blocking) for name, tensor in loose.items()})
        batch.loose = tuple(batch[name] for name in loose) if device.type == "cuda" else ()
        return batch

    def _pad(self, pool, tokens, labels, rule: Rule, leases: list) -> dict:
        wants_labels = labels is not None or rule.token_labels
        kind, value = rule.row()
        if pool is None:
            return _pad_on_host(tokens, labels, self.lengths, rule, wants_labels)
        made = pool.pad(tokens, self.lengths, labels, kind, value, pad_id=rule.pad_id, ignore_index=rule.ignore_index, left=rule.left,
                        outputs=rule.outputs(wants_labels))
        leases.append(made.pop("lease"))
        return made


def _pad_on_host(tokens, labels, lengths, rule: Rule, wants_labels: bool) -> dict:
    kind, value = rule.row()
    longest = int(lengths.max()) if lengths.numel() else 0
    if kind == _constant.TO_LENGTH:
        if longest > value:
            index = int((lengths > value).nonzero()[0])
            raise SequenceTooLong(index, int(lengths[index]), value)
        width = value
    else:
        width = longest if kind == _constant.TO_LONGEST else -(-longest // value) * value
    begin = width - lengths if rule.left else torch.zeros_like(lengths)
    column = torch.arange(width)
    real = (column >= begin[:, None]) & (column < (begin + lengths)[:, None])

    def fill(values, padding):
        return torch.full(real.shape, padding).masked_scatter_(real, values)

    made = {"tokens": fill(tokens, rule.pad_id)}
    if rule.mask:
        made["mask"] = real.long()
    if rule.positions:
        made["positions"] = ((column - begin[:, None]) * real).long()
    if wants_labels:
        made["labels"] = fill(tokens if labels is None else labels, rule.ignore_index)
    if rule.cu_seqlens:
        made["cu_seqlens"] = torch.nn.functional.pad(lengths.cumsum(0), (1, 0)).int()
    return made


class PaddingCollator:
    """A collate_fn for datasets of dicts ("input_ids" and what a tokenizer gives beside them), in the place of transformers'
    DataCollatorWithPadding, DataCollatorForTokenClassification and DataCollatorForSeq2Seq, and, with `causal`, of
    DataCollatorForLanguageModeling(mlm=False).

    >>> loader = DataLoader(dataset, 32, collate_fn=gapless.PaddingCollator(tokenizer, multiple_of=64))
    >>> for batch in loader:
    ...     loss = model(**batch.to("cuda")).loss

    tokenizer     says the pad id, the side and the pad of token types; without one, `pad_id` and `left` do.
    length        rows have this length (rounded up to `multiple_of`, if given); a longer sequence is a SequenceTooLong.
    multiple_of   rows have the longest sequence's length, rounded up to a multiple; with neither, the longest sequence's.
    causal        labels are the tokens. Only padding is ignored in the loss: an end-of-sequence token that serves as the pad token too
                  keeps its label, unlike with DataCollatorForLanguageModeling.
    positions     also "position_ids"; cu_seqlens: also "cu_seqlens" (32 bits).

    "labels" with a value for each token are padded with `ignore_index`, one for each sequence ("label", "label_ids") becomes a vector,
    and lists of another length than the tokens' are padded as rows of their own. Other lists of numbers with a value for each token are
    padded with 0 ("special_tokens_mask" with 1), other numbers become vectors.
    """

    def __init__(self, tokenizer=None, *, pad_id: int | None = None, length: int | None = None, multiple_of: int | None = None,
                 left: bool | None = None, causal: bool = False, ignore_index: int = -100, attention_mask: bool = True,
                 positions: bool = False, cu_seqlens: bool = False) -> None:
        if pad_id is None:
            pad_id = getattr(tokenizer, "pad_token_id", None)
        if pad_id is None:
            raise ValueError("no pad id: the tokenizer has no pad token; set tokenizer.pad_token or give pad_id=")
        if left is None:
            left = getattr(tokenizer, "padding_side", "right") == "left"
        self.rule = Rule(pad_id, length, multiple_of, left, ignore_index, attention_mask, positions, cu_seqlens, causal)
        self._pads = {"token_type_ids": getattr(tokenizer, "pad_token_type_id", 0), "special_tokens_mask": 1}

    def __call__(self, features: list[dict]) -> Ragged:
        rows = [_numbers(feature["input_ids"]) for feature in features]
        lengths = [len(row) for row in rows]
        rule, labels, extra, plain, target = self.rule, None, {}, {}, None
        for name in features[0] if features else ():
            if name == "input_ids":
                continue
            without = [index for index, feature in enumerate(features) if name not in feature]
            if without:
                raise ValueError(f"sequence {without[0]} of the batch has no {name!r}, others have")
            values = [feature[name] for feature in features]
            lists = [_numbers(value) for value in values] if _is_list(values[0]) else None
            if lists is None:
                if not isinstance(values[0], (bool, int, float, torch.Tensor)) and not hasattr(values[0], "dtype"):
                    raise ValueError(f"the feature {name!r} is neither a number nor a list of numbers ({type(values[0]).__name__}): remove the column")
                plain["labels" if name in ("label", "label_ids") else name] = torch.as_tensor(
                    [value.item() if hasattr(value, "item") else value for value in values])
            elif name in ("labels", "label", "label_ids"):
                if [len(one) for one in lists] == lengths:
                    labels = _flat(lists, name)
                else:
                    target = self._target(lists)
            elif [len(one) for one in lists] != lengths:
                raise ValueError(f"the feature {name!r} has not one value for each token: only labels may")
            elif name == "attention_mask":
                # All ones is what the kernel writes; a mask with holes is data.
                if rule.mask and any(0 in one for one in lists):
                    rule, extra[name] = dataclasses.replace(rule, mask=False), (_flat(lists, name), 0)
            elif name == "position_ids" and rule.positions:
                continue
            else:
                extra[name] = (_flat(lists, name), self._pads.get(name, 0))
        return Ragged(rule, torch.tensor(lengths, dtype=torch.int64), _flat(rows, "input_ids"), labels, extra, plain, target)

    def _target(self, lists: list[list]) -> Ragged:
        rule = dataclasses.replace(self.rule, pad_id=self.rule.ignore_index, mask=False, positions=False, cu_seqlens=False,
                                   token_labels=False)
        return Ragged(rule, torch.tensor([len(one) for one in lists], dtype=torch.int64), _flat(lists, "labels"), None, {}, {})

    def reserve(self, batch_size: int, longest: int | None = None, *, labels: bool | None = None, device: int | None = None) -> None:
        """Makes the buffers for batches of `batch_size` rows ahead, so that the first step makes none. `longest`: of the sequences; not
        needed with a fixed length. `labels`: whether the dataset has labels for each token. Does nothing where gapless is not the
        allocator."""
        pool = _constant.pool(device)
        if pool is None:
            return
        kind, value = self.rule.row()
        if longest is None and kind != _constant.TO_LENGTH:
            raise ValueError("give longest=, as the rows have no fixed length")
        own = bool(labels) and not self.rule.token_labels
        pool.reserve(batch_size, longest or 0, kind, value, own_labels=own, outputs=self.rule.outputs(own or self.rule.token_labels))


def prefetch(loader, device="cuda"):
    """Yields the batches of `loader` (Raggeds) padded on a stream of their own, one ahead, so that copying and padding one overlaps
    the step on the one before. Each comes to the stream that is current when it is asked for. On the CPU they are padded one by one."""
    device = torch.device(device)
    if device.type != "cuda":
        yield from (_ragged(batch).to(device) for batch in loader)
        return
    stream = torch.cuda.Stream(device)
    ahead = None
    for ragged in map(_ragged, loader):
        with torch.cuda.stream(stream):
            following = ragged.to(device)
        if ahead is not None:
            yield _receive(ahead, stream)
        ahead = following
        del following
    if ahead is not None:
        yield _receive(ahead, stream)


def _ragged(batch) -> Ragged:
    if not isinstance(batch, Ragged):
        raise TypeError(f"the loader gives {type(batch).__name__}, not what PaddingCollator makes: give it as collate_fn")
    return batch


def _receive(batch: Padded, stream: "torch.cuda.Stream") -> Padded:
    current = torch.cuda.current_stream(stream.device)
    # For what is not in a leased buffer; passing the leases orders the rest.
    current.wait_stream(stream)
    return batch.pass_to(current)


def constant_stats(device: int | None = None) -> dict[str, int]:
    """Of the device's constant buffers: "classes", "buffers", "bytes", "leased", "acquired", "moved" (gapless_constant_stats). Empty where
    gapless is not the allocator."""
    pool = _constant.pool(device)
    return pool.stats() if pool is not None else {}


def _is_list(value) -> bool:
    return isinstance(value, (list, tuple)) or getattr(value, "ndim", 0) > 0


def _numbers(value) -> list:
    return value.tolist() if hasattr(value, "tolist") else list(value)


def _flat(rows: list[list], name: str) -> torch.Tensor:
    """The values of a feature one after the other. Raises ValueError for what padding would change: fractions, and lists in lists."""
    values = [value for row in rows for value in row]
    flat = torch.tensor(values) if values else torch.empty(0, dtype=torch.int64)
    if flat.ndim != 1 or flat.is_floating_point() or flat.is_complex():
        raise ValueError(f"the feature {name!r} has values that are not whole numbers, one for each token: remove the column, or use "
                         "transformers' own collator")
    return flat.to(torch.int64)
