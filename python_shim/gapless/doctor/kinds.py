# SPDX-License-Identifier: Apache-2.0
"""What kind of configuration a mapping is, and which of its keys that kind does not know. The keys are in keys/."""

import dataclasses
import difflib
import functools
import pathlib

_FOLDER = pathlib.Path(__file__).resolve().parent / "keys"


@dataclasses.dataclass(frozen=True)
class Kind:
    name: str  # as rules name it
    title: str
    source: str  # where the keys are from
    keys: frozenset[str]
    gone: dict[str, str]  # keys of older versions: what takes their place


@functools.cache
def kind(name: str) -> Kind:
    title, source, keys, gone = name, "", set(), {}
    for line in (_FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("# title: "):
            title = line.removeprefix("# title: ")
        elif line.startswith("# source: "):
            source = line.removeprefix("# source: ")
        elif line and not line.startswith("#"):
            key, _, instead = line.partition(" -> ")
            if instead:
                gone[key] = instead
            else:
                keys.add(key)
    return Kind(name, title, source, frozenset(keys), gone)


@functools.cache
def all_kinds() -> tuple[Kind, ...]:
    return tuple(kind(path.stem) for path in sorted(_FOLDER.glob("*.txt")))


def recognise(data: dict) -> Kind | None:
    """The kind whose keys it has most of, judged by keys that not all kinds have. None: of none enough to be sure."""
    def score(one: Kind) -> int:
        others = frozenset().union(*(other.keys for other in all_kinds() if other is not one))
        known = [key for key in data if key in one.keys or key in one.gone]
        return 3 * sum(key not in others for key in known) + len(known)

    best = max(all_kinds(), key=score)
    return best if score(best) > 0 and score(best) * 2 >= len(data) else None


@dataclasses.dataclass(frozen=True)
class Unknown:
    key: str
    nearest: str | None
    instead: str | None  # for a key of an older version


def unknown(data: dict, one: Kind) -> list[Unknown]:
    found = []
    for key in data:
        if key in one.gone:
            found.append(Unknown(key, None, one.gone[key]))
        elif key not in one.keys and not key.startswith("_"):
            near = difflib.get_close_matches(key, [*one.keys, *one.gone], 1, 0.75)
            found.append(Unknown(key, near[0] if near else None, None))
    return found
