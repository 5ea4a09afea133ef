# SPDX-License-Identifier: Apache-2.0
"""The rules of rules.jsonl, one a line, and which of them a configuration breaks.

The fields of a rule: ``id``; ``for``: the kinds it concerns; ``level``: error (it will not run, or not as meant), warning (it costs
memory, speed or a run), note (good to know; no fault by itself); ``when``: an expression that holds where the rule is broken
(expression.py); ``what``, ``why``, ``instead``: texts with expressions in braces; ``source``.
"""

import dataclasses
import functools
import json
import pathlib

from .expression import BadRule, evaluate, names, render

LEVELS = ("error", "warning", "note")


@dataclasses.dataclass(frozen=True)
class Rule:
    id: str
    kinds: tuple[str, ...]
    level: str
    when: str
    what: str
    why: str
    instead: str
    source: str


@dataclasses.dataclass(frozen=True)
class Finding:
    """A broken rule, or what is wrong with a file that no rule is about."""

    level: str
    rule: str
    what: str
    why: str
    instead: str
    source: str = ""
    where: str = ""


@functools.cache
def rules() -> tuple[Rule, ...]:
    text = (pathlib.Path(__file__).resolve().parent / "rules.jsonl").read_text(encoding="utf-8")
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            raw = json.loads(line)
            found.append(Rule(kinds=tuple(raw.pop("for")), **raw))
        except (ValueError, TypeError, KeyError) as error:
            raise BadRule(f"rules.jsonl, line {number}: {error}") from error
    return tuple(found)


def broken(kind: str, facts: dict, where: str = "") -> list[Finding]:
    """The rules of the kind that the facts break, errors first. What is of a kind that a rule cannot compute with breaks it not."""
    found = []
    for rule in rules():
        if kind not in rule.kinds:
            continue
        try:
            holds = evaluate(rule.when, facts)
        except BadRule:
            raise
        except (TypeError, ValueError, ZeroDivisionError):
            continue
        if holds:
            texts = {name: render(getattr(rule, name), facts) for name in ("what", "why", "instead")}
            found.append(Finding(rule.level, rule.id, source=rule.source, where=where, **texts))
    return sorted(found, key=lambda finding: LEVELS.index(finding.level))


def looked_at(kind: str) -> int:
    """How many rules concern the kind."""
    return sum(kind in rule.kinds for rule in rules())


__all__ = ["Finding", "LEVELS", "Rule", "broken", "looked_at", "names", "rules"]
