# SPDX-License-Identifier: Apache-2.0
"""The scripts of the tests: the command that runs one, on its own or in a fork of a server that has imported PyTorch already."""

import contextlib
import pathlib
import subprocess
import sys
import time

from gapless.fit import cards, run

MIB = 1 << 20
SCRIPTS = pathlib.Path(__file__).resolve().parent / "scripts"
SERVER = pathlib.Path(__file__).resolve().parent / "server.py"
_socket = ""  # of the server; "": each run has a Python of its own


@contextlib.contextmanager
def served(folder):
    """Scripts run in forks of one process meanwhile: importing PyTorch takes longer than a short run."""
    global _socket
    path = folder / "socket"
    serving = run.on_device(run.ROOMY, "gapless", [sys.executable, str(SERVER), "serve", str(path)])
    with subprocess.Popen(serving, stdin=subprocess.DEVNULL) as process:
        until = time.monotonic() + 300
        while not path.exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.2)
        _socket = str(path)
        yield
        _socket = ""
        process.kill()


def command(name, batch=None):
    extra = ["--batch-size", str(batch or 4)] if name == "gpt2_loop" else []
    through = ["-S", "-E", str(SERVER), "run", _socket] if _socket else []
    return (sys.executable, *through, str(SCRIPTS / f"{name}.py"), *extra)


def settings(name, **more):
    return run.Settings(command(name), **more)


def size(count):
    """A device of so many bytes, down to whole pages."""
    return cards.Card(f"{count // MIB}MiB", count // (2 * MIB) * 2 * MIB, 0, None)
