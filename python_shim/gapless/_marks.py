# SPDX-License-Identifier: Apache-2.0
"""Marks, forecasts and OOM records for loops that do without an elastic step. Where gapless is not the allocator, marks do nothing
and nothing is known."""

from . import _device


def _of(device: int | None):
    return _device.of(_device.number(device))


def mark_step(label: str, units: int = 0, *, device: int | None = None) -> None:
    """A step of `units` (samples or tokens; 0: unknown) begins on `device` (default: the current one)."""
    _of(device).mark_step(label, units)


def mark_phase(label: str, *, device: int | None = None) -> None:
    """A phase of the step begins. What is allocated in one whose name starts with "optim" is taken not to grow with the batch."""
    _of(device).mark_phase(label)


def forecast(units: int, *, device: int | None = None) -> "_device.Prediction | None":
    """What a step of `units`, like the one just marked, would need; None while no such step has ended well."""
    return _of(device).forecast(units)


def last_oom(device: int | None = None) -> dict | None:
    """The last OOM record of the device by the names of gapless_oom_record in gapless.h; None if there was none."""
    return _of(device).last_oom()


def set_limit(limit: int | None, *, device: int | None = None) -> None:
    """At most `limit` bytes of physical memory on the device from now on; None: no limit. Nothing is released. RuntimeError when
    gapless is not the allocator."""
    if limit is not None and (not isinstance(limit, int) or limit < 0):
        raise ValueError(f"limit is {limit!r}: a number of bytes, or None")
    one = _of(device)
    if isinstance(one, _device.NoDevice):
        raise RuntimeError("gapless is not PyTorch's CUDA allocator in this process")
    one.set_limit(limit)
