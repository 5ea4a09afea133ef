# SPDX-License-Identifier: Apache-2.0
"""Values that the program reads from the device. The simulated device has none (they read as zeros), so what depends on them cannot
be told: shapes made from them are noted with the line that asked."""

import sys

# What makes a shape from values, and what only hands a value to the program.
_SHAPES = ("nonzero", "masked_select", "unique", "unique_consecutive", "argwhere")
_VALUES = ("item", "tolist", "__bool__", "__int__", "__index__", "__float__")


class Reads:
    def __init__(self, observer) -> None:
        self._observer = observer
        self._found: dict[tuple, dict] = {}

    def note(self, tensor, what: str, shape: bool) -> None:
        frame, inner = sys._getframe(2), None
        while frame is not None and _is_inner(frame.f_code.co_filename):
            inner = inner or frame
            frame = frame.f_back
        own = frame or inner
        if own is None:
            return
        deepest = inner or own
        key = (own.f_code.co_filename, own.f_lineno, what)
        one = self._found.setdefault(key, {
            "file": own.f_code.co_filename, "line": own.f_lineno, "function": own.f_code.co_name, "what": what, "shape": shape,
            "dtype": str(tensor.dtype), "count": 0, "inside": f"{deepest.f_code.co_filename}:{deepest.f_lineno}" if inner else None,
            "step": self._observer.steps})
        one["count"] += 1

    def found(self) -> list[dict]:
        return list(self._found.values())


def _is_inner(path: str) -> bool:
    return "/site-packages/" in path or "/dist-packages/" in path or path.startswith("<") or "/gapless/fit/inside/" in path \
        or "/lib/python3" in path


def install(observer) -> Reads:
    import torch
    import torch.nn.functional

    reads = Reads(observer)
    answer = observer.plan.get("answer", 0)

    def on_device(value) -> bool:
        return isinstance(value, torch.Tensor) and value.device.type == "cuda"

    def valued(name: str) -> None:
        run = getattr(torch.Tensor, name)

        def wrapped(tensor, *args, **kwargs):
            value = run(tensor, *args, **kwargs)
            if on_device(tensor) and not tensor.dtype.is_floating_point:
                reads.note(tensor, name.strip("_"), False)
                if answer and name in ("item", "__int__", "__index__") and not isinstance(value, bool):
                    return type(value)(answer)
                if answer and isinstance(value, bool):
                    return True
                if answer and name == "tolist":
                    return _filled(value, answer)
            return value

        setattr(torch.Tensor, name, wrapped)

    for name in _VALUES:
        valued(name)
    for name in ("cpu", "to"):
        _copied(torch, reads, on_device, name, answer)
    _shapes(torch, reads, on_device)
    _indexing(torch, reads, on_device)
    _where(torch, reads, on_device)
    return reads


def _filled(value, answer: int):
    if isinstance(value, list):
        return [_filled(one, answer) for one in value]
    return True if isinstance(value, bool) else type(value)(answer)


def _copied(torch, reads: Reads, on_device, name: str, answer: int) -> None:
    """Whole numbers that are copied to the host: what numpy() and lists are made from."""
    run = getattr(torch.Tensor, name)

    def wrapped(tensor, *args, **kwargs):
        result = run(tensor, *args, **kwargs)
        if torch.compiler.is_compiling() or not on_device(tensor) or result.device.type != "cpu" or tensor.dtype.is_floating_point:
            return result
        reads.note(tensor, name, False)
        if not answer:
            return result
        # As much of it as the kind of number holds: images are bytes.
        whole = result.dtype is not torch.bool and not result.dtype.is_complex
        return torch.full_like(result, min(answer, torch.iinfo(result.dtype).max) if whole else answer)

    setattr(torch.Tensor, name, wrapped)


def _shapes(torch, reads: Reads, on_device) -> None:
    """Functions whose result is as large as values say; some of them unless they are told how large it is."""

    def hook(owner, name: str, depends=lambda args, kwargs: True) -> None:
        run = getattr(owner, name)

        def wrapped(*args, **kwargs):
            tensor = args[0] if args else kwargs.get("input", kwargs.get("tensor", kwargs.get("repeats")))
            if on_device(tensor) and depends(args[1:], kwargs):
                reads.note(tensor, name, True)
            return run(*args, **kwargs)

        setattr(owner, name, wrapped)

    def repeats(args, kwargs) -> bool:
        times = args[0] if args else kwargs.get("repeats")
        # Of one tensor alone the values are the numbers of repeats.
        return (times is None or on_device(times)) and kwargs.get("output_size") is None

    def bins(args, kwargs) -> bool:
        return (args[1] if len(args) > 1 else kwargs.get("minlength", 0)) == 0

    def classes(args, kwargs) -> bool:
        return (args[0] if args else kwargs.get("num_classes", -1)) == -1

    for owner in (torch, torch.Tensor):
        for name in _SHAPES:
            if hasattr(owner, name):
                hook(owner, name)
        hook(owner, "repeat_interleave", repeats)
        hook(owner, "bincount", bins)
    hook(torch.nn.functional, "one_hot", classes)


def _indexing(torch, reads: Reads, on_device) -> None:
    run = torch.Tensor.__getitem__

    def wrapped(tensor, index):
        if type(index) is not int and type(index) is not slice and on_device(tensor):
            for one in index if isinstance(index, tuple) else (index,):
                if isinstance(one, torch.Tensor) and one.dtype in (torch.bool, torch.uint8) and on_device(one):
                    reads.note(one, "a boolean mask as an index", True)
        return run(tensor, index)

    torch.Tensor.__getitem__ = wrapped


def _where(torch, reads: Reads, on_device) -> None:
    run = torch.where

    def wrapped(condition, *args, **kwargs):
        if not args and not kwargs and on_device(condition):
            reads.note(condition, "where", True)
        return run(condition, *args, **kwargs)

    torch.where = wrapped
