# SPDX-License-Identifier: Apache-2.0
"""Recorded runs for the tests of gapless fit, and a question whose runs end as they are told."""

import json

import pytest
from gapless.fit import cards, question
from gapless.fit.run import Outcome, Settings
from gapless.fit.steps import Run

MIB = 1 << 20


class Recording:
    """A run as the observer writes it: weights, then steps of forward, backward and optimizer."""

    def __init__(self):
        self.events, self.marks, self.owners, self.blocks, self.steps = [], [], {}, 0, 0

    def make(self, size, owner=None):
        block, self.blocks = self.blocks, self.blocks + 1
        self.events.append([block, size])
        if owner:
            self.owners[str(block)] = owner
        return block

    def free(self, block):
        self.events.append([block, 0])

    def mark(self, kind, **facts):
        allocations = sum(size > 0 for _, size in self.events)
        self.marks.append([allocations, len(self.events) - allocations, kind, facts])

    def step(self, samples, width=16):
        self.mark("forward", grad=True, samples=samples, width=width, trains=True)
        kept = self.make(samples * 3 * MIB)
        self.free(self.make(samples * MIB))
        self.mark("backward")
        gradient = self.make(4 * MIB, "gradients")
        self.free(self.make(samples * 2 * MIB))
        self.free(kept)
        self.mark("backward_end")
        self.mark("optimizer")
        if self.steps == 0:
            self.make(8 * MIB, "optimizer")
        self.steps += 1
        self.mark("step", number=self.steps)
        self.free(gradient)

    def evaluate(self, size):
        self.mark("evaluation")
        self.free(self.make(size))

    def run(self, **facts):
        raw = {"events": self.events, "marks": self.marks, "owners": self.owners, "ooms": [], "reserved_peak": 100 * MIB,
               "facts": {"trainer": False, "loader": True, "batch": 4, "arguments": {}, "lengths": None, **facts}, "reads": [],
               "accumulation": 1, "evaluations": 1, "steps": self.steps, "optimizers": ["AdamW"],
               "models": {"trained": MIB, "trained_bytes": 4 * MIB, "frozen": 0, "frozen_bytes": 0, "dtypes": {}, "linear": [[256, 256]],
                          "checkpointing": False}}
        return Run(json.loads(json.dumps(raw)))


@pytest.fixture
def recorded():
    one = Recording()
    one.make(4 * MIB, "weights")
    for samples in (4, 4, 4, 2, 8):
        one.step(samples)
    one.evaluate(10 * MIB)
    one.step(4)
    return one.run()


def answer(recorded, verdict="does not fit"):
    card = cards.find("40MiB")
    found = question.Answer(verdict, "because", card, "gapless", Outcome(recorded, card, True, 1.0), question._needed(recorded), 4, 2)
    found.largest, found.largest_from, found.forecast, found.confidence = 3, "verified", {1: 30 * MIB, 2: 33 * MIB, 4: 36 * MIB}, 0.9
    found.evaluation = recorded.peak(phase="evaluation")
    return found


class Scripted(question.Asker):
    """Runs that end as they are told."""

    def __init__(self, *outcomes, room="40MiB"):
        super().__init__(Settings(("python", "t.py")), cards.find(room))
        self.outcomes, self.asked = list(outcomes), []

    def run(self, card, plan, what, command=None):
        self.runs += 1
        self.asked.append(plan)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def outcome(run, fits=True):
    return Outcome(run, cards.find("40MiB"), fits, 1.0)


def steps_of(*samples):
    one = Recording()
    one.make(4 * MIB, "weights")
    for size in samples:
        one.step(size)
    return one.run()


READ = {"file": "t.py", "line": 7, "function": "main", "what": "item", "shape": False, "dtype": "torch.int64", "count": 1, "inside": None, "step": 0}
