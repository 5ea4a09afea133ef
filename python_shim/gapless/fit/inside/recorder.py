# SPDX-License-Identifier: Apache-2.0
"""What the device memory did: every allocation and release, and marks between them. Kept by PyTorch's own history."""

import os

import torch

from . import owners

_MOST_EVENTS = 4_000_000


class Recorder:
    """Marks are places in the sequence of allocations and releases: (allocations so far, releases so far)."""

    def __init__(self) -> None:
        self.marks: list[list] = []  # [allocations, releases, kind, facts]
        self.owners: list[list] = []  # [allocations, releases, {address: category}] where owners of blocks were looked up
        self.ooms: list[dict] = []
        self.things = owners.Things()
        self.started = False
        self.on_oom = lambda: None
        self._begin = (0, 0)

    def start(self) -> None:
        """When CUDA starts."""
        torch.cuda.memory._record_memory_history(enabled="all", context=None, stacks="python", max_entries=_MOST_EVENTS)
        torch._C._cuda_attach_out_of_memory_observer(self._oom)
        self.started = True
        self._begin = self._place()

    def _place(self) -> tuple[int, int]:
        stats = torch._C._cuda_memoryStats(torch.cuda.current_device())["allocation"]["all"]
        return stats["allocated"], stats["freed"]

    def mark(self, kind: str, **facts) -> None:
        if self.started:
            allocated, freed = self._place()
            self.marks.append([allocated - self._begin[0], freed - self._begin[1], kind, facts])

    def reserved(self) -> int:
        """The most bytes that the allocator had from the device until now."""
        return torch.cuda.max_memory_reserved() if self.started else 0

    def _oom(self, device, wanted, total, free) -> None:
        self.ooms.append({"device": device, "wanted": wanted, "total": total, "free": free,
                          "live": torch.cuda.memory_allocated(device)})
        self.mark("oom", wanted=wanted)
        self.on_oom()

    def look_up_owners(self, optimizers, whole: bool) -> None:
        """Who the blocks belong to, now; `whole`: weights and gradients too, not only the optimizers' state."""
        if self.started:
            found = owners.state(optimizers)
            if whole:
                self.things.look()
                found = owners.weights(self.things) | found
            allocated, freed = self._place()
            self.owners.append([allocated - self._begin[0], freed - self._begin[1], found])

    def result(self) -> dict:
        """Everything, as plain data. Events are [block, bytes] for an allocation and [block, 0] for its release."""
        if not self.started:
            return {"events": [], "marks": [], "owners": {}, "ooms": []}
        trace = torch.cuda.memory._snapshot()["device_traces"][torch.cuda.current_device()]
        torch.cuda.memory._record_memory_history(enabled=None)
        events: list[list[int]] = []
        live: dict[int, int] = {}
        number = 0
        owner: dict[int, str] = {}
        lookups = iter(sorted(self.owners, key=lambda one: one[0] + one[1]))
        lookup = next(lookups, None)
        for entry in trace:
            while lookup is not None and lookup[0] + lookup[1] <= len(events):
                owner |= {live[address]: category for address, category in lookup[2].items() if address in live}
                lookup = next(lookups, None)
            if entry["action"] == "alloc":
                live[entry["addr"]] = number
                events.append([number, entry["size"]])
                number += 1
            elif entry["action"] == "free_requested" and entry["addr"] in live:
                events.append([live.pop(entry["addr"]), 0])
        while lookup is not None:
            owner |= {live[address]: category for address, category in lookup[2].items() if address in live}
            lookup = next(lookups, None)
        # A full history has dropped its beginning: marks and blocks no longer belong to it.
        return {"events": events, "dropped": len(trace) >= _MOST_EVENTS, "marks": self.marks, "owners": owner, "ooms": self.ooms, "reserved_peak": self.reserved(),
                "live_peak": torch.cuda.max_memory_allocated(), "pid": os.getpid()}
