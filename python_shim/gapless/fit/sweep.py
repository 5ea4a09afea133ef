# SPDX-License-Identifier: Apache-2.0
"""A size that the command takes as an argument: {NAME} in it, or an option that looks like a batch size."""

import dataclasses
import re


@dataclasses.dataclass(frozen=True)
class Sweep:
    name: str
    template: tuple[str, ...]
    values: tuple[int, ...]  # ascending
    own: int | None = None  # what the command said

    def command(self, value: int) -> list[str]:
        return [part.replace("{" + self.name + "}", str(value)) for part in self.template]


def parse(text: str, command: tuple[str, ...]) -> Sweep:
    """NAME=V1,V2,... ValueError that says what is wrong."""
    name, equals, values = text.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z_]\w*", name) or not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", values):
        raise ValueError(f"--sweep {text}: NAME=V1,V2,... with positive whole numbers is wanted, batch=2,4,8 for instance")
    if not any("{" + name + "}" in part for part in command):
        raise ValueError(f"--sweep {text}: there is no {{{name}}} in the command: write it where the value belongs, "
                         f"python train.py --batch-size {{{name}}} for instance")
    return Sweep(name, command, tuple(sorted({int(value) for value in values.split(",")})))


_OPTION = re.compile(r"--?(?:[a-z]+[-_])*(?:batch|bs)(?:[-_]?size)?(?:[-_][a-z]+)*", re.IGNORECASE)
# Those of evaluation, those that are no size (--batch-norm), and those of a whole step: that is not what the device gets at once.
_NOT = re.compile(r"eval|valid|test|seed|num|norm|global|total|effective|accum|sampl|log", re.IGNORECASE)


def find(command: tuple[str, ...]) -> Sweep | None:
    """An option of the command that is its batch size: --batch-size 8, --per_device_train_batch_size=8. None: there is none."""
    for index, part in enumerate(command):
        option, equals, value = part.partition("=")
        if not _OPTION.fullmatch(option) or _NOT.search(option):
            continue
        if not equals:
            value = command[index + 1] if index + 1 < len(command) else ""
        if not re.fullmatch(r"[1-9]\d*", value):
            continue
        own = int(value)
        template = list(command)
        template[index if equals else index + 1] = f"{option}={{batch}}" if equals else "{batch}"
        small = max(2, own // 2)
        return Sweep("batch", tuple(template), tuple(sorted({small, own if own > small else small + 1, own})), own)
    return None
