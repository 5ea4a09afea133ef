# SPDX-License-Identifier: Apache-2.0
"""``gapless doctor -- python train.py``: the arguments and settings that a program really trains with, against the rules.

The program runs on the simulated device until transformers' Trainer begins to train, or until its first optimizer step has ended.
"""

from ..fit import run as runs
from . import allocator, check
from .kinds import kind
from .rules import Finding


def results(command: list[str], context: check.Context, timeout: float) -> list[check.Result]:
    """Raises runs.NoAnswer when the program does not get that far."""
    settings = runs.Settings(tuple(command), steps=1, patience=0, timeout=timeout)
    outcome = runs.run(settings, runs.roomy(context.capability), {"sizes": [], "stop_at_arguments": True, "control": False})
    return of(outcome.run.raw, context)


def of(raw: dict, context: check.Context) -> list[check.Result]:
    """What the observer saw, against the rules."""
    facts, environ = raw["facts"], raw["environment"]
    found = []
    if facts["trainer"]:
        found.append(check.mapping("the running Trainer", facts["arguments"], kind("training_arguments"), context, keys=False))
    if precision := environ.get("ACCELERATE_MIXED_PRECISION"):
        found.append(check.mapping("the running accelerate", {"mixed_precision": precision}, kind("accelerate"), context, keys=False))
    texts = {name: environ[name] for name in allocator.NAMES if environ.get(name)}
    findings = check.strings(texts, context)
    if raw["reads"] and any(one["shape"] for one in raw["reads"]):
        one = next(one for one in raw["reads"] if one["shape"])
        findings.append(Finding("note", "shapes-from-values", f"{one['file']}:{one['line']} makes shapes of values on the device ({one['what']}).",
                                "The host waits for the device there, and what the step needs cannot be told ahead.",
                                "sizes that the host knows, where that is possible", "docs/fit.md"))
    shown = ", ".join(f"{name}={text}" for name, text in texts.items()) or "no allocator string"
    found.append(check.Result("the running process", shown, check.looked_at("allocator"), findings))
    return found
