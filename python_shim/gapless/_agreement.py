# SPDX-License-Identifier: Apache-2.0
"""Several ranks agree before a step on the size of its pieces; after an OOM in the middle of one, on what a restart begins with."""

import datetime
import fcntl
import json
import os
import pathlib

from . import _private


class RankOutOfMemory(RuntimeError):
    """A rank ran out of memory inside a step whose collectives others may be waiting in. The process is to end, so that the
    launcher restarts all ranks from their checkpoint; the agreed file tells them what to begin with."""


class Agreement:
    """The smallest of what the ranks can take, over a CPU process group of its own.

    file: kept between restarts, on storage of the node. timeout: seconds until a rank that does not answer is an error on all
    others (never a hang). Made on all ranks at the same place, after torch.distributed.init_process_group.
    """

    def __init__(self, file: str | os.PathLike, *, timeout: float = 120.0) -> None:
        import torch.distributed as dist

        self._file = pathlib.Path(file)
        self._dist = dist
        self.ranks = dist.get_world_size()
        self._group = dist.new_group(backend="gloo", timeout=datetime.timedelta(seconds=timeout))
        self._most = self.read()

    def read(self) -> int | None:
        """Units that a run before this one agreed on after a failure; None: there was none."""
        try:
            return int(json.loads(self._file.read_text())["units"])
        except FileNotFoundError:
            return None

    def least(self, units: int) -> int:
        """What every rank can take, given what this one can. One reduction of 8 bytes on the host, the same on all ranks."""
        import torch

        if self._most is not None:
            units = min(units, self._most)
        value = torch.tensor([units], dtype=torch.int64)
        self._dist.all_reduce(value, op=self._dist.ReduceOp.MIN, group=self._group)
        return int(value[0])

    def end_run(self, failed_units: int, record: dict | None) -> None:
        """Writes what a restart should begin with, and raises RankOutOfMemory."""
        said = record["suggestion"]["units"] if record else 0
        units = max(1, min(said or failed_units // 2, failed_units - 1))
        with open(self._file.with_suffix(self._file.suffix + ".lock"), "w", opener=_private.opener) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            before = self.read()
            content = {"units": min(units, before) if before is not None else units, "record": record}
            fresh = self._file.with_suffix(f"{self._file.suffix}.{os.getpid()}")
            _private.write(fresh, json.dumps(content))
            os.replace(fresh, self._file)
        raise RankOutOfMemory(f"out of memory at {failed_units} units; a restart begins with {content['units']} ({self._file})")
