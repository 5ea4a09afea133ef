# SPDX-License-Identifier: Apache-2.0
"""docs/doctor.md, made from the rules: python -m gapless.doctor.page > docs/doctor.md"""

import re

from .command import DESCRIPTION, EPILOG
from .kinds import all_kinds
from .rules import LEVELS, rules

HEAD = """\
# gapless doctor

Made from python_shim/gapless/doctor/rules.jsonl by `python -m gapless.doctor.page`; a test checks that this page is current.

"""

TAIL = """\
## Levels

error: it will not run, or not as meant. warning: it costs memory, speed or a run. note: good to know, no fault by itself, and none
for the exit code.

## Keys

A key that a file's kind does not have is a finding with the nearest key that it has; a key of an older version comes with what takes
its place. Where the lists of keys are from:

"""


def _plain(text: str) -> str:
    """A template without its computations, for a table."""
    return re.sub(r"\{([^{}]+)\}", lambda found: "…" if re.search(r"[ ()'*/]", found[1]) else f"<{found[1]}>", text).replace("|", "\\|")


def page() -> str:
    out = [HEAD, DESCRIPTION, "\n\n```\n", EPILOG, "```\n"]
    for kind, title in [*((one.name, one.title) for one in all_kinds()), ("allocator", "PyTorch's allocator strings")]:
        out.append(f"\n## Rules for {title}\n\n| rule | level | broken when | instead | source |\n|---|---|---|---|---|\n")
        own = sorted((rule for rule in rules() if kind in rule.kinds), key=lambda rule: LEVELS.index(rule.level))
        for rule in own:
            out.append(f"| {rule.id} | {rule.level} | {_plain(rule.what)} {_plain(rule.why)} | {_plain(rule.instead)} | {_plain(rule.source)} |\n")
    out += ["\n", TAIL]
    out += [f"- {one.title}: {one.source}\n" for one in all_kinds()]
    return "".join(out)


if __name__ == "__main__":
    print(page(), end="")
