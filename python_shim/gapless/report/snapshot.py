# SPDX-License-Identifier: Apache-2.0
"""Figures of a snapshot: PyTorch's segments and blocks."""

import collections
import dataclasses

_LIVE = "active_allocated"
_FREE = "inactive"
# Frames below the program's own: where an allocation passes through, not where it comes from.
_INNER = ("/torch/", "<frozen", "/transformers/", "/accelerate/")


@dataclasses.dataclass
class Memory:
    reserved: int = 0
    live: int = 0
    pending: int = 0
    free: int = 0
    free_blocks: int = 0
    largest_free: int = 0

    @property
    def fragmentation(self) -> float:
        """The share of the free bytes that is not in the largest free block."""
        return 1 - self.largest_free / self.free if self.free else 0.0


@dataclasses.dataclass
class Owner:
    stack: tuple[str, ...]
    known: bool  # whether the stack was recorded
    bytes: int = 0
    blocks: int = 0


def memory_of(segments: list[dict]) -> dict[int, Memory]:
    """Bytes by device. Free bytes are those of reserved memory: addresses without memory behind them are in no segment."""
    devices: dict[int, Memory] = collections.defaultdict(Memory)
    for segment in segments:
        memory = devices[segment["device"]]
        memory.reserved += segment["total_size"]
        for block in segment["blocks"]:
            size = block["size"]
            if block["state"] == _LIVE:
                memory.live += size
            elif block["state"] == _FREE:
                memory.free += size
                memory.free_blocks += 1
                memory.largest_free = max(memory.largest_free, size)
            else:
                memory.pending += size
    return dict(sorted(devices.items()))


def owners(segments: list[dict], device: int, frames: int) -> list[Owner]:
    """Live blocks by the stack that allocated them, by size where none was recorded; most bytes first."""
    found: dict[tuple, Owner] = {}
    for segment in segments:
        if segment["device"] != device:
            continue
        for block in segment["blocks"]:
            if block["state"] != _LIVE:
                continue
            stack = _stack(block.get("frames") or [], frames)
            shown = stack or (f"blocks of {block['size']:,} bytes",)
            owner = found.setdefault(shown, Owner(shown, known=bool(stack)))
            owner.bytes += block["size"]
            owner.blocks += 1
    return sorted(found.values(), key=lambda owner: (-owner.bytes, owner.stack))


def _stack(recorded: list[dict], frames: int) -> tuple[str, ...]:
    """The innermost frames of the program itself, the innermost first; of all frames where none is."""
    own = [frame for frame in recorded if frame["filename"].endswith(".py") and not any(part in frame["filename"] for part in _INNER)]
    return tuple(f"{_short(frame['filename'])}:{frame['line']} {frame['name']}" for frame in (own or recorded)[:frames])


def _short(path: str) -> str:
    return "/".join(path.rsplit("/", 2)[-2:])
