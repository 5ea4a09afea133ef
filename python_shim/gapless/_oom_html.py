# SPDX-License-Identifier: Apache-2.0
"""The OOM page as HTML: one file that needs nothing else, for a phone, a screen and paper."""

import html
from collections.abc import Callable

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --bar: #3b6ea5; --then: #9ab; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.25rem; line-height: 1.35; } h2 { font-size: 1rem; margin: 1.6rem 0 .3rem; }
dl { margin: 0; } dt { font-weight: 600; } dd { margin: 0 0 .5rem; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .3rem .5rem .3rem 0; border-bottom: 1px solid var(--line);
vertical-align: top; overflow-wrap: anywhere; } .n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.bar { height: .55rem; background: var(--bar); min-width: 1px; } .bar.then { background: var(--then); margin-top: 2px; }
code { font-size: .9em; } footer { margin-top: 2rem; font-size: .85rem; }
@media print { body { font-size: 10.5pt; max-width: none; padding: 0; } h2 { break-after: avoid; } tr { break-inside: avoid; }
.bar, .bar.then { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""


def page(facts: dict, gib: Callable[[float], str], names: dict[str, str]) -> str:
    """Of the facts of _oom_page.page."""
    say = html.escape
    parts = [f"<h1>{say(facts['verdict'][:1].upper() + facts['verdict'][1:])}</h1>", "<dl>"]
    for name, value in (("Where", facts["where"]), ("Line", facts["line"]), ("Memory", facts["memory"]), ("Peaks", facts["peaks"]),
                        ("Would fit", facts["fits"])):
        if value:
            parts.append(f"<dt>{name}</dt><dd>{f'<code>{say(value)}</code>' if name == 'Line' else say(value)}</dd>")
    parts.append("</dl>")
    if facts.get("table"):
        parts.append(_consumers(facts["table"], gib))
    if facts.get("levers"):
        rows = [(say(one["lever"]), gib(one["saves"]), say(one["basis"])) for one in facts["levers"]]
        parts.append(_section("What would help, one at a time", ("Change", "Saves", "From"), rows))
    if facts["groups"]:
        rows = [(say(names[one["what"]]) + (f"<br><code>{say(one['line'])}</code>" if one["line"] else ""),
                 gib(one["bytes"] * one["count"]), f"{one['count']} &times; {gib(one['bytes'])}") for one in facts["groups"]]
        parts.append(_section("The largest groups of what was live", ("What", "In all", "Blocks"), rows))
    tried = [(say(one["what"]), gib(one["freed"]), "") for one in facts["tried"]] or [("nothing", "", "")]
    parts.append(_section("Made available before giving up", ("What", "Bytes", ""), tried))
    return ("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
            "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
            f"<title>Out of memory: step {say(str(facts['record']['step']))}</title><style>{_STYLE}</style></head>\n<body>\n"
            + "\n".join(parts) + "\n<footer>Written by gapless. The same as data: the JSON file beside this one.</footer>\n</body></html>\n")


def _section(title: str, head: tuple[str, str, str], rows) -> str:
    """Cells are HTML already."""
    heads = f"<tr><th>{head[0]}</th><th class=\"n\">{head[1]}</th><th>{head[2]}</th></tr>"
    body = "".join(f"<tr><td>{a}</td><td class=\"n\">{b}</td><td>{c}</td></tr>" for a, b, c in rows)
    return f"<h2>{title}</h2><table>{heads}{body}</table>"


def _consumers(table: list[dict], gib: Callable[[float], str]) -> str:
    most = max([1, *(one["now"] for one in table), *(one["last_good"] or 0 for one in table)])
    rows = []
    for one in table:
        bars = f"<div class=\"bar\" style=\"width:{100 * one['now'] / most:.1f}%\"></div>"
        then = "-"
        if one["last_good"] is not None:
            bars += f"<div class=\"bar then\" style=\"width:{100 * one['last_good'] / most:.1f}%\"></div>"
            then = gib(one["last_good"])
        rows.append(f"<tr><td>{html.escape(one['what'])}{bars}</td><td class=\"n\">{gib(one['now'])}</td><td class=\"n\">{then}</td></tr>")
    head = "<tr><th>What</th><th class=\"n\">Now</th><th class=\"n\">Last good step</th></tr>"
    return f"<h2>Who holds the memory</h2><table>{head}{''.join(rows)}</table>"
