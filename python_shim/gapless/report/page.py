# SPDX-License-Identifier: Apache-2.0
"""Sections as one page of HTML: nothing is loaded from elsewhere, readable on a phone and on paper."""

import html

from .sections import Section

_STYLE = """
:root { color-scheme: light dark; --line: #8886; --dim: #777; }
body { font: 16px/1.45 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin: 0; }
dt { color: var(--dim); } dd { margin: 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid var(--line); vertical-align: top; white-space: nowrap; }
th:last-child, td:last-child { text-align: left; white-space: pre-wrap; overflow-wrap: anywhere; min-width: 12rem; }
figure { margin: 1rem 0; } svg { width: 100%; min-width: 38rem; height: auto; } figcaption, .note { color: var(--dim); font-size: .9rem; }
@media (max-width: 30rem) { th, td { padding: .2rem .3rem; font-size: .85rem; } td:last-child { min-width: 9rem; } dl { grid-template-columns: 1fr; } dd { margin-bottom: .4rem; } body { padding: .6rem; } }
@media print { svg { min-width: 0; } :root { color-scheme: light; } body { font-size: 10pt; max-width: none; } h2, tr, figure { break-inside: avoid; } }
"""


def _section(section: Section, level: int) -> str:
    text = html.escape
    out = [f"<section><h{level}>{text(section.title)}</h{level}>"]
    if section.lines:
        out.append("<dl>" + "".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in section.lines) + "</dl>")
    if section.table:
        head = "".join(f"<th>{text(name)}</th>" for name in section.table.columns)
        rows = "".join("<tr>" + "".join(f"<td>{text(cell)}</td>" for cell in row) + "</tr>" for row in section.table.rows)
        out.append(f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>')
    if section.note:
        out.append(f'<p class="note">{text(section.note)}</p>')
    return "".join(out) + "</section>"


def page(title: str, found: list[Section], figures: list[tuple[str, str]] = (), foot: str = "") -> str:
    """The page. `figures`: SVG with its caption, set after the first section; only their text is trusted."""
    parts = [_section(section, 1 if index == 0 else 2) for index, section in enumerate(found)]
    drawn = "".join(f'<figure><div class="wide">{svg}</div><figcaption>{html.escape(caption)}</figcaption></figure>' for svg, caption in figures)
    parts[1:1] = [drawn] if drawn else []
    return (f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>{''.join(parts)}"
            + (f'<p class="note">{html.escape(foot)}</p>' if foot else "") + "</body></html>\n")
