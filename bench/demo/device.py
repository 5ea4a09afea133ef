# SPDX-License-Identifier: Apache-2.0
"""What the device itself says: the simulated one through the extra functions of its libcuda, a real one through the driver."""

import ctypes

# Calls that change which memory is there or mapped. Copies, fills, queries and host memory are not the allocator's doing.
_MEMORY_CALLS = ("cudaMalloc", "cudaFree", "cuMem")
_OTHER_CALLS = (
    "cudaMallocHost",
    "cudaFreeHost",
    "cuMemcpy",
    "cuMemset",
    "cuMemHost",
    "cuMemAllocHost",
    "cuMemFreeHost",
    "cuMemGet",
)


def is_memory_call(function):
    return function.startswith(_MEMORY_CALLS) and not function.startswith(_OTHER_CALLS)


class SimulatedDevice:
    """The simulated libcuda.so.1 counts everything exactly, so its figures need no sampling to be right."""

    kind = "simulated"

    def __init__(self, library, index=0):
        self._library = library
        self._index = index
        self._visitor_type = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint64)
        library.gapless_sim_visit_calls.argtypes = [self._visitor_type, ctypes.c_void_p]
        library.gapless_sim_visit_calls.restype = None
        for name in ("gapless_sim_physical_bytes", "gapless_sim_physical_bytes_peak"):
            getattr(library, name).argtypes = [ctypes.c_int]
            getattr(library, name).restype = ctypes.c_uint64
        library.gapless_sim_violations.restype = ctypes.c_uint64

    def used_bytes(self):
        return self._library.gapless_sim_physical_bytes(self._index)

    def peak_bytes(self):
        return self._library.gapless_sim_physical_bytes_peak(self._index)

    def violations(self):
        return self._library.gapless_sim_violations()

    def memory_calls(self):
        """Memory calls so far, by function."""
        calls = {}

        def visit(_user, function, kind, count):
            name = function.decode()
            if kind == 0 and count and is_memory_call(name):
                calls[name] = count

        self._library.gapless_sim_visit_calls(self._visitor_type(visit), None)
        return calls


class RealDevice:
    """A GPU tells what is free on the whole of it: what was used when watching began is subtracted. Its peak is that of the
    samples, and it does not count calls."""

    kind = "gpu"

    def __init__(self, torch):
        self._torch = torch
        self._baseline = None
        self._peak = 0

    def used_bytes(self):
        if not self._torch.cuda.is_initialized():
            return 0
        free, total = self._torch.cuda.mem_get_info()
        if self._baseline is None:
            self._baseline = total - free
        used = max(0, total - free - self._baseline)
        self._peak = max(self._peak, used)
        return used

    def peak_bytes(self):
        return self._peak

    def violations(self):
        return None

    def memory_calls(self):
        return None


def current_device(torch):
    try:
        library = ctypes.CDLL("libcuda.so.1")
        library.gapless_sim_physical_bytes  # noqa: B018 (an AttributeError says that this is a real driver)
    except (OSError, AttributeError):
        return RealDevice(torch)
    return SimulatedDevice(library)
