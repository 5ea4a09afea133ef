# SPDX-License-Identifier: Apache-2.0
"""The structs of gapless.h that this package passes, as ctypes. Layout is tested against the header by tests/python."""

import ctypes

OK = 0


class Stat(ctypes.Structure):
    """gapless_stat."""

    _fields_ = [(name, ctypes.c_int64) for name in ("current", "peak", "allocated", "freed")]


class Stats(ctypes.Structure):
    """gapless_stats."""

    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        *((name, Stat * 3) for name in (
            "allocation", "segment", "active", "inactive_split", "allocated_bytes", "reserved_bytes", "active_bytes",
            "inactive_split_bytes", "requested_bytes")),
        ("oversize_allocations", Stat),
        ("oversize_segments", Stat),
        *((name, ctypes.c_int64) for name in (
            "num_alloc_retries", "num_ooms", "num_sync_all_streams", "num_device_alloc", "num_device_free",
            "max_split_size", "hits", "misses", "reactivations", "moves", "lends", "wait_edges", "stalls",
            "pinned_bytes", "dormant_mappings", "idle_bytes", "reserved_address_bytes")),
    ]


def raise_for(core: ctypes.CDLL, status: int, operation: str) -> None:
    """Raises RuntimeError with gapless's own words about `status`."""
    core.gapless_status_name.restype = ctypes.c_char_p
    core.gapless_last_error.restype = ctypes.c_char_p
    detail = core.gapless_last_error().decode()
    name = core.gapless_status_name(status).decode()
    raise RuntimeError(f"gapless: {operation}: {name}" + (f": {detail}" if detail else ""))
