# SPDX-License-Identifier: Apache-2.0
"""Runs scripts in forks of a process that has imported PyTorch already: what takes longest in a short run is done once.

    server.py serve SOCKET              under gapless-sim --gapless; CUDA is never touched here, so that each fork starts it anew
    server.py run SOCKET SCRIPT ...     the script in a fork, with this environment, folder and output; its exit code

A fork reads the size of the simulated device from the environment that it is handed. The observer of gapless fit, which Python's start
would have loaded, is begun where the environment asks for it.
"""

import array
import importlib
import json
import os
import runpy
import socket
import sys


def _imports() -> None:
    import accelerate  # noqa: F401
    import peft  # noqa: F401
    import torch  # noqa: F401
    import transformers
    from transformers import (BertForSequenceClassification, GPT2LMHeadModel, LlamaForCausalLM,  # noqa: F401
                              T5ForConditionalGeneration, Trainer, TrainingArguments, ViTForImageClassification)
    assert transformers.__version__


def serve(path: str) -> None:
    _imports()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _handle(connection)
            os._exit(0)
        connection.close()
        while True:  # handlers that are done
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    break
            except ChildProcessError:
                break


def _handle(connection: socket.socket) -> None:
    message, ancillary, _, _ = connection.recvmsg(1 << 22, socket.CMSG_SPACE(8))
    files = array.array("i")
    for _, _, data in ancillary:
        files.frombytes(data)
    size, _, text = message.partition(b"\n")
    while len(text) < int(size):
        text += connection.recv(1 << 22)
    request = json.loads(text)
    child = os.fork()
    if child == 0:
        _run(request, list(files))
    _, status = os.waitpid(child, 0)
    connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())


def _run(request: dict, files: list[int]) -> None:
    code = 1
    try:
        os.dup2(files[0], 1)
        os.dup2(files[1], 2)
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["folder"])
        sys.argv = request["command"]
        sys.path.insert(0, os.path.dirname(sys.argv[0]))
        if name := os.environ.get("GAPLESS_OBSERVER"):
            importlib.import_module(name).begin()
        runpy.run_path(sys.argv[0], run_name="__main__")
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        import atexit

        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def run(path: str, command: list[str]) -> int:
    request = json.dumps({"environment": dict(os.environ), "folder": os.getcwd(), "command": command}).encode()
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    connection.sendmsg([str(len(request)).encode() + b"\n"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [1, 2]))])
    connection.sendall(request)
    return int(connection.recv(16) or b"1")


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    sys.exit(run(sys.argv[2], sys.argv[3:]))
