# SPDX-License-Identifier: Apache-2.0
"""One file, one environment or one recorded run against the rules."""

import dataclasses
import json
import os
import pathlib

from . import allocator
from .kinds import Kind, all_kinds, kind, recognise, unknown
from .read import Content, NotReadable, read
from .rules import Finding, broken, looked_at


@dataclasses.dataclass(frozen=True)
class Context:
    """What a file does not say: the number of GPUs, the card (None: not known), and the version of PyTorch as (2, 11)."""

    gpus: int = 1
    card: str | None = None
    capability: tuple[int, int] | None = None
    torch: tuple[int, int] | None = None

    def facts(self) -> dict:
        found: dict = {"gpus": self.gpus, "card": self.card or "this card"}
        if self.capability is not None:
            found |= {"card_bf16": self.capability >= (8, 0), "card_fp8": self.capability >= (8, 9)}
        if self.torch is not None:
            found |= {"torch": self.torch[0] * 100 + self.torch[1], "torch_version": f"{self.torch[0]}.{self.torch[1]}"}
        return found


@dataclasses.dataclass(frozen=True)
class Result:
    """What was looked at, and what is wrong with it."""

    name: str
    title: str
    rules: int
    findings: list[Finding]


def _keys(data: dict, one: Kind) -> list[Finding]:
    found = []
    for key in unknown(data, one):
        if key.instead:
            found.append(Finding("warning", "outdated-key", f"{key.key} is a key of older versions.",
                                 "What reads the file ignores it or refuses the file.", key.instead, one.source))
        else:
            found.append(Finding("warning", "unknown-key", f"{key.key} is not known in an {one.title}." if one.title[0] in "aeiou" else f"{key.key} is not known in {one.title}.",
                                 "What reads the file ignores it or refuses the file.",
                                 f"{key.nearest}, if that was meant" if key.nearest else "leave it out", one.source))
    return found


def strings(texts: dict[str, str], context: Context, where: str = "") -> list[Finding]:
    """PyTorch's allocator strings, by the variable that holds each."""
    found = []
    for name, text in texts.items():
        other = next((value for key, value in texts.items() if key != name), None)
        facts = context.facts() | allocator.facts(text, name) | {"alloc_other": other}
        found += [one for one in broken("allocator", facts, where or name)
                  if one.rule not in {old.rule for old in found if old.rule == "alloc-both-names"}]
    return found


def environment(context: Context, environ=os.environ) -> Result | None:
    """The allocator strings of an environment; None where there is none."""
    texts = {name: environ[name] for name in allocator.NAMES if environ.get(name)}
    if not texts:
        return None
    shown = ", ".join(f"{name}={text}" for name, text in texts.items())
    return Result(shown, "this environment", looked_at("allocator"), strings(texts, context))


def mapping(name: str, data: dict, one: Kind, context: Context, *, keys: bool = True) -> Result:
    """A configuration that was read, or the arguments of a run."""
    if one.name == "accelerate" and isinstance(data.get("num_processes"), int):
        context = dataclasses.replace(context, gpus=max(1, data["num_processes"]))
    facts = {**data, **context.facts()}
    findings = broken(one.name, facts) + (_keys(data, one) if keys else [])
    return Result(name, one.title, looked_at(one.name), findings)


def file(path: pathlib.Path, context: Context, chosen: str | None = None) -> Result:
    """A configuration file, or a script that sets allocator strings. Raises OSError or NotReadable."""
    content = read(path)
    if content.data is None:
        return _script(path, content, context)
    one = kind(chosen) if chosen else recognise(content.data)
    if one is None:
        raise NotReadable(_unlike_any(content.data))
    result = mapping(str(path), content.data, one, context)
    twice = [Finding("warning", "key-twice", f"{key} stands in the file more than once.", "The last one counts, silently.",
                     f"one {key}") for key in content.twice]
    return dataclasses.replace(result, findings=result.findings + twice)


def _unlike_any(data: dict) -> str:
    if {"train_micro_batch_size_per_gpu", "zero_optimization"} & set(data):
        return "it is a DeepSpeed configuration, which this version has no rules for"
    titles = ", ".join(one.title for one in all_kinds())
    shown = ", ".join(list(data)[:5])
    return f"it is like none of: {titles} (its keys: {shown}{', ...' if len(data) > 5 else ''}); --kind says what it is"


def _script(path: pathlib.Path, content: Content, context: Context) -> Result:
    found = allocator.in_text(content.text)
    if not found:
        raise NotReadable("it is neither YAML nor JSON by its name, and sets no PYTORCH_ALLOC_CONF or PYTORCH_CUDA_ALLOC_CONF")
    findings = []
    for line, name, text in found:
        findings += strings({name: text}, context, f"line {line}")
    return Result(str(path), "a script that sets allocator strings", looked_at("allocator"), findings)


def as_json(results: list[Result]) -> str:
    return json.dumps({"doctor": [dataclasses.asdict(result) for result in results]}, indent=1)
