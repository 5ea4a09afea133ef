# SPDX-License-Identifier: Apache-2.0
"""What each kind of file says: a title, lines of a name and a figure, and tables."""

import dataclasses

from . import snapshot
from .read import NotReadable

_MIB = 1 << 20


@dataclasses.dataclass
class Table:
    columns: list[str]  # the last one is text, the others are figures
    rows: list[list[str]]


@dataclasses.dataclass
class Section:
    title: str
    lines: list[tuple[str, str]]
    table: Table | None = None
    note: str = ""


def mib(size: int) -> str:
    return f"{size / _MIB:,.1f} MiB"


def sections(data: object, *, top: int, frames: int) -> list[Section]:
    """Raises NotReadable for data of no known kind."""
    if isinstance(data, dict):
        if "fit" in data:
            from ..fit import text

            return text.sections(data)
        if "doctor" in data:
            from ..doctor import text as doctor_text

            return doctor_text.sections(data)
        if isinstance(data.get("record"), dict):
            data = data["record"]  # what an elastic step writes: more than the record
        if "segments" in data:
            return _of_snapshot(data["segments"], top, frames)
        if "requested_bytes" in data and "live_bytes" in data:
            return [_of_oom(data)]
        if "physical_bytes_peak" in data:
            return _of_device(data, top)
        if "allocated_bytes.all.current" in data:
            return [_of_statistics(data)]
    if isinstance(data, list) and data and isinstance(data[0], dict) and "blocks" in data[0]:
        return _of_snapshot(data, top, frames)  # torch.cuda.memory_snapshot()
    raise NotReadable("it is no snapshot, no statistics, no OOM record and no result of gapless fit or doctor")


def _of_snapshot(segments: list[dict], top: int, frames: int) -> list[Section]:
    found = []
    for device, memory in snapshot.memory_of(segments).items():
        lines = [("live", mib(memory.live)), ("freed, waiting for a stream", mib(memory.pending)), ("free", mib(memory.free)),
                 ("reserved", mib(memory.reserved))]
        if memory.live:
            lines.append(("reserved / live", f"{memory.reserved / memory.live:.4f}"))
        lines += [("free blocks", f"{memory.free_blocks:,}"), ("largest of them", mib(memory.largest_free)),
                  ("fragmentation", f"{memory.fragmentation:.1%} of the free bytes are not in the largest free block")]
        owners = snapshot.owners(segments, device, frames)
        rows = [[mib(owner.bytes), f"{owner.blocks:,}", "\n".join(owner.stack)] for owner in owners[:top]]
        left = len(owners) - len(rows)
        note = f"{left:,} more places hold {mib(sum(owner.bytes for owner in owners[top:]))}" if left else ""
        if owners and not any(owner.known for owner in owners):
            note = ("no stacks: they are recorded after torch.cuda.memory._record_memory_history()"
                    + (f"; {note}" if note else ""))
        found.append(Section(f"device {device}", lines, Table(["live", "blocks", "allocated at"], rows) if rows else None, note))
    return found or [Section("an empty snapshot", [("reserved", mib(0))])]


def _of_statistics(data: dict) -> Section:
    def both(name: str) -> str:
        return f"{mib(data[name + '.all.current'])}, at most {mib(data[name + '.all.peak'])}"

    lines = [("live", both("allocated_bytes")), ("active (live or waiting for a stream)", both("active_bytes")),
             ("reserved", both("reserved_bytes"))]
    if peak := data["allocated_bytes.all.peak"]:
        lines.append(("peak reserved / peak live", f"{data['reserved_bytes.all.peak'] / peak:.4f}"))
    counts = [("num_alloc_retries", "retries"), ("num_ooms", "out of memory"), ("hits", "hits"), ("misses", "misses"),
              ("moves", "pages moved"), ("stalls", "waits for the device")]
    lines += [(name, f"{data[key]:,}") for key, name in counts if key in data]
    return Section("statistics", lines)


def _of_device(data: dict, top: int) -> list[Section]:
    lines = []
    for index, device in enumerate(data.get("devices", [])):
        lines.append((f"device {index}", f"{mib(device['physical_bytes'])}, at most {mib(device['physical_bytes_peak'])}"
                                         f" of {mib(device['total_bytes'])}"))
    lines.append(("violations", f"{data.get('violations', 0):,}"))
    calls = sorted(data.get("driver_calls", {}).items(), key=lambda item: (-item[1], item[0]))
    rows = [[f"{count:,}", name] for name, count in calls[:top]]
    note = f"{len(calls) - top:,} more functions" if len(calls) > top else ""
    return [Section("the simulated device", lines, Table(["calls", "function"], rows) if rows else None, note)]


def _of_oom(data: dict) -> Section:
    sizes = [("requested_bytes", "requested"), ("largest_obtainable_bytes", "largest that would have succeeded"),
             ("live_bytes", "live"), ("pending_bytes", "freed, waiting for a stream"), ("free_bytes", "free"),
             ("reserved_bytes", "reserved"), ("pinned_bytes", "pinned"), ("limit_bytes", "limit"),
             ("driver_free_bytes", "free on the device"), ("driver_total_bytes", "of the device"),
             ("other_process_bytes", "used by others")]
    lines = [("device", str(data.get("device", 0)))]
    if "verdict" in data:
        lines.append(("verdict", str(data["verdict"])))
    lines += [(name, mib(data[key]) if data[key] < 1 << 62 else "none") for key, name in sizes if key in data]
    for key, name in (("step", "step"), ("step_label", "its label"), ("phase_label", "phase"), ("allocation_index", "request of the step")):
        if data.get(key) not in (None, ""):
            lines.append((name, str(data[key])))
    return Section("out of memory", lines)
