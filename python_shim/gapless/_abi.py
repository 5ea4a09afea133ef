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
            "pinned_bytes", "dormant_mappings", "idle_bytes", "reserved_address_bytes", "large_repeated",
            "large_kept")),
    ]


def last_error(core: ctypes.CDLL) -> str:
    """The detail of the calling thread's last failure."""
    core.gapless_last_error.restype = ctypes.c_char_p
    return core.gapless_last_error().decode()


def raise_for(core: ctypes.CDLL, status: int, operation: str) -> None:
    """Raises RuntimeError with gapless's own words about `status`."""
    core.gapless_status_name.restype = ctypes.c_char_p
    detail = last_error(core)
    name = core.gapless_status_name(status).decode()
    raise RuntimeError(f"gapless: {operation}: {name}" + (f": {detail}" if detail else ""))


class PoolId(ctypes.Structure):
    """gapless_pool_id."""

    _fields_ = [("high", ctypes.c_uint64), ("low", ctypes.c_uint64)]


class Suggestion(ctypes.Structure):
    """gapless_suggestion."""

    _fields_ = [
        *((name, ctypes.c_uint64) for name in ("units", "proven_fits", "proven_fails")),
        ("confidence", ctypes.c_double),
        ("evidence_steps", ctypes.c_uint32),
    ]


class OomRecord(ctypes.Structure):
    """gapless_oom_record."""

    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("sequence", ctypes.c_uint64),
        ("device", ctypes.c_int32),
        ("verdict", ctypes.c_int),
        ("stream", ctypes.c_void_p),
        ("pool", PoolId),
        *((name, ctypes.c_size_t) for name in (
            "requested_bytes", "rounded_bytes", "live_bytes", "reserved_bytes", "free_bytes", "largest_obtainable_bytes",
            "pending_bytes", "pinned_bytes", "limit_bytes", "driver_free_bytes", "driver_total_bytes", "other_process_bytes")),
        ("step_label", ctypes.c_char * 32),
        ("phase_label", ctypes.c_char * 32),
        ("step", ctypes.c_uint64),
        ("allocation_index", ctypes.c_uint64),
        ("step_units", ctypes.c_uint64),
        ("step_peak_bytes", ctypes.c_size_t),
        ("last_good_step_peak_bytes", ctypes.c_size_t),
        ("attempt", ctypes.c_uint32),
        ("freed_by_rung", ctypes.c_size_t * 8),
        ("suggestion", Suggestion),
    ]


class Forecast(ctypes.Structure):
    """gapless_forecast."""

    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("peak_bytes", ctypes.c_size_t),
        ("available_bytes", ctypes.c_size_t),
        ("suggestion", Suggestion),
    ]


class ConstantPoolArgs(ctypes.Structure):
    """gapless_constant_pool_args."""

    _fields_ = [("struct_size", ctypes.c_size_t), ("device", ctypes.c_int32), ("depth", ctypes.c_uint32), ("most", ctypes.c_uint32)]


class ConstantStats(ctypes.Structure):
    """gapless_constant_stats."""

    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        *((name, ctypes.c_uint64) for name in ("classes", "buffers", "bytes", "leased", "acquired", "moved")),
    ]


class PadError(ctypes.Structure):
    """gapless_pad_error."""

    _fields_ = [("index", ctypes.c_int64), ("length", ctypes.c_int64)]


class RaggedBatch(ctypes.Structure):
    """gapless_ragged_batch."""

    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        *((name, ctypes.c_void_p) for name in ("tokens", "labels", "lengths")),
        ("count", ctypes.c_int64),
        ("to", ctypes.c_int),
        ("left", ctypes.c_int32),
        *((name, ctypes.c_int64) for name in ("value", "pad_id", "ignore_index")),
        ("outputs", ctypes.c_uint32),
    ]


class PaddedBatch(ctypes.Structure):
    """gapless_padded_batch."""

    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("ticket", ctypes.c_uint64),
        *((name, ctypes.c_int64) for name in ("rows", "length")),
        *((name, ctypes.c_void_p) for name in ("tokens", "mask", "positions", "labels", "cu_seqlens")),
    ]
