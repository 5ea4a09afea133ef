# SPDX-License-Identifier: Apache-2.0
"""The command ``gapless fit``."""

import argparse
import json
import pathlib
import signal
import sys

from .. import _private
from . import cards, levers, sweep, text
from .question import Asker
from .run import NoAnswer, Settings
from .steps import GIB

FITS, DOES_NOT, CANNOT_TELL = 0, 1, 2

DESCRIPTION = """\
Says whether a training script fits a card, before it is run there. The script itself runs, unmodified, on a simulated device for a
few steps of training and evaluation: no GPU is needed, kernels do nothing, memory is counted. A table says what the peak is made of,
the largest micro-batch that fits, and, where it does not fit, what would help.

Scripts with torch's DataLoader (transformers' Trainer and accelerate use it) are given batches of several sizes, one of them of the
longest examples of the data set. For others, write {NAME} in the command where the size belongs, and --sweep NAME=2,4.

The script really runs, for a few steps. What it saves with torch.save, safetensors, save_pretrained, the Trainer, accelerate or
Lightning is not written, so that nothing that a real run has learnt is lost; what it writes or removes in other ways, logs for
instance, is.
WANDB_MODE is disabled, and HF_HUB_OFFLINE is 1 unless the environment sets it."""

EPILOG = """\
examples:
  gapless fit --device rtx4090 -- python train.py --config mine.yml
  gapless fit --device 24GiB --max-len 4096 -- python train.py
  gapless fit --device a100 --sweep batch=2,4 -- python train.py --batch-size {batch}
  gapless fit --device t4 --save fit.json -- python train.py; gapless report fit.json --html fit.html

exit codes:
  0  it fits
  1  it does not
  2  could not tell: wrong arguments, the script failed, or its shapes depend on values on the device (the line is named)
  3  a library or tool of gapless is missing from this installation
"""


def add_to(commands, formatter) -> None:
    """The command, among those of the program."""
    command = commands.add_parser("fit", help="say whether a training script fits a card; no GPU needed", description=DESCRIPTION,
                                  epilog=EPILOG, formatter_class=formatter)
    command.add_argument("--device", metavar="CARD", help="a card (rtx4090, a100-80g, h100, t4, ...) or what the allocator can have (24GiB)")
    command.add_argument("--list-devices", action="store_true", help="print the cards that are known and end")
    command.add_argument("--steps", type=_count, default=5, metavar="N", help="training steps to look at (default: 5)")
    command.add_argument("--sweep", metavar="NAME=V1,V2", help="values for {NAME} in the command, a batch size")
    command.add_argument("--max-len", type=_count, metavar="L", help="reckon with examples of this length, not those of the data set")
    command.add_argument("--allocator", choices=("gapless", "pytorch", "expandable"), default="gapless",
                         help="whose memory it runs on: gapless, or PyTorch's own without or with expandable_segments")
    command.add_argument("--levers", choices=("auto", "always", "never"), default="auto",
                         help="look for what would help (auto: when it does not fit)")
    command.add_argument("--timeout", type=_count, default=900, metavar="S", help="seconds that one run may take (default: 900)")
    command.add_argument("--json", action="store_true", help="print the result as JSON")
    command.add_argument("--save", type=pathlib.Path, metavar="FILE", help="keep the result for gapless report")
    command.add_argument("--quiet", action="store_true", help="no progress")
    command.add_argument("command", nargs=argparse.REMAINDER, metavar="-- PROGRAM ...", help="the script and its arguments")
    command.set_defaults(action=run)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a positive number")
    return int(text)


def _fail(message: str) -> int:
    print(f"gapless: fit: {message}", file=sys.stderr)
    return CANNOT_TELL


class _Progress:
    """One line on stderr, rewritten on a terminal; a line for each run elsewhere."""

    def __init__(self, quiet: bool) -> None:
        self._quiet, self._terminal, self._last = quiet, sys.stderr.isatty(), ""

    def __call__(self, text: str) -> None:
        if self._quiet:
            return
        if self._terminal:
            sys.stderr.write(f"\r\033[K{text[:100]}")
        elif (head := text.split(": step")[0].split(": start")[0]) != self._last:
            self._last = head
            sys.stderr.write(f"gapless: fit: {head}\n")
        sys.stderr.flush()

    def end(self) -> None:
        if self._terminal and not self._quiet:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()


def _print_cards() -> None:
    print(f"{'name':<14}{'GiB':>8}{'context':>9}  {'compute':<9}source")
    for card in dict.fromkeys(cards.table().values()):
        print(f"{card.name:<14}{card.capacity / GIB:>8.2f}{card.context / GIB:>9.2f}  {card.capability[0]}.{card.capability[1]:<7}{card.source}")


def run(arguments: argparse.Namespace) -> int:
    if arguments.list_devices:
        _print_cards()
        return FITS
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not command:
        return _fail("no command given (try gapless fit --device rtx4090 -- python train.py)")
    if arguments.device is None:
        return _fail("--device is missing: a card such as rtx4090, or a size such as 24GiB (gapless fit --list-devices)")
    progress = _Progress(arguments.quiet)
    # The program has a session of its own, which ends with this process only if this one gets to end it.
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        card = cards.find(arguments.device)
        swept = sweep.parse(arguments.sweep, tuple(command)) if arguments.sweep else None
        settings = Settings(tuple(command), steps=arguments.steps, timeout=arguments.timeout, max_len=arguments.max_len,
                            allocator=arguments.allocator)
        asker = Asker(settings, card, progress)
        found = asker.answer(swept)
        if arguments.levers == "always" or (arguments.levers == "auto" and found.verdict == "does not fit"):
            found.levers = levers.find(found, asker)
            found.runs = asker.runs
    except (ValueError, NoAnswer) as error:
        progress.end()
        return _fail(str(error))
    finally:
        signal.signal(signal.SIGTERM, before)
    progress.end()
    data = text.as_data(found, command)
    if arguments.json:
        print(json.dumps(data, indent=1))
    else:
        from ..report import show

        show(text.sections(data))
    if arguments.save:
        # After the answer: minutes of runs are in it.
        try:
            _private.write(arguments.save, json.dumps(data))
        except OSError as error:
            return _fail(f"--save {arguments.save}: {error.strerror}")
    return {"fits": FITS, "does not fit": DOES_NOT}.get(found.verdict, CANNOT_TELL)
