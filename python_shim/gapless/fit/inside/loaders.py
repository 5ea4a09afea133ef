# SPDX-License-Identifier: Apache-2.0
"""torch.utils.data.DataLoader, with batches of the sizes that the plan asks for, the longest examples in one of them, and epochs
that end when enough has been seen. Loaders over iterable data sets are only cut."""

from . import lengths as scan
from . import shapes

_EVALUATION_BATCHES = 2
# Batches that may be fetched before the first of them is trained with: accelerate keeps one ahead.
_AHEAD = 2
# Larger than the script's own. The two largest are near each other: kernels have thresholds, and a forecast for larger ones needs two
# sizes that are beyond the same of them. (That of sums over rows the forecast knows; others it does not.)
_TIMES = {"double": 2, "triple": 3, "quadruple": 4}
_ITERABLE = 1  # torch.utils.data.dataloader._DatasetKind


def install(observer) -> None:
    from . import imports

    imports.when_imported("torch.utils.data.dataloader", lambda module: _install(module.DataLoader, observer))


def _install(loader_type, observer) -> None:
    original = loader_type.__iter__

    def iterate(loader):
        if observer.done or not observer.plan.get("control", True):
            return original(loader)
        return _Batches(loader, original, observer)

    loader_type.__iter__ = iterate


class _Batches:
    """The iterator of one epoch."""

    def __init__(self, loader, original, observer) -> None:
        self._loader, self._observer = loader, observer
        self._given = 0
        self._evaluation = observer.evaluating()
        self._backwards = observer.backwards
        sampler = getattr(loader, "batch_sampler", None)
        # accelerate gives its loaders a sampler of batches instead of a size.
        size = getattr(loader, "batch_size", None) or getattr(sampler, "batch_size", None)
        # A data set that is iterated over has a __getitem__ of its base class, which raises, and a sampler that gives nothing.
        self._ours = sampler is not None and isinstance(size, int) and hasattr(loader.dataset, "__getitem__") \
            and hasattr(loader.dataset, "__len__") and getattr(loader, "_dataset_kind", 0) != _ITERABLE
        if self._ours:
            self._indices = iter(sampler)
            self._left: list[int] = []
            self._size = size
            if not self._evaluation and observer.facts.get("batch") is None:
                observer.facts |= {"loader": True, "batch": self._size, "examples": len(loader.dataset)}
            if observer.backwards == 0:
                # Passes over the data before training, for a mean say, take no part in the plan.
                observer.facts["fetched"] = 0
            if self._evaluation:
                observer.facts.setdefault("evaluation_batch", self._size)
        else:
            self._inner = original(loader)

    def __iter__(self):
        return self

    def __len__(self) -> int:
        return len(self._loader)

    def __getattr__(self, name):
        if name == "_inner":  # a loader of ours has none
            raise AttributeError(name)
        return getattr(self._inner, name)

    # ---- one batch

    def __next__(self):
        if self._ends():
            raise StopIteration
        self._given += 1
        batch = self._make() if self._ours else next(self._inner)
        samples, width = shapes.of(batch)
        self._observer.saw_batch(samples, width, self._evaluation)
        return batch

    def _ends(self) -> bool:
        observer = self._observer
        if observer.facts["trainer"] and not self._evaluation:
            return False  # it counts its own steps; evaluation is asked for by its callback
        if self._evaluation or (observer.steps and observer.evaluating()):
            self._evaluation = True
            return self._given >= _EVALUATION_BATCHES
        if observer.evaluated_at is None and observer.steps >= observer.planned and not observer.facts.get("cut"):
            observer.facts["cut"] = True
            return True
        return False

    def _make(self):
        observer, plan = self._observer, self._observer.plan
        size, longest = self._size, False
        if self._evaluation:
            longest = self._given == 1
        else:
            # Batches are fetched ahead of their step, so it is their number that says which step they are for.
            fetched = observer.facts["fetched"] = observer.facts.get("fetched", 0) + 1
            step = (fetched - 1) // observer.accumulation if observer.accumulation else 0
            wanted = plan["sizes"][step] if step < len(plan["sizes"]) else "own"
            # What a forecast is made from must differ in nothing but its size.
            longest = wanted != "own"
            size = self._number(wanted)
        if longest and (samples := self._longest(size)):
            return self._collate(samples)
        return self._collate([self._loader.dataset[index] for index in self._take(size)])

    def _number(self, wanted) -> int:
        """A size of the plan: a number, "own", or one of those that a forecast is made from."""
        if isinstance(wanted, int):
            return wanted
        own = self._size if self._observer.plan.get("batch") is None else self._observer.plan["batch"]
        if wanted == "small":
            return max(2, own // 2)
        if wanted == "large":
            return max(3, own)
        return _TIMES[wanted] * max(2, own) if wanted in _TIMES else own

    def _take(self, count: int) -> list[int]:
        again = False
        while len(self._left) < count:
            batch = next(self._indices, None)
            if batch is not None:
                self._left += list(batch)
                again = False
            elif again or self._evaluation or self._observer.steps >= self._observer.planned or not self._trains():
                if not self._left:
                    raise StopIteration
                count = len(self._left)
            else:
                # A data set too small for what is to be seen: its examples again.
                self._indices, again = iter(self._loader.batch_sampler), True
        taken, self._left = self._left[:count], self._left[count:]
        return taken

    def _trains(self) -> bool:
        """Whether this is, or may be, a pass of training: it goes on when the data ends, others would never end."""
        return self._observer.backwards > self._backwards or self._given <= _AHEAD

    def _longest(self, count: int) -> list | None:
        found = scan.of(self._loader.dataset, self._observer)
        if found is None or (found.least == found.most and not self._observer.plan.get("max_len")):
            return None
        chosen = [self._loader.dataset[index] for index in found.longest[:count]]
        chosen = (chosen * count)[:count]
        if most := self._observer.plan.get("max_len"):
            chosen = [scan.stretched(one, most) for one in chosen]
        return chosen

    def _collate(self, samples: list):
        if most := self._observer.plan.get("truncate"):
            samples = [scan.shortened(one, most) for one in samples]
        return self._loader.collate_fn(samples)
