# SPDX-License-Identifier: Apache-2.0
"""One device of gapless behind PyTorch, for marks, forecasts and OOM records; and what stands in where gapless is not."""

import ctypes
import dataclasses
import functools

from . import _libraries
from ._abi import OK, Forecast, OomRecord, Stats, last_error, raise_for

OUT_OF_MEMORY = 3
NOT_FOUND = 8
VERDICTS = ("in_use", "limit", "other_process", "pinned", "capture", "injected")


@dataclasses.dataclass(frozen=True)
class Suggestion:
    """The largest batch expected to fit, and what that rests on. Units are samples or tokens, as the marks gave them."""

    units: int
    proven_fits: int
    proven_fails: int
    confidence: float
    evidence_steps: int


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a step is expected to need: bytes."""

    peak: int
    available: int
    suggestion: Suggestion


class Device:
    """A CUDA device whose allocator is gapless. All methods may be called from any thread."""

    def __init__(self, core: ctypes.CDLL, allocator: int, ordinal: int) -> None:
        self._core, self._allocator, self.ordinal = core, ctypes.c_void_p(allocator), ordinal

    def _check(self, status: int, operation: str) -> None:
        if status != OK:
            raise_for(self._core, status, operation)

    def mark_step(self, label: str, units: int) -> None:
        """A step of `units` begins; see gapless_mark_step."""
        self._check(self._core.gapless_mark_step(self._allocator, self.ordinal, label.encode(), units), "mark_step")

    def mark_phase(self, label: str) -> None:
        """A phase of the step begins; see gapless_mark_phase."""
        self._check(self._core.gapless_mark_phase(self._allocator, self.ordinal, label.encode()), "mark_phase")

    def forecast(self, units: int) -> Prediction | None:
        """What a step of `units`, like the one just marked, would need. None: no such step has ended well yet."""
        out = Forecast()
        out.struct_size = ctypes.sizeof(out)
        status = self._core.gapless_forecast_step(self._allocator, self.ordinal, units, ctypes.byref(out))
        if status == NOT_FOUND:
            return None
        self._check(status, "forecast")
        return Prediction(out.peak_bytes, out.available_bytes, _suggestion(out.suggestion))

    def last_oom(self) -> dict | None:
        """The last OOM record of the device, by the names of gapless_oom_record. None: there was none."""
        out = OomRecord()
        out.struct_size = ctypes.sizeof(out)
        status = self._core.gapless_last_oom(self._allocator, self.ordinal, ctypes.byref(out))
        if status == NOT_FOUND:
            return None
        self._check(status, "last_oom")
        return _record(out)

    def stats(self) -> Stats:
        """The statistics as the library has them; see gapless_get_stats."""
        out = Stats()
        out.struct_size = ctypes.sizeof(out)
        self._check(self._core.gapless_get_stats(self._allocator, self.ordinal, ctypes.byref(out)), "stats")
        return out

    def check_guards(self) -> int:
        """How many broken blocks were found since the start; see gapless_check_guards."""
        found = ctypes.c_uint64()
        self._check(self._core.gapless_check_guards(self._allocator, self.ordinal, ctypes.byref(found)), "check_guards")
        return found.value

    def warm_up(self, stream: int, nbytes: int) -> None:
        """Backs `nbytes` for the stream; see gapless_warm_up."""
        status = self._core.gapless_warm_up(self._allocator, self.ordinal, stream, nbytes)
        if status == OUT_OF_MEMORY:
            import torch

            raise torch.OutOfMemoryError(f"gapless: warm_up: {last_error(self._core)}")
        self._check(status, "warm_up")

    def set_option(self, name: str, value: str) -> None:
        """See docs/options.md."""
        self._check(self._core.gapless_set_option(self._allocator, name.encode(), value.encode()), f"option {name}")

    def add_oom_hook(self, hook) -> None:
        """`hook`, a ctypes function, is called at each OOM until it is removed; see gapless_add_oom_hook. Keep it alive."""
        self._check(self._core.gapless_add_oom_hook(self._allocator, hook, None), "add_oom_hook")

    def remove_oom_hook(self, hook) -> None:
        self._check(self._core.gapless_remove_oom_hook(self._allocator, hook, None), "remove_oom_hook")

    def set_limit(self, limit: int | None) -> None:
        """At most `limit` bytes of physical memory from now on; None: no limit."""
        most = ctypes.c_size_t(-1).value if limit is None else limit
        self._check(self._core.gapless_set_limit(self._allocator, self.ordinal, most), "set_limit")


class NoDevice:
    """Where gapless is not the allocator: marks do nothing, nothing is known."""

    ordinal = -1

    def mark_step(self, label: str, units: int) -> None: ...

    def mark_phase(self, label: str) -> None: ...

    def forecast(self, units: int) -> None: ...

    def last_oom(self) -> None: ...


def _suggestion(raw) -> Suggestion:
    return Suggestion(raw.units, raw.proven_fits, raw.proven_fails, raw.confidence, raw.evidence_steps)


def _record(raw: OomRecord) -> dict:
    record = {}
    for name, _ in OomRecord._fields_:
        value = getattr(raw, name)
        if name == "struct_size":
            continue
        if name == "verdict":
            value = VERDICTS[value] if value < len(VERDICTS) else str(value)
        elif name == "suggestion":
            value = dataclasses.asdict(_suggestion(value))
        elif name == "pool":
            value = [value.high, value.low]
        elif isinstance(value, bytes):
            value = value.decode(errors="replace")
        elif isinstance(value, ctypes.Array):
            value = list(value)
        record[name] = value
    return record


@functools.cache
def _prototypes() -> ctypes.CDLL:
    core = _libraries.core()
    handle, ordinal, units = ctypes.c_void_p, ctypes.c_int32, ctypes.c_uint64
    for name, arguments in (
        ("gapless_mark_step", [handle, ordinal, ctypes.c_char_p, units]),
        ("gapless_mark_phase", [handle, ordinal, ctypes.c_char_p]),
        ("gapless_forecast_step", [handle, ordinal, units, ctypes.POINTER(Forecast)]),
        ("gapless_last_oom", [handle, ordinal, ctypes.POINTER(OomRecord)]),
        ("gapless_set_option", [handle, ctypes.c_char_p, ctypes.c_char_p]),
        ("gapless_add_oom_hook", [handle, ctypes.c_void_p, handle]),
        ("gapless_remove_oom_hook", [handle, ctypes.c_void_p, handle]),
        ("gapless_set_limit", [handle, ordinal, ctypes.c_size_t]),
        ("gapless_warm_up", [handle, ordinal, ctypes.c_void_p, ctypes.c_size_t]),
        ("gapless_get_stats", [handle, ordinal, ctypes.POINTER(Stats)]),
        ("gapless_check_guards", [handle, ordinal, ctypes.POINTER(ctypes.c_uint64)]),
    ):
        function = getattr(core, name)
        function.argtypes, function.restype = arguments, ctypes.c_int
    return core


def behind(device) -> Device | NoDevice:
    """That of a torch.device; "cuda" without a number is the current one, as in PyTorch."""
    if device.type != "cuda":
        return NoDevice()
    import torch

    return of(device.index if device.index is not None else torch.cuda.current_device())


def number(device: int | None) -> int | None:
    """`device`, or for None the number of torch's current one; None where torch finds no CUDA device."""
    import torch

    if not torch.cuda.is_initialized() and not torch.cuda.is_available():
        return None
    return torch.cuda.current_device() if device is None else device


def of(ordinal: int | None) -> Device | NoDevice:
    """The device of that number; NoDevice for None, and unless gapless is PyTorch's allocator and CUDA has been started."""
    core = allocator() if ordinal is not None else None
    return Device(_prototypes(), core, ordinal) if core is not None else NoDevice()


def allocator() -> int | None:
    """The gapless_allocator behind PyTorch. None unless gapless is PyTorch's allocator and CUDA has been started."""
    try:
        return _serving()
    except RuntimeError:
        return None


def required(ordinal: int | None) -> Device | None:
    """The device of that number (None: torch's current one); None before CUDA is started. Raises RuntimeError when gapless is not
    PyTorch's allocator."""
    core = _serving()
    if core is None:
        return None
    if ordinal is None:
        import torch

        ordinal = torch.cuda.current_device()
    return Device(_prototypes(), core, ordinal)


def _serving() -> int | None:
    try:
        library = _libraries.torch_library()
    except OSError as error:
        raise RuntimeError(f"gapless is not PyTorch's CUDA allocator in this process: {error}") from error
    if library.gapless_torch_is_installed() != 1:
        raise RuntimeError("gapless is not PyTorch's CUDA allocator in this process")
    return library.gapless_torch_core() or None
