# SPDX-License-Identifier: Apache-2.0
"""A recorded run as phases and steps: where its memory peaks, and what is in each peak."""

import bisect
import dataclasses

CATEGORIES = ("weights", "gradients", "optimizer", "activations", "workspaces", "other")
TITLES = {"weights": "weights and buffers", "gradients": "gradients", "optimizer": "optimizer state", "activations": "activations",
          "workspaces": "workspaces, temporaries", "other": "batches and other"}

GIB = 1 << 30


def gib(size: float) -> str:
    """Bytes for a reader."""
    return f"{size / GIB:,.2f} GiB" if size >= GIB else f"{size / (1 << 20):,.1f} MiB"


@dataclasses.dataclass(frozen=True)
class Phase:
    name: str  # start, data, forward, backward, optimizer, evaluation
    begin: int  # the first event in it
    end: int  # the first event after it
    step: int  # optimizer steps done when it began


@dataclasses.dataclass(frozen=True)
class Peak:
    bytes: int
    at: int  # the event
    phase: str
    step: int  # counted from 1: the optimizer step under way
    parts: dict[str, int]  # by category


@dataclasses.dataclass(frozen=True)
class Step:
    number: int  # from 1
    begin: int
    end: int
    samples: int  # of a micro-batch, as its loader counts them; 0: not known, or not all of one size
    most: int  # samples of its largest micro-batch
    width: int
    micro_batches: int
    evaluates: bool  # an evaluation lies in it
    peak: int


class Run:
    """What the observer wrote."""

    def __init__(self, raw: dict) -> None:
        self.raw = raw
        self.facts: dict = raw["facts"]
        self.sizes: list[int] = []
        self._birth: list[int] = []
        self.death: dict[int, int] = {}
        self.live: list[int] = []  # after each event
        live = 0
        for index, (block, size) in enumerate(raw["events"]):
            if size:
                self.sizes.append(size)
                self._birth.append(index)
                live += size
            else:
                self.death[block] = index
                live -= self.sizes[block]
            self.live.append(live)
        self.owner = {int(block): category for block, category in raw["owners"].items()}
        self.marks = sorted(((min(a + f, len(self.live)), kind, facts) for a, f, kind, facts in raw["marks"]), key=lambda one: one[0])
        self.phases = self._phases()
        self._begins = [phase.begin for phase in self.phases]
        self.steps = self._steps()

    def _phases(self) -> list[Phase]:
        found, begin, name, step, done = [], 0, "start", 0, 0
        for place, kind, facts in self.marks:
            after = {"forward": "forward", "evaluation": "evaluation", "backward": "backward", "backward_end": "data",
                     "optimizer": "optimizer", "step": "data"}.get(kind)
            if kind == "step":
                done = facts["number"]
            # Between batches of an evaluation everything is evaluation.
            if after is None or (name == "evaluation" and after == "data"):
                continue
            if after != name and place >= begin:
                found.append(Phase(name, begin, place, step))
                begin, name, step = place, after, done
        found.append(Phase(name, begin, len(self.live), step))
        return [phase for phase in found if phase.end > phase.begin]

    def phase_at(self, event: int) -> Phase:
        return self.phases[max(0, bisect.bisect_right(self._begins, event) - 1)]

    def _steps(self) -> list[Step]:
        found, begin, times = [], 0, self._samples_of_one()
        sizes: list[tuple[int, int]] = []  # of the micro-batches of the step
        first, evaluates, backwards = True, False, 0
        for place, kind, facts in self.marks:
            if kind == "forward" and facts["grad"] and facts["trains"]:
                # A model's parts may be called one by one, the later ones with tokens for samples: the first has the batch.
                if first:
                    sizes.append((facts["samples"] // times, facts["width"]))
                first = False
            elif kind == "backward":
                first, backwards = True, backwards + 1
            elif kind == "evaluation":
                first, evaluates = True, True
            elif kind == "step":
                samples, widths = {one for one, _ in sizes}, {one for _, one in sizes}
                found.append(Step(facts["number"], begin, place, max(samples, default=0) if len(samples) == 1 else 0, max(samples, default=0),
                                  max(widths, default=0) if len(widths) == 1 else 0, backwards, evaluates,
                                  max(self.live[begin:place], default=0)))
                begin, sizes, first, evaluates, backwards = place, [], True, False, 0
        return found

    def _samples_of_one(self) -> int:
        """How many samples the model gets for one of the loader: two of a pair, several crops of an image."""
        given = next((facts["samples"] for _, kind, facts in self.marks if kind == "batch" and not facts["evaluation"]), 0)
        came = next((facts["samples"] for _, kind, facts in self.marks if kind == "forward" and facts["grad"] and facts["trains"]), 0)
        return came // given if given and came and came % given == 0 else 1

    # ---- peaks

    def peak(self, begin: int = 0, end: int | None = None, phase: str | None = None) -> Peak | None:
        """The highest point of a part of the run, or of one phase's parts in it. None: there is none."""
        end = len(self.live) if end is None else end
        best = None
        for one in self.phases:
            if phase is not None and one.name != phase:
                continue
            first, last = max(begin, one.begin), min(end, one.end)
            if first >= last:
                continue
            at = max(range(first, last), key=self.live.__getitem__)
            if best is None or self.live[at] > self.live[best]:
                best = at
        if best is None:
            return None
        found = self.phase_at(best)
        return Peak(self.live[best], best, found.name, found.step + 1, self.parts(best))

    def alive(self, at: int) -> list[int]:
        """Blocks that are live after the event."""
        return [block for block, birth in enumerate(self._birth) if birth <= at < self.death.get(block, len(self.live))]

    def parts(self, at: int) -> dict[str, int]:
        """Bytes by category after the event. By owner where there is one, else by when a block lived: what the forward pass made
        and left to the backward pass is an activation, what ends in the phase that it began in is a temporary or a workspace."""
        found = dict.fromkeys(CATEGORIES, 0)
        for block in self.alive(at):
            found[self._category(block)] += self.sizes[block]
        return found

    def _category(self, block: int) -> str:
        if owner := self.owner.get(block):
            return owner
        born = self.phase_at(self._birth[block])
        if born.name in ("start", "data"):
            return "other"
        death = self.death.get(block)
        if death is None:
            # Libraries keep what they work in; the program keeps little for good but what owners have.
            return "workspaces" if born.step == 0 else "other"
        if born.name == "forward" and self.phase_at(death) != born:
            return "activations"
        return "workspaces"

    # ---- steps to learn from

    def to_replay(self, step: Step) -> dict:
        """The step for the learner: sizes that were there, then its events."""
        older = self.alive(step.begin - 1) if step.begin else []
        events = [[block, size] for block, size in self.raw["events"][step.begin:step.end]]
        phases = [[one.begin - step.begin, one.name] for one in self.phases if step.begin <= one.begin < step.end]
        return {"units": step.samples, "older": [[block, self.sizes[block]] for block in older], "events": events, "phases": phases}

    def timeline(self, points: int = 1200) -> list[tuple[int, int]]:
        """(event, live bytes), the highest of each part, for a drawing."""
        width = max(1, len(self.live) // points)
        found = []
        for first in range(0, len(self.live), width):
            at = max(range(first, min(first + width, len(self.live))), key=self.live.__getitem__)
            found.append((at, self.live[at]))
        return found
