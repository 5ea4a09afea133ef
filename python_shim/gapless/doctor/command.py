# SPDX-License-Identifier: Apache-2.0
"""The command ``gapless doctor``."""

import argparse
import os
import pathlib
import sys
import textwrap

from .. import _build_torch
from . import check
from .kinds import all_kinds
from .read import NotReadable

CLEAN, BROKEN, CANNOT_TELL = 0, 1, 2

DESCRIPTION = """\
Says which known rules a training configuration breaks, why, and what to write instead.

FILE is an axolotl YAML, a TrainingArguments JSON, an accelerate configuration, or a script or environment file that sets
PYTORCH_ALLOC_CONF. The allocator strings of the environment are looked at too. Nothing in a file is run.

After -- comes a program that trains: it runs on the simulated device until its Trainer begins or its first step is done, and what it
really trains with is looked at."""

EPILOG = """\
examples:
  gapless doctor train.yml
  gapless doctor --gpus 8 --device t4 train.yml accelerate.yaml
  gapless doctor -- python train.py --config mine.yml
  gapless doctor --rules

exit codes:
  0  no rule is broken (notes count as none)
  1  at least one is
  2  it could not tell: wrong arguments, a broken file, a file of no known kind, a program that failed before it trained
"""


def add_to(commands, formatter) -> None:
    """The command, among those of the program."""
    command = commands.add_parser("doctor", help="say what is wrong with a training configuration", description=DESCRIPTION,
                                  epilog=EPILOG, formatter_class=formatter)
    command.add_argument("--kind", choices=[one.name for one in all_kinds()], help="what the files are, where it cannot be told")
    command.add_argument("--gpus", type=_count, default=None, metavar="N",
                         help="GPUs that train (default: what the configuration says, else 1)")
    command.add_argument("--device", metavar="CARD", help="the card that trains, or its compute capability: t4, a100-80g, 7.5")
    command.add_argument("--torch", metavar="VERSION", help="the version of PyTorch that trains (default: the installed one)")
    command.add_argument("--json", action="store_true", help="as JSON")
    command.add_argument("--rules", action="store_true", help="print the rules and end")
    command.add_argument("--timeout", type=_count, default=900, metavar="S", help="seconds that a program may take (default: 900)")
    command.add_argument("file", nargs="*", metavar="FILE | -- PROGRAM ...")
    command.set_defaults(action=run, program=None)


def split(argv: list[str]) -> tuple[list[str], list[str] | None]:
    """What comes before -- and the program after it: argparse would take the program's options for its own."""
    if argv[:1] == ["doctor"] and "--" in argv:
        place = argv.index("--")
        return argv[:place], argv[place + 1:]
    return argv, None


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a positive number")
    return int(text)


def _fail(message: str) -> int:
    print(f"gapless: doctor: {message}", file=sys.stderr)
    return CANNOT_TELL


def _version(text: str | None) -> tuple[int, int] | None:
    if text is None:
        torch = _build_torch.find_torch()
        text = torch.version if torch is not None else None
    if text is None:
        return None
    major, minor = text.split(".")[:2]
    return int(major), int("".join(c for c in minor if c.isdigit()))


def _capability(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    major, dot, minor = text.partition(".")
    if dot and major.isdecimal() and minor.isdecimal():
        return int(major), int(minor)
    from ..fit import cards

    return cards.find(text).capability


def run(arguments: argparse.Namespace) -> int:
    if arguments.rules:
        _print_rules()
        return CLEAN
    try:
        context = check.Context(arguments.gpus or 1, arguments.device, _capability(arguments.device), _version(arguments.torch))
    except ValueError as error:
        return _fail(str(error) if arguments.torch is None else f"--torch: '{arguments.torch}' is no version such as 2.11")
    files, command = arguments.file, arguments.program
    if command is not None and not command:
        return _fail("no program after -- (try gapless doctor -- python train.py)")
    if not files and not command and check.environment(context) is None:
        return _fail("no file given, and the environment sets no allocator string (try gapless doctor train.yml)")
    results, unread = [], 0
    for name in files:
        try:
            results.append(check.file(pathlib.Path(name), context, arguments.kind))
        except OSError as error:
            unread += 1
            _fail(f"{name}: {error.strerror}")
        except NotReadable as error:
            unread += 1
            _fail(f"{name}: {error}")
    if command:
        from ..fit.run import NoAnswer
        from .running import results as running

        try:
            results += running(command, context, arguments.timeout)
        except NoAnswer as error:
            # What the files have told is worth showing all the same.
            unread += 1
            _fail(str(error))
    elif (environment := check.environment(context)) is not None:
        results.append(environment)
    if arguments.json:
        print(check.as_json(results))
    else:
        show(results)
    if unread:
        return CANNOT_TELL
    return verdict(results)


def verdict(results: list[check.Result]) -> int:
    return BROKEN if any(one.level != "note" for result in results for one in result.findings) else CLEAN


_COLOURS = {"error": "31", "warning": "33", "note": "36"}


def show(results: list[check.Result], out=None) -> None:
    """Findings as text; colours on a terminal only, and not against NO_COLOR."""
    out = out or sys.stdout
    colour = out.isatty() and not os.environ.get("NO_COLOR")
    for index, result in enumerate(results):
        print(("\n" if index else "") + f"{result.name}: {result.title}", file=out)
        for finding in result.findings:
            level = f"\033[{_COLOURS[finding.level]}m{finding.level}\033[0m" if colour else finding.level
            place = f"{finding.where}: " if finding.where else ""
            print(f"  {level}: {place}{finding.what}  [{finding.rule}]", file=out)
            for name, text in (("why", finding.why), ("instead", finding.instead), ("source", finding.source)):
                if text:
                    print(textwrap.fill(text, 116, initial_indent=f"    {name + ':':<9}", subsequent_indent=" " * 13), file=out)
        faults = sum(one.level != "note" for one in result.findings)
        notes = len(result.findings) - faults
        counts = f"{faults} of {result.rules} rules broken" if faults else f"none of {result.rules} rules broken"
        print(f"  {counts}" + (f", {notes} note{'s' if notes > 1 else ''}" if notes else ""), file=out)


def _print_rules() -> None:
    from .rules import rules

    for rule in rules():
        print(f"{rule.id} ({rule.level}; {', '.join(rule.kinds)})\n    when    {rule.when}\n    instead {rule.instead}\n    source  {rule.source}")
