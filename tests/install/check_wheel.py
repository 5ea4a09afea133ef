# SPDX-License-Identifier: Apache-2.0
"""Makes the wheel, installs it in a clean virtual environment, runs a training loop through `gapless run --sim`, and asks `gapless fit`
whether a script fits a card.

Building everything again takes minutes, so this is left to `tests/run --full` (GAPLESS_TEST_FULL); otherwise the test is skipped
(exit code 77). PyTorch is borrowed from the environment that runs this script.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import sysconfig
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
SKIPPED = 77

LOOP = """
import gapless, torch
assert "site-packages" in gapless.__file__, gapless.__file__
model = torch.nn.Sequential(torch.nn.Linear(256, 1024), torch.nn.GELU(), torch.nn.Linear(1024, 256)).cuda()
optimizer = torch.optim.AdamW(model.parameters())
for step in range(6):
    model(torch.randn(64 + step, 256, device="cuda")).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()
assert gapless.is_installed() and torch.cuda.memory_allocated() > 0
print("ran on gapless")
"""

# A script as a user has one: it knows nothing of gapless, and it has options.
TRAIN = """
import argparse
import torch

parser = argparse.ArgumentParser()
parser.add_argument("--width", type=int, default=1024)
width = parser.parse_args().width
data = torch.utils.data.TensorDataset(torch.randn(256, width), torch.zeros(256, dtype=torch.long))
model = torch.nn.Sequential(torch.nn.Linear(width, 4 * width), torch.nn.GELU(), torch.nn.Linear(4 * width, 10)).cuda()
optimizer = torch.optim.AdamW(model.parameters())
for x, y in torch.utils.data.DataLoader(data, batch_size=32, shuffle=True):
    loss = torch.nn.functional.cross_entropy(model(x.cuda()), y.cuda())
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
"""


def run(command: list, expected: int = 0, **kwargs) -> str:
    words = [str(word) for word in command]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kwargs)
    if done.returncode != expected:
        sys.exit(f"$ {' '.join(words)}\n{done.stdout}\nexit code {done.returncode}, expected {expected}")
    return done.stdout


def build_wheel(scratch: pathlib.Path, build: pathlib.Path) -> pathlib.Path:
    run([sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", scratch, SOURCE, "-C", f"build-dir={build}"], timeout=3000)
    return next(scratch.glob("gapless-*.whl"))


def check(wheel: pathlib.Path, scratch: pathlib.Path) -> None:
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith(("GAPLESS_", "PYTORCH_", "CUDA_", "PYTHON")) and name != "LD_PRELOAD"}
    venv = scratch / "venv"
    run([sys.executable, "-m", "venv", venv])
    python = venv / "bin" / "python"
    run([python, "-m", "pip", "install", "--no-deps", "--no-index", wheel], env=environment)
    packages = run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], env=environment).strip()
    (pathlib.Path(packages) / "borrowed_torch.pth").write_text(sysconfig.get_path("purelib") + "\n")

    environment["PATH"] = f"{venv / 'bin'}:{environment['PATH']}"
    command = venv / "bin" / "gapless"

    def gapless(*arguments, expected: int = 0) -> str:
        return run([command, *arguments], expected, env=environment, cwd=scratch, timeout=900)

    loop = scratch / "loop.py"
    loop.write_text(LOOP)
    if "ran on gapless" not in gapless("run", "--sim", "8GiB", "--", python, loop):
        sys.exit("the loop said nothing")
    if "1 of 1 can be served" not in gapless("run", "--sim", "8GiB", "--", command, "info"):
        sys.exit("gapless info does not see the simulated device")
    gapless("replay", SOURCE / "bench" / "traces" / "adv_pin.trace.gz")
    # The exit codes that --help documents.
    gapless("run", "--", "sh", "-c", "exit 7", expected=7)
    gapless("run", "--", "no-such-program", expected=127)
    gapless("run", "--", loop, expected=126)
    gapless("run", expected=2)
    gapless("no-such-command", expected=2)
    if "\033" in gapless("--help"):
        sys.exit("colours in a pipe")
    check_fit(gapless, scratch)


def check_fit(gapless, scratch: pathlib.Path) -> None:
    """From the installation to a verdict on a script of one's own: one command, no GPU."""
    (scratch / "train.py").write_text(TRAIN)
    said = gapless("fit", "--device", "t4", "--save", "fit.json", "--", "python", "train.py")
    for text in ("FITS", "t4: 14.43 GiB for the allocator", "32 samples", "optimizer state"):
        if text not in said:
            sys.exit(f"gapless fit did not say '{text}':\n{said}")
    # 40 million weights with their gradients and two moments: 640 MiB, and the rest.
    said = gapless("fit", "--device", "600MiB", "--levers", "never", "--", "python", "train.py", "--width", "3162", expected=1)
    if "DOES NOT FIT" not in said:
        sys.exit(f"gapless fit did not see that it does not fit:\n{said}")
    gapless("report", "fit.json", "--html", "fit.html")
    if "<svg" not in (scratch / "fit.html").read_text(encoding="utf-8"):
        sys.exit("the page has no drawing")
    (scratch / "arguments.json").write_text('{"per_device_train_batch_size": 8, "per_device_eval_batch_size": 16, "eval_strategy": "epoch"}')
    if "arguments-eval-batch" not in gapless("doctor", "arguments.json", expected=1):
        sys.exit("gapless doctor did not find the larger evaluation batch")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, help="folder for the wheel's build")
    parser.add_argument("--wheel", type=pathlib.Path, help="check this one instead of building")
    arguments = parser.parse_args()
    if arguments.wheel is None and not os.environ.get("GAPLESS_TEST_FULL"):
        print("left to tests/run --full")
        return SKIPPED
    with tempfile.TemporaryDirectory(prefix="gapless-wheel-") as folder:
        scratch = pathlib.Path(folder)
        check(arguments.wheel or build_wheel(scratch, arguments.build or scratch / "build"), scratch)
    print("the wheel works in a clean environment")
    return 0


if __name__ == "__main__":
    sys.exit(main())
