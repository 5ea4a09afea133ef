# SPDX-License-Identifier: Apache-2.0
"""The options of ./demo, which asks this file about them before it downloads or builds anything: Python alone must do."""

import argparse
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
FEWEST_STEPS = 4


def _size(text):
    """A size as gapless-sim reads it; a bare number would be bytes, which nobody means here."""
    if not re.fullmatch(r"[0-9.]+[KMGT](i?B)?", text):
        raise argparse.ArgumentTypeError(f"'{text}' is not a size such as 80GiB")
    return text


def parse(argv=None):
    parser = argparse.ArgumentParser(prog="demo")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "out" / "demo")
    parser.add_argument("--device", choices=("auto", "gpu", "sim"), default="auto")
    parser.add_argument("--size", type=_size, default="80GiB")
    parser.add_argument("--model", choices=("1b", "0.2b", "tiny"))
    args = parser.parse_args(argv)
    if args.steps < FEWEST_STEPS:
        parser.error(f"--steps must be at least {FEWEST_STEPS}: the table tells what happens after the third")
    return args


if __name__ == "__main__":
    parse()
