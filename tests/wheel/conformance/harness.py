# SPDX-License-Identifier: Apache-2.0
"""Runs cases in a process that sees the device, each in a fork of its own, and writes down what each one saw.

    harness.py COLUMN OUT.json [NAME ...]

COLUMN: native (PyTorch's allocator), gapless (by the preload), pluggable (CUDAPluggableAllocator of gapless_malloc and
gapless_free) or plain (CUDAPluggableAllocator of two functions that only call cudaMalloc and cudaFree). torch is imported once;
a fork starts CUDA itself, so a case has a device, an environment and an allocator of its own for the price of a fork.
"""

import contextlib
import ctypes
import dataclasses
import importlib
import json
import os
import pathlib
import select
import signal
import sys
import tempfile
import threading
import traceback

HERE = pathlib.Path(__file__).resolve().parent
SECONDS = 180  # of a machine that others use too; a case that takes longer hangs
COLUMNS = ("native", "gapless", "pluggable", "plain")


@dataclasses.dataclass
class Case:
    name: str
    run: object
    device: str
    settings: str
    environment: dict
    columns: tuple


CASES = {}


def case(device="", settings="", environment=None, columns=("native", "gapless")):
    """A function that returns what it saw, as JSON can hold it: what a user could read, never an address. What it asserts holds
    on every allocator. `device`: of the simulation, as in GAPLESS_SIM; `settings`: PYTORCH_CUDA_ALLOC_CONF."""

    def add(function):
        name = f"{function.__module__.removeprefix('cases.')}.{function.__name__}"
        assert name not in CASES, name
        CASES[name] = Case(name, function, device, settings, environment or {}, columns)
        return function

    return add


def change_device(text):
    """GAPLESS_SIM with other values for some keys; `stats` stays last, since it takes the rest of the text."""
    old = [pair for pair in os.environ.get("GAPLESS_SIM", "").split(",") if pair]
    keys = {pair.split("=")[0] for pair in text.split(",")}
    os.environ["GAPLESS_SIM"] = ",".join([*text.split(","), *(pair for pair in old if pair.split("=")[0] not in keys)])


def enter(column):
    """Makes the column's allocator PyTorch's, where that is the program's own doing."""
    import torch

    library, *names = {"pluggable": (os.environ["GAPLESS_TORCH_LIBRARY_FILE"], "gapless_malloc", "gapless_free"),
                       "plain": (os.environ.get("GAPLESS_PLAIN_LIBRARY", ""), "plain_malloc", "plain_free")}[column]
    torch.cuda.memory.change_current_allocator(torch.cuda.memory.CUDAPluggableAllocator(library, *names))


def run_here(one, column):
    os.environ.update(one.environment)
    if one.settings:
        os.environ["PYTORCH_CUDA_ALLOC_CONF"] = one.settings
    if one.device:
        change_device(one.device)
    if column in ("pluggable", "plain"):
        enter(column)
    return json.loads(json.dumps(one.run()))


def run_forked(one, column):
    """{"saw": ...} or {"failed": text}, and what the fork wrote on stderr."""
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as found:
        child = os.fork()
        if child == 0:
            os.setpgid(0, 0)  # its own children end with it
            os.dup2(said.fileno(), 2)
            try:
                result = {"saw": run_here(one, column)}
            except BaseException:  # noqa: BLE001: whatever it was is the result
                result = {"failed": traceback.format_exc()}
            os.write(found.fileno(), json.dumps(result).encode())
            sys.stderr.flush()
            os._exit(0)
        descriptor = os.pidfd_open(child)
        ended, _, _ = select.select([descriptor], [], [], SECONDS)
        os.close(descriptor)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        found.seek(0)
        text = found.read()
        failure = {"failed": f"died: {os.waitstatus_to_exitcode(status)}" if ended else "hangs"}
        result = json.loads(text) if text and ended else failure
        said.seek(0)
        return {**result, "said": said.read().decode(errors="replace")}


def load_cases():
    sys.path.insert(0, str(HERE))
    for file in sorted((HERE / "cases").glob("*.py")):
        importlib.import_module(f"cases.{file.stem}")


def main():
    column, out, *names = sys.argv[1:]
    assert column in COLUMNS
    import torch

    sys.modules["harness"] = sys.modules["__main__"]
    load_cases()
    # Children of a process that has started CUDA could not start it again.
    assert not torch.cuda.is_initialized()
    columns = (column,) if column == "gapless" else ("native", "pluggable", "plain")
    results = {}
    for one in CASES.values():
        if names and one.name not in names:
            continue
        for each in columns:
            if each in one.columns:
                results.setdefault(one.name, {})[each] = run_forked(one, each)
        pathlib.Path(out).write_text(json.dumps(results))  # each time: who stops a run sees how far it came


# ---- for cases

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


def segments_of(pool_id):
    import torch

    return [segment for segment in torch.cuda.memory_snapshot() if segment["segment_pool_id"] == tuple(pool_id)]


def in_threads(count, work):
    """work(0), work(1) ... each in a thread of its own; returns when all have ended."""
    threads = [threading.Thread(target=work, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def block(size, **options):
    import torch

    return torch.empty(size, dtype=torch.uint8, device="cuda", **options)


def raised(function, *arguments):
    """The exception's type and first line, or "nothing"."""
    try:
        function(*arguments)
    except Exception as error:  # noqa: BLE001: the case compares it
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    return "nothing"


def stat(key):
    import torch

    return torch.cuda.memory_stats()[key]


def device(function, *arguments):
    """A function of the simulated device itself (gapless_sim.h)."""
    return getattr(ctypes.CDLL(None), function)(*arguments)


if __name__ == "__main__":
    main()
