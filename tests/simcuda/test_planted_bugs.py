# SPDX-License-Identifier: Apache-2.0
"""The mistakes that allocators make, planted in programs of the runtime API, which know nothing of the simulation: each is
found under every schedule, and named by its rule; the correct twin is not reported. (tests/contract has the same mistakes
against the machine itself.)

    GAPLESS_SIM_COMMAND=path/to/gapless-sim python -m unittest test_planted_bugs
    gapless-sim --strict --completion lazy -- python test_planted_bugs.py no_record_stream     # one of them, by hand
"""

import ctypes
import json
import os
import subprocess
import sys
import threading
import unittest

SCHEDULES = ["eager", "lazy", "lag:5", "random:1", "random:2", "random:3"]
BYTES = 2 << 20


class Device:
    """The runtime and the driver, as a program links them."""

    def __init__(self):
        self.driver = ctypes.CDLL("libcuda.so.1")
        self.driver.gapless_sim_configure(b"threads_separate=1,report=0")
        self.runtime = ctypes.CDLL("libcudart.so.13")
        self.call("cudaFree", None)  # makes the context

    def call(self, name, *arguments):
        library = self.runtime if name.startswith("cuda") else self.driver
        result = getattr(library, name)(*arguments)
        assert result == 0, (name, result)

    def made(self, name, *arguments):
        out = ctypes.c_void_p()
        self.call(name, ctypes.byref(out), *arguments)
        return out

    def stream(self):
        return self.made("cudaStreamCreateWithFlags", 1)  # non-blocking

    def event(self):
        return self.made("cudaEventCreateWithFlags", 2)  # without times

    def memory(self):
        return self.made("cudaMalloc", ctypes.c_size_t(BYTES))

    def write(self, stream, address):
        self.call("cudaMemsetAsync", address, 0, ctypes.c_size_t(BYTES), stream)

    def read(self, stream, address, scratch):
        self.call("cudaMemcpyAsync", scratch, address, ctypes.c_size_t(BYTES), 3, stream)

    def order(self, earlier, later):
        event = self.event()
        self.call("cudaEventRecord", event, earlier)
        self.call("cudaStreamWaitEvent", later, event, 0)
        self.call("cudaEventDestroy", event)

    def range(self, granules):
        """(addresses, one handle): reserved, nothing mapped."""
        base, handle = ctypes.c_uint64(), ctypes.c_uint64()
        self.call("cuMemAddressReserve", ctypes.byref(base), ctypes.c_size_t(granules * BYTES), ctypes.c_size_t(0), ctypes.c_uint64(0), ctypes.c_uint64(0))
        properties = (ctypes.c_int * 8)(1, 0, 1, 0)  # CUmemAllocationProp: pinned, no handle type, device 0
        self.call("cuMemCreate", ctypes.byref(handle), ctypes.c_size_t(BYTES), properties, ctypes.c_uint64(0))
        return [base.value + index * BYTES for index in range(granules)], handle

    def map(self, address, handle):
        self.call("cuMemMap", ctypes.c_uint64(address), ctypes.c_size_t(BYTES), ctypes.c_size_t(0), handle, ctypes.c_uint64(0))
        self.call("cuMemSetAccess", ctypes.c_uint64(address), ctypes.c_size_t(BYTES), (ctypes.c_int * 3)(1, 0, 3), ctypes.c_size_t(1))

    def unmap(self, address):
        self.call("cuMemUnmap", ctypes.c_uint64(address), ctypes.c_size_t(BYTES))

    def reports(self):
        buffer = ctypes.create_string_buffer(1 << 20)
        self.driver.gapless_sim_stats_json(buffer, ctypes.c_size_t(len(buffer)))
        return json.loads(buffer.value)["violation_reports"]


def reuse(device, bug):
    """A block goes from its owner's stream to another user's and back to a new owner."""
    block, scratch = device.memory(), device.memory()
    owner, user, bystander, freed = device.stream(), device.stream(), device.stream(), device.event()
    device.write(owner, block)
    device.order(owner, user)
    if bug == "recorded_too_early":
        device.call("cudaEventRecord", freed, user)
    device.read(user, block, scratch)
    if bug != "recorded_too_early":
        device.call("cudaEventRecord", freed, bystander if bug == "wait_on_wrong_stream" else user)
    if bug != "no_record_stream":
        device.call("cudaStreamWaitEvent", owner, freed, 0)
    device.write(owner, block)


def unmap(device, bug):
    (address,), handle = device.range(1)
    device.map(address, handle)
    stream, freed = device.stream(), device.event()
    device.write(stream, ctypes.c_void_p(address))
    device.call("cudaEventRecord", freed, stream)
    if bug != "unmap_before_completion":
        device.call("cudaEventSynchronize", freed)
    device.unmap(address)


def alias(device, bug):
    (active, dormant), handle = device.range(2)
    device.map(active, handle)
    device.map(dormant, handle)
    first, second = device.stream(), device.stream()
    device.write(first, ctypes.c_void_p(active))
    if bug != "alias_without_order":
        device.order(first, second)
    device.write(second, ctypes.c_void_p(dormant))


def two_threads(device, bug):
    """One thread learns that the work is complete, another takes the memory away."""
    (address,), handle = device.range(1)
    device.map(address, handle)
    stream = device.stream()
    device.write(stream, ctypes.c_void_p(address))
    device.call("cudaStreamSynchronize", stream)
    device.driver.gapless_sim_host_release(ctypes.c_uint64(1))

    def other():
        if bug != "foreign_thread":
            device.driver.gapless_sim_host_acquire(ctypes.c_uint64(1))
        device.unmap(address)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()


BUGS = {
    "no_record_stream": (reuse, "RACE-1"),
    "recorded_too_early": (reuse, "RACE-1"),
    "wait_on_wrong_stream": (reuse, "RACE-1"),
    "unmap_before_completion": (unmap, "PEND-1"),
    "alias_without_order": (alias, "RACE-2"),
    "foreign_thread": (two_threads, "PEND-1"),
}


def inside(names):
    """{bug: {planted: reports, correct: reports}} of this process's device."""
    device, found, seen = Device(), {}, 0
    for name in names:
        found[name] = {}
        for case, bug in (("correct", ""), ("planted", name)):
            BUGS[name][0](device, bug)
            reports = device.reports()
            found[name][case] = reports[seen:]
            seen = len(reports)
    json.dump(found, sys.stdout)


class PlantedBugs(unittest.TestCase):
    def test_every_bug_under_every_schedule(self):
        for schedule in SCHEDULES:
            command = [os.environ["GAPLESS_SIM_COMMAND"], "--strict", "--completion", schedule, "--", sys.executable, __file__, *BUGS]
            result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            self.assertEqual(result.returncode, 0, result.stderr)
            found = json.loads(result.stdout)
            for bug, (_, rule) in BUGS.items():
                with self.subTest(schedule=schedule, bug=bug):
                    self.assertEqual(found[bug]["correct"], [])
                    self.assertEqual({report["rule"] for report in found[bug]["planted"]}, {rule})
                    self.assertIn("operation", found[bug]["planted"][0]["text"])


if __name__ == "__main__":
    inside(sys.argv[1:])
