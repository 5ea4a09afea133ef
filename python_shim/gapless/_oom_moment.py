# SPDX-License-Identifier: Apache-2.0
"""What was live when memory ran out, by size and by the Python line that asked for it. Seen from gapless's OOM hook: by the time the
exception is caught, most of it is gone."""

import atexit
import collections
import ctypes
import pathlib
import traceback

import torch

from . import _device
from ._abi import OomRecord

# A record has its number only after the hooks were asked: which one it is these tell.
_TELLING = ("step", "allocation_index", "requested_bytes", "live_bytes")
_HOOK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(OomRecord))
_GIVE_UP = 0
_MOST_GROUPS = 10
_ELSEWHERE = (str(pathlib.Path(torch.__file__).parent), str(pathlib.Path(__file__).parent))


class Watch:
    """Keeps what was live at the last OOM of a device."""

    def __init__(self, device: "_device.Device") -> None:
        self._ordinal, self._device = device.ordinal, device
        self.which, self.blocks = (), []  # (address, bytes, line)
        # ctypes takes the interpreter's lock for the call; the thread holds none of gapless's.
        self._hook = _HOOK(self._on_oom)
        device.add_oom_hook(self._hook)
        # A call into an interpreter that is going away would end badly.
        atexit.register(device.remove_oom_hook, self._hook)

    def _on_oom(self, _, record) -> int:
        try:
            self.which = tuple(getattr(record.contents, name) for name in _TELLING)
            self.blocks = list(_live(self._ordinal))
        except Exception:  # a report without groups is better than none
            self.blocks = []
        return _GIVE_UP


_watches: dict[int, Watch] = {}


def watch(device) -> None:
    """From now on. Nothing where gapless is not the allocator."""
    if isinstance(device, _device.Device) and device.ordinal not in _watches:
        _watches[device.ordinal] = Watch(device)


class Lines:
    """While on, PyTorch's history knows the Python line of each allocation; what the user has switched on stays."""

    def __init__(self) -> None:
        self._mine = False

    def on(self, device) -> None:
        if isinstance(device, _device.Device) and not self._mine and not torch._C._cuda_isHistoryEnabled():
            torch.cuda.memory._record_memory_history(enabled="state", context="state", stacks="python")
            self._mine = True

    def off(self) -> None:
        if self._mine:
            torch.cuda.memory._record_memory_history(enabled=None)
            self._mine = False


def _live(ordinal: int):
    for segment in torch.cuda.memory._snapshot()["segments"]:
        if segment["device"] != ordinal:
            continue
        for block in segment["blocks"]:
            if block["state"] == "active_allocated":
                yield block["address"], block["requested_size"], _line(block.get("frames") or ())


def _line(frames) -> str:
    """The innermost frame outside of PyTorch and gapless."""
    for frame in frames:
        name = frame["filename"]
        if name.endswith(".py") and not name.startswith(_ELSEWHERE):
            return f"{_short(name)}:{frame['line']} in {frame['name']}"
    return ""


def _short(name: str) -> str:
    """Enough of a path to know the file by."""
    return "/".join(pathlib.PurePath(name).parts[-3:])


def line_of(error: BaseException) -> str:
    """Where the request was made, in code that is neither PyTorch's nor gapless's."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith(_ELSEWHERE):
            return f"{_short(frame.filename)}:{frame.lineno} in {frame.name}: {frame.line}"
    return ""


def named(model: torch.nn.Module | None, optimizers) -> dict[int, tuple[str, str, int]]:
    """(kind, name, bytes) of the storages that the shim knows, by address; gradients as far as they are made."""
    parameters = dict(model.named_parameters()) if model is not None else {}
    if model is None:
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        parameters = {f"parameter {i}": p for i, p in enumerate(p for group in groups for p in group["params"])}
    found = {}

    def add(kind: str, name: str, tensor) -> None:
        if isinstance(tensor, torch.Tensor) and tensor.numel() and tensor.device.type == "cuda":
            storage = tensor.untyped_storage()
            found.setdefault(storage.data_ptr(), (kind, name, storage.nbytes()))

    for name, parameter in parameters.items():
        add("weights", name, parameter)
        add("gradients", name, parameter.grad)
    for name, buffer in model.named_buffers() if model is not None else ():
        add("weights", name, buffer)
    names = {id(parameter): name for name, parameter in parameters.items()}
    for optimizer in optimizers:
        for parameter, state in optimizer.state.items():
            for key, value in state.items():
                add("optimizer", f"{names.get(id(parameter), '?')} {key}", value)
    return found


def capture(error: BaseException, record: dict | None, model, optimizers) -> dict:
    """Of a failure just caught, before anything is let go: where, who holds the memory, and the largest groups of what was live."""
    known = named(model, optimizers)
    now = {"weights": 0, "gradients": 0, "optimizer": 0}
    for kind, _, size in known.values():
        now[kind] += size
    facts: dict = {"line": line_of(error), "now": now}
    if record is None:
        return facts
    now["activations"] = max(0, record["live_bytes"] - sum(now.values()))
    one = _watches.get(record["device"])
    if one is None or one.which != tuple(record[name] for name in _TELLING):
        return facts
    groups: dict[tuple, list] = collections.defaultdict(lambda: [0, ""])
    for address, size, line in one.blocks:
        kind, name, _ = known.get(address, ("activations", "", 0))
        group = groups[kind, size, "" if kind != "activations" else line]
        group[0] += 1
        group[1] = group[1] or name
    largest = sorted(groups.items(), key=lambda item: -item[0][1] * item[1][0])[:_MOST_GROUPS]
    facts["groups"] = [{"what": kind, "bytes": size, "count": count, "line": line or name}
                       for (kind, size, line), (count, name) in largest]
    return facts
