# SPDX-License-Identifier: Apache-2.0
"""Runs finetune.py on three allocators, prints one table, writes DIR/index.html. Called by ./demo; see ./demo --help."""

import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import arguments
import figures
import page
import picture

HERE = pathlib.Path(__file__).resolve().parent
BUILD = pathlib.Path(os.environ.get("GAPLESS_BUILD_DIR", arguments.ROOT / "build" / "release"))
STEP = re.compile(r"step (\d+)/(\d+): loss")

console = Console(stderr=True)


class Allocator:
    def __init__(self, name, title, settings="", gapless=False):
        self.name = name  # as gapless-replay calls it
        self.title = title
        self.settings = settings
        self.gapless = gapless

    def environment(self, on_simulation):
        environment = {key: value for key, value in os.environ.items() if key not in ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")}
        environment["PYTHONUNBUFFERED"] = "1"
        if self.settings:
            environment["PYTORCH_CUDA_ALLOC_CONF"] = self.settings
        if self.gapless and not on_simulation:
            preload = str(BUILD / "lib" / "libgapless_preload.so")
            environment["LD_PRELOAD"] = ":".join(filter(None, [preload, os.environ.get("LD_PRELOAD")]))
        return environment


ALLOCATORS = [
    Allocator("native", "PyTorch"),
    Allocator("expandable", "expandable_segments", settings="expandable_segments:True"),
    Allocator("gapless", "gapless", gapless=True),
]


def fail(message):
    console.print(f"demo: {message}", style="bold red", highlight=False)
    sys.exit(1)


def gpu_bytes():
    """Memory of the first GPU, 0 when there is none. Asked in a child, so that nothing of CUDA starts here."""
    code = "import torch; print(torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else 0)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    # Other lines may come before it: packages greet on import.
    return int(done.stdout.split()[-1]) if done.returncode == 0 else 0


def model_that_fits(total):
    """Native needs about 45 GB for 1b and 14 GB for 0.2b with the script's defaults."""
    return "1b" if total >= 50 << 30 else "0.2b" if total >= 16 << 30 else "tiny"


def launcher(allocator, args, on_simulation, stats):
    if not on_simulation:
        return []
    command = [str(BUILD / "bin" / "gapless-sim"), "--size", args.size, "--stats", str(stats)]
    return [*command, *(["--gapless"] if allocator.gapless else []), "--"]


def train(allocator, args, on_simulation, progress):
    """Runs the script once and returns what observe.py saw."""
    result = args.out / f"{allocator.name}.json"
    log = args.out / f"{allocator.name}.log"
    command = launcher(allocator, args, on_simulation, args.out / f"{allocator.name}.stats.json")
    command += [sys.executable, str(HERE / "observe.py"), str(result)]
    if allocator.name == "native":
        command += ["--trace", str(args.out / "demo.trace.gz")]
    command += [str(HERE / "finetune.py"), "--model", args.model, "--steps", str(args.steps)]
    task = progress.add_task(allocator.title, total=args.steps, note="starting")
    if not console.is_terminal:  # no bar is drawn there
        console.print(f"demo: training on {allocator.title}")
    result.unlink(missing_ok=True)
    with open(log, "w", encoding="utf-8") as out:
        out.write(shlex.join(command) + "\n")
        environment = allocator.environment(on_simulation)
        child = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for line in child.stdout:
            out.write(line)
            if match := STEP.match(line):
                progress.update(task, completed=int(match[1]), note="")
        code = child.wait()
    if code or not result.exists():
        tail = "".join(open(log, encoding="utf-8").readlines()[-15:])
        fail(f"the run on {allocator.title} ended with exit code {code}; the end of {log}:\n{tail}")
    seen = json.loads(result.read_text())
    if seen["gapless"] != allocator.gapless:
        fail(f"the run on {allocator.title} was {'not ' if allocator.gapless else ''}served by gapless; see {log}")
    progress.update(task, note=f"peak {seen['peak_device_bytes'] / 2**30:.2f} GiB")
    return seen


def replay(allocator, args, trace):
    """The recorded requests through one allocator, without the model around them."""
    command = [str(BUILD / "bin" / "gapless-replay"), "--allocator", allocator.name, "--size", args.size]
    command += ["--timing-runs", str(figures.REPLAYS), "--json", str(trace)]
    done = subprocess.run(command, env=allocator.environment(True), capture_output=True, text=True, check=False)
    if done.returncode:
        fail(f"{shlex.join(command)} ended with exit code {done.returncode}:\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def print_table(rows):
    table = Table(title="One script, three allocators", title_justify="left")
    table.add_column("")
    for row in rows:
        table.add_column(row.title, justify="right")
    for label, cells, best in figures.table(rows):
        table.add_row(label, *(f"[bold]{cell}[/]" if index in best else cell for index, cell in enumerate(cells)))
    table.caption = figures.FOOTNOTE
    table.caption_justify = "left"
    Console().print(table)


def main():
    args = arguments.parse()
    args.out.mkdir(parents=True, exist_ok=True)
    total = 0 if args.device == "sim" else gpu_bytes()
    if args.device == "gpu" and not total:
        fail("no GPU that torch can use; try --device sim")
    on_simulation = not total
    args.model = args.model or ("1b" if on_simulation else model_that_fits(total))
    console.print(f"demo: {'the simulated device, ' + args.size if on_simulation else 'the GPU'}, model {args.model}, {args.steps} steps")

    columns = (TextColumn("{task.description:<20}"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f}"), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[note]}"), console=console) as progress:
        seen = {allocator.name: train(allocator, args, on_simulation, progress) for allocator in ALLOCATORS}
        if not console.is_terminal:
            console.print("demo: replaying the recorded requests")
        task = progress.add_task("replaying", total=len(ALLOCATORS), note="the recorded requests, for the allocator's own time")
        replayed = {}
        for allocator in ALLOCATORS:
            replayed[allocator.name] = replay(allocator, args, args.out / "demo.trace.gz")
            progress.advance(task)

    live = seen["native"]["peak_live_bytes"]
    rows = [figures.Row(allocator.name, allocator.title, seen[allocator.name], replayed[allocator.name], live) for allocator in ALLOCATORS]
    print_table(rows)
    target = args.out / "index.html"
    target.write_text(page.render(rows, seen["native"]["live"], args, on_simulation), encoding="utf-8")
    (args.out / "memory.svg").write_text(picture.render(rows, seen["native"]["live"]), encoding="utf-8")
    print(f"the page: {target}")


if __name__ == "__main__":
    main()
