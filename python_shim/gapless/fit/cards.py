# SPDX-License-Identifier: Apache-2.0
"""Cards by name, and sizes. The table is cards.tsv."""

import dataclasses
import difflib
import functools
import pathlib
import re

from .steps import GIB

_UNITS = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


@dataclasses.dataclass(frozen=True)
class Card:
    """What a process can have of a card."""

    name: str
    capacity: int  # bytes, as PyTorch says
    context: int  # bytes that CUDA's context takes of it
    capability: tuple[int, int] | None  # None: a size, of no known card
    source: str = ""

    @property
    def usable(self) -> int:
        """Bytes that PyTorch's allocator can have."""
        return self.capacity - self.context


@functools.cache
def table() -> dict[str, Card]:
    """All names, the other ones too."""
    found = {}
    for line in (pathlib.Path(__file__).resolve().parent / "cards.tsv").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        name, others, capacity, context, capability, source = line.split("\t")
        major, minor = capability.split(".")
        card = Card(name, int(float(capacity) * GIB), int(float(context) * GIB), (int(major), int(minor)), source)
        found |= dict.fromkeys([name, *others.split()], card)
    return found


def find(text: str) -> Card:
    """A card by name, or a size ("24GiB": that much for the allocator). ValueError with the nearest name."""
    key = text.strip().lower().replace(" ", "-").replace("_", "-").removeprefix("nvidia-")
    if card := table().get(key):
        return card
    if size := re.fullmatch(r"(\d+(?:\.\d+)?)(?:([kmgt])i?b?|b)", key):
        return Card(text.strip(), int(float(size[1]) * _UNITS[size[2] or "b"]), 0, None)
    near = difflib.get_close_matches(key, table(), 1, 0.5)
    names = ", ".join(dict.fromkeys(card.name for card in table().values()))
    raise ValueError(f"'{text}' is no size such as 24GiB and no card of the table" + (f"; nearest: {near[0]}" if near else "")
                     + f" (known: {names})")
