# SPDX-License-Identifier: Apache-2.0
"""What a program of the CUDA API must not do, and what it is then told: by the error that a real driver gives, by the rule
of docs/driver_contract.md, and never by a crash.

    GAPLESS_SIM_COMMAND=path/to/gapless-sim python -m unittest test_misuse
    gapless-sim --strict --devices 2 -- python test_misuse.py peers        # one of them, by hand
"""

import ctypes
import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import unittest

BYTES = 2 << 20
LIBRARIES = ["libcuda.so.1", "libcudart.so.13", "libcublas.so.13", "libcublasLt.so.13", "libcudnn.so.9"]


class Device:
    """The runtime and the driver; `call` gives a function's result."""

    def __init__(self):
        self.driver = ctypes.CDLL("libcuda.so.1")
        self.runtime = ctypes.CDLL("libcudart.so.13")

    def call(self, name, *arguments):
        return getattr(self.runtime if name.startswith("cuda") else self.driver, name)(*arguments)

    def made(self, name, *arguments):
        out = ctypes.c_void_p()
        result = self.call(name, ctypes.byref(out), *arguments)
        assert result == 0, (name, result)
        return out

    def stream(self):
        return self.made("cudaStreamCreateWithFlags", 1)  # non-blocking

    def write(self, device, stream, address):
        return self.driver.gapless_sim_access(device, stream, ctypes.c_uint64(address.value), ctypes.c_size_t(64), 1)

    def rules(self):
        buffer = ctypes.create_string_buffer(1 << 20)
        self.driver.gapless_sim_stats_json(buffer, ctypes.c_size_t(len(buffer)))
        return [report["rule"] for report in json.loads(buffer.value)["violation_reports"]]


def peers(device):
    """Access between devices is enabled once, disabled once, and means memory of cudaMalloc only."""
    assert device.call("cudaSetDevice", 1) == 0
    theirs = device.made("cudaMalloc", ctypes.c_size_t(BYTES))
    assert device.call("cudaSetDevice", 0) == 0
    mine = device.made("cudaMalloc", ctypes.c_size_t(BYTES))
    bogus = ctypes.c_void_p(0x7777777)
    results = {
        "copy": device.call("cudaMemcpyPeer", mine, 0, theirs, 1, ctypes.c_size_t(BYTES)),
        "copy_async": device.call("cudaMemcpyPeerAsync", mine, 0, theirs, 1, ctypes.c_size_t(BYTES), None),
        "copy_of_no_device": device.call("cudaMemcpyPeer", mine, 0, theirs, 2, ctypes.c_size_t(BYTES)),
        "copy_bogus": device.call("cuMemcpyPeer", mine, bogus, theirs, bogus, ctypes.c_size_t(BYTES)),
        "bogus": device.call("cuCtxEnablePeerAccess", bogus, 0),
        "disable_bogus": device.call("cuCtxDisablePeerAccess", bogus),
        "disable_too_early": device.call("cudaDeviceDisablePeerAccess", 1),
        "flags": device.call("cudaDeviceEnablePeerAccess", 1, 1),
        "itself": device.call("cudaDeviceEnablePeerAccess", 0, 0),
        "nobody": device.call("cudaDeviceEnablePeerAccess", 2, 0),
    }
    before = device.rules()
    device.call("cudaDeviceSynchronize")
    device.write(0, None, theirs)
    refused = device.rules()[len(before) :]
    results["enable"] = device.call("cudaDeviceEnablePeerAccess", 1, 0)
    results["again"] = device.call("cudaDeviceEnablePeerAccess", 1, 0)
    device.write(0, None, theirs)
    device.call("cudaDeviceSynchronize")
    results["disable"] = device.call("cudaDeviceDisablePeerAccess", 1)
    results["disable_again"] = device.call("cudaDeviceDisablePeerAccess", 1)
    return {"results": results, "before": before, "refused": refused, "after": device.rules()[len(before) + len(refused) :]}


def foreign_streams(device):
    """A kernel needs a stream of the current device; a copy, a fill and a wait do not."""
    assert device.call("cudaSetDevice", 1) == 0
    theirs, event = device.stream(), device.made("cudaEventCreate")
    memory = device.made("cudaMalloc", ctypes.c_size_t(BYTES))
    assert device.call("cudaSetDevice", 0) == 0
    device.driver.gapless_sim_function.restype = ctypes.c_void_p
    kernel = ctypes.c_void_p(device.driver.gapless_sim_function(b"kernel"))

    def launch(stream):
        return device.call("cuLaunchKernel", kernel, 1, 1, 1, 1, 1, 1, 0, stream, None, None)

    results = {
        "fill": device.call("cudaMemsetAsync", memory, 0, ctypes.c_size_t(64), theirs),
        "wait": device.call("cudaStreamWaitEvent", theirs, event, 0),
        "query": device.call("cudaStreamSynchronize", theirs),
        "own": launch(device.stream()),
    }
    before = device.rules()
    results["foreign"] = launch(theirs)
    return {"results": results, "before": before, "after": device.rules()[len(before) :]}


def host_functions(device):
    """A host function that asks CUDA for anything is refused."""
    told = []
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(
        lambda _: told.extend([device.call("cudaStreamSynchronize", None), device.call("cuMemFree_v2", ctypes.c_uint64(0)), device.call("cudaGetDevice", ctypes.byref(ctypes.c_int()))])
    )
    callback = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)(lambda *_: told.append(device.call("cudaDeviceSynchronize")))
    assert device.call("cudaSetDevice", 0) == 0
    stream = device.stream()
    assert device.call("cudaLaunchHostFunc", stream, function, None) == 0
    assert device.call("cudaStreamAddCallback", stream, callback, None, 0) == 0
    assert device.call("cudaStreamSynchronize", stream) == 0
    return {"told": told, "after": device.rules()}


def sticky(device):
    """After an illegal access everything fails with its error."""
    device.driver.gapless_sim_configure(b"sticky=1,report=0")
    assert device.call("cudaSetDevice", 0) == 0
    stream, event = device.stream(), device.made("cudaEventCreate")
    block = device.made("cudaMalloc", ctypes.c_size_t(BYTES))
    base, handle = ctypes.c_uint64(), ctypes.c_uint64()
    size, none = ctypes.c_size_t(BYTES), ctypes.c_uint64(0)
    properties = (ctypes.c_int * 8)(1, 0, 1, 0)  # CUmemAllocationProp: pinned, no handle type, device 0
    assert device.call("cuMemAddressReserve", ctypes.byref(base), size, ctypes.c_size_t(0), none, none) == 0
    assert device.call("cuMemCreate", ctypes.byref(handle), size, properties, none) == 0
    assert device.call("cuMemMap", base, size, ctypes.c_size_t(0), handle, none) == 0
    device.write(0, stream, base)  # nobody was given access
    out, value = ctypes.byref(ctypes.c_void_p()), ctypes.c_uint64()
    calls = {
        "cudaMalloc": (out, size), "cudaFree": (block,), "cudaHostAlloc": (out, size, 0), "cudaMemGetInfo": (ctypes.byref(value), ctypes.byref(value)),
        "cudaMemsetAsync": (block, 0, size, stream), "cudaStreamSynchronize": (stream,), "cudaStreamQuery": (stream,), "cudaStreamCreate": (out,),
        "cudaStreamIsCapturing": (stream, ctypes.byref(ctypes.c_int())), "cudaStreamBeginCapture": (stream, 0), "cudaEventRecord": (event, stream),
        "cudaEventQuery": (event,), "cudaStreamWaitEvent": (stream, event, 0), "cudaDeviceSynchronize": (), "cuMemUnmap": (base, size),
        "cuMemSetAccess": (base, size, (ctypes.c_int * 3)(1, 0, 3), ctypes.c_size_t(1)), "cuMemRelease": (handle,), "cuMemAddressFree": (base, size),
        "cuMemAddressReserve": (ctypes.byref(value), size, ctypes.c_size_t(0), none, none), "cuMemCreate": (ctypes.byref(value), size, properties, none),
        "cuMemAllocAsync": (ctypes.byref(value), size, stream), "cudaEventDestroy": (event,), "cudaStreamDestroy": (stream,),
    }  # fmt: skip
    return {"results": {name: device.call(name, *arguments) for name, arguments in calls.items()}, "after": sorted(set(device.rules()))}


def threads(device):
    """Per-thread default streams end with their thread."""
    assert device.call("cudaSetDevice", 0) == 0
    per_thread, ids = ctypes.c_void_p(2), set()

    def use():
        number = ctypes.c_uint64()
        assert device.call("cudaSetDevice", 0) == 0
        assert device.driver.gapless_sim_issue(0, per_thread, ctypes.c_uint64(1)) == 0
        assert device.call("cudaStreamSynchronize", per_thread) == 0
        assert device.call("cudaStreamGetId", per_thread, ctypes.byref(number)) == 0
        ids.add(number.value)

    for _ in range(100):
        thread = threading.Thread(target=use)
        thread.start()
        thread.join()
    return {"streams": len(ids), "after": device.rules()}


class Handle(ctypes.Structure):
    """CUipcMemHandle, CUipcEventHandle."""

    _fields_ = [("bytes", ctypes.c_ubyte * 64)]


def sharing(device):
    """Memory and events for other processes: an event must have been made for it, and what is opened twice is closed twice."""
    assert device.call("cudaSetDevice", 0) == 0
    memory = device.made("cudaMalloc", ctypes.c_size_t(BYTES))
    plain, shared = device.made("cudaEventCreateWithFlags", 2), device.made("cudaEventCreateWithFlags", 2 | 4)
    handles = [Handle(), Handle()]
    results = {
        "plain_event": device.call("cudaIpcGetEventHandle", ctypes.byref(Handle()), plain),
        "event": device.call("cudaIpcGetEventHandle", ctypes.byref(handles[0]), shared),
        "memory": device.call("cudaIpcGetMemHandle", ctypes.byref(handles[1]), memory),
        "own_event": device.call("cudaIpcOpenEventHandle", ctypes.byref(ctypes.c_void_p()), handles[0]),
        "own_memory": device.call("cudaIpcOpenMemHandle", ctypes.byref(ctypes.c_void_p()), handles[1], 1),
    }
    other = subprocess.run([sys.executable, __file__, "opening", *(bytes(handle.bytes).hex() for handle in handles)], stdout=subprocess.PIPE, check=True)
    return {"results": results, "after": device.rules(), "other": json.loads(other.stdout)}


def opening(device, *words):
    """The other process of `sharing`."""
    assert device.call("cudaSetDevice", 0) == 0
    event, memory = (Handle.from_buffer_copy(bytes.fromhex(word)) for word in words)
    first, again = (device.made("cudaIpcOpenMemHandle", memory, 1) for _ in range(2))
    opened, stream = device.made("cudaIpcOpenEventHandle", event), device.stream()
    device.write(0, stream, first)
    results = {
        "one_address": first.value == again.value,
        "record": device.call("cudaEventRecord", opened, stream),
        "query": device.call("cudaEventQuery", opened),  # complete, so that the exporter need not be told
        "close": [device.call("cudaIpcCloseMemHandle", first) for _ in range(3)],
    }
    return {"results": results, "after": device.rules()}


def contexts(device):
    """A context that is gone is no context, also for calls that take it beside the current one."""
    assert device.call("cudaSetDevice", 0) == 0
    memory = device.made("cudaMalloc", ctypes.c_size_t(BYTES))
    made, number = device.made("cuCtxCreate_v4", None, 0, 1), ctypes.c_uint64()

    def calls():
        return {
            "id": device.call("cuCtxGetId", made, ctypes.byref(number)),
            "copy": device.call("cuMemcpyPeer", memory, made, memory, made, ctypes.c_size_t(0)),
            "copy_async": device.call("cuMemcpyPeerAsync", memory, made, memory, made, ctypes.c_size_t(0), None),
            "current": device.call("cuCtxSetCurrent", made),
        }

    before = calls()
    elsewhere, current, gone = [], threading.Event(), threading.Event()

    def other_thread():  # where it stays the current one
        elsewhere.append(device.call("cuCtxSetCurrent", made))
        current.set()
        gone.wait()
        elsewhere.extend([device.call("cuCtxGetDevice", ctypes.byref(ctypes.c_int())), device.call("cuCtxSetCurrent", None)])

    thread = threading.Thread(target=other_thread)
    thread.start()
    current.wait()
    device.call("cuCtxDestroy_v2", made)
    gone.set()
    thread.join()
    assert device.call("cudaSetDevice", 0) == 0
    return {"before": before, "number": number.value, "after": calls(), "elsewhere": elsewhere}


def nulls(library, names):
    """Calls each function with nothing but zeros; says which one it is at, so that a crash has a name."""
    Device().call("cudaFree", None)  # makes the context
    loaded = ctypes.CDLL(library)
    for name in names:
        print(name, flush=True)
        getattr(loaded, name)(*[ctypes.c_void_p()] * 24)


PROGRAMS = {program.__name__: program for program in (peers, foreign_streams, host_functions, sticky, threads, sharing, opening, contexts)}
SIM = [os.environ.get("GAPLESS_SIM_COMMAND", "gapless-sim"), "--strict", "--devices", "2"]


def run(*arguments, completion="lazy"):
    command = [*SIM, "--completion", completion, "--", sys.executable, __file__, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


class Misuse(unittest.TestCase):
    def found(self, program, completion):
        result = run(program, completion=completion)
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def everywhere(self, program, expected):
        for completion in ("eager", "lazy", "random:1"):
            with self.subTest(completion=completion):
                self.assertEqual(self.found(program, completion), expected)

    def test_peers(self):
        results = {"copy": 0, "copy_async": 0, "copy_of_no_device": 101, "copy_bogus": 201, "bogus": 201, "disable_bogus": 201, "disable_too_early": 705,
                   "flags": 1, "itself": 101, "nobody": 101, "enable": 0, "again": 704, "disable": 0, "disable_again": 705}  # fmt: skip
        self.everywhere("peers", {"results": results, "before": [], "refused": ["ACC-3"], "after": []})

    def test_streams_of_another_device(self):
        results = {"fill": 0, "wait": 0, "query": 0, "own": 0, "foreign": 400}
        self.everywhere("foreign_streams", {"results": results, "before": [], "after": ["STR-2"]})

    def test_host_functions(self):
        self.everywhere("host_functions", {"told": [800, 800, 800, 800], "after": ["HOST-1"] * 4})

    def test_sticky_errors(self):
        found = self.found("sticky", "lazy")
        self.assertEqual({name: result for name, result in found["results"].items() if result != 700}, {})
        self.assertEqual(found["after"], ["ACC-3", "ERR-1"])

    def test_default_streams_of_threads_that_ended(self):
        found = self.found("threads", "lazy")
        self.assertLess(found["streams"], 8)
        self.assertEqual(found["after"], [])

    def test_sharing(self):
        results = {"plain_event": 400, "event": 0, "memory": 0, "own_event": 201, "own_memory": 201}
        other = {"results": {"one_address": True, "record": 0, "query": 0, "close": [0, 0, 1]}, "after": ["IPC-3"]}
        self.everywhere("sharing", {"results": results, "after": ["IPC-4", "IPC-2", "IPC-2"], "other": other})

    def test_contexts_that_are_gone(self):
        calls = ("id", "copy", "copy_async", "current")
        self.everywhere("contexts", {"before": dict.fromkeys(calls, 0), "number": 2, "after": dict.fromkeys(calls, 201),
                                     "elsewhere": [0, 709, 0]})

    def test_nothing_but_zeros_crashes_nothing(self):
        folder = pathlib.Path(SIM[0]).resolve().parent.parent / "lib" / "simcuda"
        built = [library for library in LIBRARIES if (folder / library).exists()]
        self.assertLessEqual({"libcuda.so.1", "libcudart.so.13"}, set(built), folder)  # those of mathematics may be left out of a build
        for library in built:
            symbols = subprocess.run(["nm", "-D", "--defined-only", folder / library], capture_output=True, text=True, check=True).stdout
            # What the compiler's generated code calls is no program's to call; and these end the process, or its device.
            names = [name for name in re.findall(r" T (cu\w+?)(?:@@?\S+)?$", symbols, re.MULTILINE) if name not in ("cudaDeviceReset",)]
            with self.subTest(library=library):
                self.assertGreater(len(names), 50)
                result = run("nulls", library, *names)
                self.assertEqual(result.returncode, 0, f"crashed in {(result.stdout.split() or ['?'])[-1]}")


if __name__ == "__main__":
    if sys.argv[1] == "nulls":
        nulls(sys.argv[2], sys.argv[3:])
    else:
        json.dump(PROGRAMS[sys.argv[1]](Device(), *sys.argv[2:]), sys.stdout)
