# SPDX-License-Identifier: Apache-2.0
"""How many samples a micro-batch may have: what was tried, and what gapless forecasts."""

import collections
import itertools
import math

from . import _device

_numbers: collections.defaultdict[str, itertools.count] = collections.defaultdict(lambda: itertools.count(1))


def own_label(kind: str) -> str:
    """`kind`, then "kind 2", ...: two models in one process must not be evidence for each other."""
    number = next(_numbers[kind])
    return kind if number == 1 else f"{kind} {number}"


def even(samples: int, most: int) -> int:
    """The size of the next of as few micro-batches of at most `most` samples as cover `samples`, as even as they can be."""
    return math.ceil(samples / math.ceil(samples / most))


class Sizing:
    """For one kind of step (a label). A sample of this batch has `per_sample` units."""

    def __init__(self, device: "_device.Device | _device.NoDevice", label: str) -> None:
        self.device, self.label = device, label
        self._tried: int | None = None  # units that worked after a failure, where there is no forecast
        self._clean = 0

    def begin(self, samples: int, per_sample: float, label: str | None = None) -> int:
        """Marks the step and says how many of its samples should be tried at once."""
        self.device.mark_step(label or self.label, round(samples * per_sample))
        size = samples
        prediction = self.device.forecast(round(size * per_sample))
        if prediction is not None:
            said = prediction.suggestion
            fits = prediction.peak <= prediction.available
            if said.proven_fails and size * per_sample >= said.proven_fails:
                fits = False
            if not fits and said.units:
                size = max(1, min(size, int(said.units / per_sample)))
        elif self._tried is not None:
            size = max(1, min(size, int(self._tried / per_sample)))
        return size

    def worked(self, size: int, per_sample: float) -> None:
        """A whole step ran. Without a forecast the size doubles again after a while: a spike is not for ever."""
        if self._tried is None:
            return
        self._clean += 1
        if self._clean >= 16:
            self._tried, self._clean = 2 * self._tried, 0

    def failed(self, size: int, per_sample: float, record: dict | None) -> int:
        """`size` samples were too many; how many to try instead. `record`: of the failure, if gapless has one."""
        said = record["suggestion"]["units"] if record is not None and record["verdict"] != "injected" else 0
        # A rehearsed failure, or none of gapless's: nothing is known but that it failed.
        smaller = int(said / per_sample) if said else size // 2
        smaller = max(1, min(smaller, size - 1))
        self._tried, self._clean = round(smaller * per_sample), 0
        return smaller
