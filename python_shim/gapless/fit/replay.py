# SPDX-License-Identifier: Apache-2.0
"""The project's forecast, asked about recorded steps: main() with the files QUESTION and ANSWER, on a simulated device.

The steps are played to a gapless of their own, which learns from them as from a running program; PyTorch is not needed.
QUESTION: {"steps": [as Run.to_replay gives them, of two sizes], "peaks": [units, ...], "rooms": [[bytes, with a reserve], ...]}
ANSWER: {"peaks": {units: bytes}, "most": [the largest units that fit each room], "confidence": 0 .. 1}
"""

import ctypes
import json
import pathlib
import sys

from .. import _device, _libraries
from .._abi import OK, raise_for

_MOST_UNITS = 1 << 22


def unusable(room: int) -> int:
    """Of `room` bytes that a step may add, those that will lie unusable between blocks: as unusable() of src/learn/evidence.cpp."""
    return min(room // 64, 16 << 20)


class Player:
    def __init__(self) -> None:
        self._core = _device._prototypes()
        self._core.gapless_allocate.argtypes = [ctypes.c_void_p, ctypes.c_int32, ctypes.c_void_p, ctypes.c_size_t,
                                                ctypes.POINTER(ctypes.c_void_p)]
        self._core.gapless_deallocate.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
        allocator = ctypes.c_void_p()
        status = self._core.gapless_open(None, ctypes.byref(allocator))
        if status != OK:
            raise_for(self._core, status, "open")
        self._allocator = allocator
        self.device = _device.Device(self._core, allocator.value, 0)
        self._held: dict[int, int] = {}

    def _allocate(self, block: int, size: int) -> None:
        out = ctypes.c_void_p()
        status = self._core.gapless_allocate(self._allocator, 0, None, size, ctypes.byref(out))
        if status != OK:
            raise_for(self._core, status, "allocate")
        self._held[block] = out.value

    def _free(self, block: int) -> None:
        if (address := self._held.pop(block, None)) is not None:
            self._core.gapless_deallocate(self._allocator, address)

    def begin(self, step: dict) -> None:
        """What was there before the step, then the step's beginning."""
        for block, size in step["older"]:
            self._allocate(block, size)
        self.device.mark_step("fit", step["units"])

    def play(self, step: dict) -> None:
        self.begin(step)
        phases = dict((place, name) for place, name in step["phases"])
        for place, (block, size) in enumerate(step["events"]):
            if place in phases:
                self.device.mark_phase(phases[place])
            if size:
                self._allocate(block, size)
            else:
                self._free(block)
        self.device.mark_step("between", 0)
        self.clear()

    def clear(self) -> None:
        for block in list(self._held):
            self._free(block)


def answer(question: dict) -> dict:
    player = Player()
    steps = sorted(question["steps"], key=lambda step: step["units"])
    for step in steps:
        player.play(step)
    player.begin(steps[-1])
    base = sum(size for _, size in steps[-1]["older"])

    def peak(units: int) -> int:
        found = player.device.forecast(units)
        if found is None:
            raise RuntimeError("the steps taught nothing")
        return found.peak

    def most(room: int, reserve: bool) -> int:
        usable = room - (unusable(max(0, room - base)) if reserve else 0)
        low, high = 0, 1
        while high < _MOST_UNITS and peak(high) <= usable:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if peak(middle) <= usable else (low, middle)
        return low

    found = {"peaks": {str(units): peak(units) for units in question["peaks"]},
             "most": [most(room, reserve) for room, reserve in question["rooms"]],
             "confidence": player.device.forecast(steps[-1]["units"]).suggestion.confidence}
    player.clear()
    return found


def main() -> int:
    question = json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
    _libraries.core()
    pathlib.Path(sys.argv[2]).write_text(json.dumps(answer(question)), encoding="utf-8")
    return 0

