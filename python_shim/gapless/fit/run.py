# SPDX-License-Identifier: Apache-2.0
"""Starting a program on the simulated device with the observer in it, and getting back what it saw."""

import dataclasses
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

from .. import _libraries
from .cards import Card
from .steps import Run

# More than any program takes, little enough for the address space of the simulated device.
ROOMY = Card("1 TiB", 1 << 40, 0, None)


def roomy(capability: tuple[int, int] | None) -> Card:
    """Room for everything on a card of that compute capability."""
    return dataclasses.replace(ROOMY, capability=capability)


class NoAnswer(RuntimeError):
    """The program did not get far enough to be judged; the text says why, for the user."""


class Failed(NoAnswer):
    """The program itself failed, after `steps` training steps."""

    def __init__(self, text: str, steps: int) -> None:
        super().__init__(text)
        self.steps = steps


@dataclasses.dataclass(frozen=True)
class Settings:
    """What all runs of one question have in common."""

    command: tuple[str, ...]
    steps: int = 5
    patience: int = 12
    timeout: float = 900.0
    max_len: int | None = None
    allocator: str = "gapless"
    folder: str | None = None


@dataclasses.dataclass(frozen=True)
class Outcome:
    run: Run
    card: Card
    fits: bool
    seconds: float


def environment(plan: pathlib.Path, allocator: str, observer: str = "gapless.fit.inside.observer") -> dict[str, str]:
    from .. import cli

    inside = pathlib.Path(__file__).resolve().parent / "inside" / "entry"
    result = dict(os.environ) | {
        "GAPLESS_OBSERVER": observer, "GAPLESS_FIT_PLAN": str(plan), "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(inside), os.environ.get("PYTHONPATH")])),
        "GAPLESS_LIBRARY_DIR": str(_libraries.library_dir()),
        # Nothing of this run belongs into a log of runs, or onto a hub.
        "WANDB_MODE": "disabled", "HF_HUB_OFFLINE": os.environ.get("HF_HUB_OFFLINE", "1")}
    if allocator != "gapless":
        # The allocator that was asked for, whatever the shell has for other runs.
        for name in ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"):
            result.pop(name, None)
    if allocator == "expandable":
        result["PYTORCH_CUDA_ALLOC_CONF"] = "expandable_segments:True"
    return cli._with_torch_library(result) if allocator == "gapless" else result


def on_device(card: Card, allocator: str, command: list[str]) -> list[str]:
    from .. import cli

    size = str(card.capacity)
    extra = ["--other-process-bytes", str(card.context)] if card.context else []
    if card.capability:
        extra += ["--capability", "{}.{}".format(*card.capability)]
    return [str(cli._tool("gapless-sim")), "--quiet", "--size", size, *extra, *(["--gapless"] if allocator == "gapless" else []),
            "--", *command]


def run(settings: Settings, card: Card, plan: dict, *, command: list[str] | None = None, tell=lambda text: None) -> Outcome:
    """Runs the program on `card` as the plan says. NoAnswer where it ended before a step did, other than for memory."""
    with tempfile.TemporaryDirectory(prefix="gapless-fit-") as name:
        folder = pathlib.Path(name)
        path = folder / "plan.json"
        full = {"result": str(folder / "result"), "progress": str(folder / "progress"), "steps": settings.steps,
                "patience": settings.patience, "max_len": settings.max_len, "sizes": [], **plan}
        path.write_text(json.dumps(full), encoding="utf-8")
        start = time.monotonic()
        with open(folder / "output", "wb") as output:
            child = subprocess.Popen(on_device(card, settings.allocator, list(command or settings.command)), stdin=subprocess.DEVNULL,
                                     stdout=output, stderr=subprocess.STDOUT, env=environment(path, settings.allocator),
                                     start_new_session=True)
            try:
                _wait(child, folder / "progress", settings.timeout, tell)
            finally:
                # Workers of its loaders too.
                try:
                    os.killpg(child.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        found = [json.loads(one.read_text(encoding="utf-8")) for one in sorted(folder.glob("result.[0-9]*")) if one.suffix != ".part"]
        text = (folder / "output").read_text(encoding="utf-8", errors="replace")
    raw = max(found, key=lambda one: (one["steps"], len(one["events"])), default=None)
    if raw is None or (not raw["steps"] and raw["why"] not in ("oom", "arguments")):
        raise Failed(_why(settings, child.returncode, raw, text), 0)
    if raw["why"] == "ended" and child.returncode not in (0, None):
        raise Failed(_why(settings, child.returncode, raw, text), raw["steps"])
    if raw.get("dropped"):
        raise NoAnswer("it allocates more often than the history of allocations holds; fewer --steps may do")
    if raw["world_size"] > 1:
        raise NoAnswer("it runs as several ranks, and the simulated device has no NCCL: start one process (python train.py, or "
                       "torchrun --nproc-per-node 1)")
    return Outcome(Run(raw), card, raw["why"] != "oom" and not raw["ooms"], time.monotonic() - start)


def _wait(child, progress: pathlib.Path, timeout: float, tell) -> None:
    until, seen = time.monotonic() + timeout, ""
    while True:
        try:
            child.wait(0.2)
            return
        except subprocess.TimeoutExpired:
            pass
        text = progress.read_text(encoding="utf-8").splitlines()[-1] if progress.exists() and progress.stat().st_size else "starting"
        if text != seen:
            tell(seen := text)
        if time.monotonic() > until:
            raise NoAnswer(f"it was not done after {timeout:.0f} s (--timeout); values read from the device are zeros here, and a loop that "
                           "waits for one never ends")


def _without_ours(lines: list[str]) -> list[str]:
    """Of a traceback: our frames, which stand between all calls of modules, tell nobody anything."""
    kept, ours = [], False
    for line in lines:
        if line.startswith('  File "'):
            ours = "/gapless/fit/inside/" in line
        elif not line.startswith("    "):
            ours = False
        if not ours:
            kept.append(line)
    return kept


def _why(settings: Settings, code: int, raw: dict | None, text: str) -> str:
    tail = "\n".join("    " + line for line in _without_ours(text.strip().splitlines())[-25:])
    said = f"; the last it said:\n{tail}" if tail else ""
    if "HF_HUB_OFFLINE" not in os.environ and re.search(r"HF_HUB_OFFLINE|OfflineMode|offline mode|in the cached files", text):
        said += "\nfit runs without the network; HF_HUB_OFFLINE=0 gapless fit ... lets the script load what it needs from the hub"
    if raw is None and code == 0:
        return ("it ended without using CUDA through PyTorch, or its Python does not look at PYTHONPATH (python -I, -E or -S)" + said)
    if raw is not None and code == 0:
        return f"it ended without a training step (no optimizer's step() was called){said}"
    if code in (126, 127) and settings.command[0].endswith(".py"):
        return f"{settings.command[0]} cannot be run; gapless fit ... -- python {' '.join(settings.command)} may be what was meant"
    if code in (126, 127):
        return f"{settings.command[0]} cannot be run{said}"
    when = f"after {raw['steps']} training steps" if raw is not None and raw["steps"] else "before its first training step ended"
    return f"it failed {when} (exit code {code}){said}"


def ask(question: dict, settings: Settings) -> dict:
    """The forecast about recorded steps; see replay.py."""
    with tempfile.TemporaryDirectory(prefix="gapless-fit-") as name:
        asked, answered = pathlib.Path(name) / "question", pathlib.Path(name) / "answer"
        asked.write_text(json.dumps(question), encoding="utf-8")
        package = str(pathlib.Path(__file__).resolve().parents[2])
        environ = {key: value for key, value in os.environ.items() if key not in ("GAPLESS_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF")}
        environ |= {"GAPLESS_LIBRARY_DIR": str(_libraries.library_dir())}
        # Behind Python's own folders: what lies beside the package may have the name of a module of Python's.
        program = f"import sys; sys.path.append({package!r}); from gapless.fit.replay import main; sys.exit(main())"
        command = on_device(ROOMY, "none", [sys.executable, "-c", program, str(asked), str(answered)])
        done = subprocess.run(command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode or not answered.exists():
            raise NoAnswer(f"the forecast failed: {(done.stderr or done.stdout).strip()[-500:]}")
        return json.loads(answered.read_text(encoding="utf-8"))
