# SPDX-License-Identifier: Apache-2.0
"""Buffers of constant address behind PyTorch tensors: gapless_constant_pool of gapless.h over ctypes, and padding into it."""

import collections
import ctypes
import functools
import threading

import torch

from . import _device, _libraries
from ._abi import OK, ConstantPoolArgs, ConstantStats, PadError, PaddedBatch, RaggedBatch, raise_for

INVALID_ARGUMENT = 1
BUSY = 7
TO_LENGTH, TO_MULTIPLE, TO_LONGEST = 0, 1, 2
MASK, POSITIONS, LABELS, CU_SEQLENS = 1, 2, 4, 8
# A loop holds as many batches as it accumulates gradients over, and the one that is being filled.
MOST_BUFFERS = 64


class SequenceTooLong(ValueError):
    """A sequence does not fit its row. `index` is its place in the batch, `length` its tokens, `limit` the row's."""

    def __init__(self, index: int, length: int, limit: int) -> None:
        super().__init__(f"sequence {index} of the batch has {length} tokens, but rows have {limit}, and nothing is ever cut: raise the "
                         "length or shorten the sequence")
        self.index, self.length, self.limit = index, length, limit


class Lease:
    """Holds one buffer while it lives: tensors over it keep it. Released in the order of the stream that it belongs to."""

    def __init__(self, pool: "Pool", ticket: int) -> None:
        self._pool, self._ticket = pool, ticket

    def pass_to(self, stream: "torch.cuda.Stream") -> None:
        """The lease is `stream`'s from now on; its work comes after what the stream before holds now."""
        self._pool.check(self._pool.core.gapless_constant_pass(self._pool.handle, self._ticket, stream.cuda_stream), "pass")

    def __del__(self) -> None:
        # The allocator outlives every tensor; a process that ends gives nothing back.
        self._pool.release(self._ticket)


class _Memory:
    """Device memory for torch.as_tensor, which keeps this object, and so the lease, as long as a tensor uses the memory."""

    def __init__(self, lease: Lease, address: int, shape: tuple, kind: str) -> None:
        self._lease = lease
        self.__cuda_array_interface__ = {"version": 3, "shape": shape, "typestr": kind, "data": (address, False), "strides": None,
                                         "stream": None}


class Pool:
    """The pool of one device. Any thread."""

    def __init__(self, core: ctypes.CDLL, allocator: int, ordinal: int) -> None:
        self.core, self.ordinal = core, ordinal
        self.handle = ctypes.c_void_p()
        args = ConstantPoolArgs(ctypes.sizeof(ConstantPoolArgs), ordinal, 2, MOST_BUFFERS)
        self.check(core.gapless_constant_pool_create(allocator, ctypes.byref(args), ctypes.byref(self.handle)), "constant pool")
        self._lock = threading.Lock()
        self._in_flight: collections.deque = collections.deque()  # (event, pinned tensors that copies read)
        self._unreleased: collections.deque = collections.deque()  # tickets whose stream captured when their last tensor died

    def check(self, status: int, operation: str) -> None:
        if status == BUSY:
            raise RuntimeError(f"gapless: {operation}: {MOST_BUFFERS} batches of one shape are in use: tensors of earlier batches are still alive")
        if status != OK:
            raise_for(self.core, status, operation)

    def release(self, ticket: int) -> None:
        """Ends a lease; one that cannot end now, because its stream captures, ends before the next padding. Takes no lock: tensors die
        anywhere."""
        if self.core.gapless_constant_release(self.handle, ticket) != OK:
            self._unreleased.append(ticket)

    def _release_late(self) -> None:
        for _ in range(len(self._unreleased)):
            self.release(self._unreleased.popleft())

    def pad(self, tokens, lengths, labels, rule, value, *, pad_id: int, ignore_index: int, left: bool, outputs: int) -> dict:
        """Pads on the current stream; the outputs by name, and the lease as "lease"."""
        self._release_late()
        stream = torch.cuda.current_stream(self.ordinal)
        batch = _ragged(tokens, lengths, labels, rule, value, outputs)
        batch.pad_id, batch.ignore_index, batch.left = pad_id, ignore_index, int(left)
        out, error = PaddedBatch(), PadError(-1, 0)
        out.struct_size = ctypes.sizeof(out)
        status = self.core.gapless_pad(self.handle, ctypes.byref(batch), stream.cuda_stream, ctypes.byref(out), ctypes.byref(error))
        if status == INVALID_ARGUMENT and error.index >= 0:
            raise SequenceTooLong(error.index, error.length, value)
        self.check(status, "pad")
        lease = Lease(self, out.ticket)
        self._keep([one for one in (tokens, lengths, labels) if one is not None and (one.is_cuda or one.is_pinned())], stream)
        rows = (out.rows, out.length)
        made = {"lease": lease, "tokens": self._tensor(lease, out.tokens, rows, "<i8")}
        for name, address in (("mask", out.mask), ("positions", out.positions), ("labels", out.labels)):
            if address:
                made[name] = self._tensor(lease, address, rows, "<i8")
        if out.cu_seqlens:
            made["cu_seqlens"] = self._tensor(lease, out.cu_seqlens, (out.rows + 1,), "<i4")
        return made

    def reserve(self, rows: int, longest: int, rule: int, value: int, *, own_labels: bool, outputs: int) -> None:
        """Makes the buffers for batches of `rows` sequences, the longest of `longest` tokens, on the current stream."""
        batch = _ragged(None, None, None, rule, value, outputs)
        batch.count, batch.labels = rows, 1 if own_labels else None  # not read, but whether there is one
        stream = torch.cuda.current_stream(self.ordinal).cuda_stream
        self.check(self.core.gapless_pad_reserve(self.handle, ctypes.byref(batch), longest, stream), "reserve")

    def stats(self) -> dict[str, int]:
        out = ConstantStats()
        out.struct_size = ctypes.sizeof(out)
        self.check(self.core.gapless_constant_get_stats(self.handle, ctypes.byref(out)), "constant_stats")
        return {name: getattr(out, name) for name, _ in ConstantStats._fields_ if name != "struct_size"}

    def _tensor(self, lease: Lease, address: int, shape: tuple, kind: str) -> torch.Tensor:
        device = torch.device("cuda", self.ordinal)
        if 0 in shape:
            return torch.empty(shape, dtype=torch.int64 if kind == "<i8" else torch.int32, device=device)
        return torch.as_tensor(_Memory(lease, address, shape, kind), device=device)

    def _keep(self, sources: list, stream) -> None:
        """Memory that the copies read asynchronously stays until they are done."""
        with self._lock:
            while self._in_flight and self._in_flight[0][0].query():
                self._in_flight.popleft()
            if sources:
                done = torch.cuda.Event()
                done.record(stream)
                self._in_flight.append((done, sources))


def _ragged(tokens, lengths, labels, rule: int, value: int, outputs: int) -> RaggedBatch:
    batch = RaggedBatch()
    batch.struct_size = ctypes.sizeof(batch)
    batch.tokens = tokens.data_ptr() if tokens is not None else None
    batch.labels = labels.data_ptr() if labels is not None else None
    batch.lengths = lengths.data_ptr() if lengths is not None else None
    batch.count = lengths.numel() if lengths is not None else 0
    batch.to, batch.value, batch.outputs = rule, value, outputs
    return batch


@functools.cache
def _prototypes() -> ctypes.CDLL:
    core = _libraries.core()
    pointer, code = ctypes.c_void_p, ctypes.c_uint64
    for name, arguments in (
        ("gapless_constant_pool_create", [pointer, ctypes.POINTER(ConstantPoolArgs), ctypes.POINTER(pointer)]),
        ("gapless_constant_pass", [pointer, code, pointer]),
        ("gapless_constant_release", [pointer, code]),
        ("gapless_constant_get_stats", [pointer, ctypes.POINTER(ConstantStats)]),
        ("gapless_pad", [pointer, ctypes.POINTER(RaggedBatch), pointer, ctypes.POINTER(PaddedBatch), ctypes.POINTER(PadError)]),
        ("gapless_pad_reserve", [pointer, ctypes.POINTER(RaggedBatch), ctypes.c_int64, pointer]),
    ):
        function = getattr(core, name)
        function.argtypes, function.restype = arguments, ctypes.c_int
    return core


_pools: dict[int, Pool] = {}
_pools_lock = threading.Lock()


def pool(device: int | None) -> Pool | None:
    """The device's pool (None: of torch's current one), made at first use. None where gapless is not the allocator."""
    ordinal = _device.number(device)
    if ordinal is None:
        return None
    with _pools_lock:
        found = _pools.get(ordinal)
        if found is None:
            torch.cuda.init()
            allocator = _device.allocator()
            if allocator is None:
                return None
            found = _pools[ordinal] = Pool(_prototypes(), allocator, ordinal)
        return found
