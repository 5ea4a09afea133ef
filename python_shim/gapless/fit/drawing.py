# SPDX-License-Identifier: Apache-2.0
"""Drawings of an answer as SVG: memory over the run with its phases, and the peak taken apart."""

import html

from .steps import CATEGORIES, GIB, TITLES

# Told apart by those who see colours otherwise, and in grey: Okabe and Ito's.
COLOURS = {"weights": "#0072b2", "gradients": "#56b4e9", "optimizer": "#009e73", "activations": "#e69f00", "workspaces": "#d55e00",
           "other": "#999999"}
_PHASES = {"forward": "#e69f00", "backward": "#d55e00", "optimizer": "#009e73", "evaluation": "#cc79a7"}
_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 900, 300, 60, 46


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="13" fill="currentColor" text-anchor="{anchor}">{html.escape(text)}</text>'


def over_time(fit: dict) -> str:
    """Live bytes, event by event; the colour of the ground is the phase, the dashed line what the card has."""
    top = max([fit["device"]["usable"], *(live for _, live in fit["timeline"])])
    # A card far larger than the program would press it flat.
    top = min(top, 2 * max(live for _, live in fit["timeline"])) * 1.05
    width, height = _WIDTH - _LEFT - 10, _HEIGHT - _BOTTOM - 10
    events = max(1, fit["events"])

    def at(event: float, live: float) -> tuple[float, float]:
        return _LEFT + width * event / events, 10 + height * (1 - min(live, top) / top)

    out = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="memory over the run">']
    for begin, end, name, _ in fit["spans"]:
        if colour := _PHASES.get(name):
            x, last = at(begin, 0)[0], at(end, 0)[0]
            out.append(f'<rect x="{x:.1f}" y="10" width="{max(0.3, last - x):.1f}" height="{height}" fill="{colour}" opacity="0.18"/>')
    points = " ".join("{:.1f},{:.1f}".format(*at(event, live)) for event, live in fit["timeline"])
    out.append(f'<polyline points="{points}" fill="none" stroke="currentColor" stroke-width="1.2"/>')
    if fit["device"]["usable"] <= top:
        y = at(0, fit["device"]["usable"])[1]
        out.append(f'<line x1="{_LEFT}" x2="{_WIDTH - 10}" y1="{y:.1f}" y2="{y:.1f}" stroke="#d00" stroke-dasharray="6 4"/>')
        out.append(_text(_WIDTH - 12, y - 4, fit["device"]["name"], "end"))
    for share in (0, 0.5, 1):
        out.append(_text(_LEFT - 6, at(0, share * top / 1.05)[1] + 4, f"{share * top / 1.05 / GIB:.2f}", "end"))
    out.append(_text(4, 22, "GiB"))
    x = _LEFT
    for name, colour in _PHASES.items():
        out.append(f'<rect x="{x}" y="{_HEIGHT - 24}" width="12" height="12" fill="{colour}" opacity="0.5"/>' + _text(x + 17, _HEIGHT - 13, name))
        x += 120
    return "".join(out) + "</svg>"


def taken_apart(fit: dict) -> str:
    """One bar for each phase's peak, in its parts."""
    phases = [(name, peak) for name, peak in fit["phases"].items() if peak]
    row, width = 34, _WIDTH - 210
    height = row * len(phases) + 60
    most = max(peak["bytes"] for _, peak in phases)
    out = [f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="peaks taken apart">']
    for index, (name, peak) in enumerate(phases):
        y, x = index * row + 4, 100.0
        out.append(_text(94, y + 18, name, "end"))
        for part in CATEGORIES:
            wide = width * peak["parts"][part] / most
            if wide > 0:
                out.append(f'<rect x="{x:.1f}" y="{y}" width="{wide:.1f}" height="24" fill="{COLOURS[part]}"><title>{TITLES[part]}: '
                           f'{peak["parts"][part] / GIB:.2f} GiB</title></rect>')
                x += wide
        out.append(_text(x + 6, y + 18, f"{peak['bytes'] / GIB:.2f} GiB"))
    x, y = 0, height - 40
    for part in CATEGORIES:
        out.append(f'<rect x="{x}" y="{y}" width="12" height="12" fill="{COLOURS[part]}"/>' + _text(x + 17, y + 11, TITLES[part]))
        x += 32 + 7.2 * len(TITLES[part])
    return "".join(out) + "</svg>"


def figures(data: dict) -> list[tuple[str, str]]:
    """What goes into the page of an answer."""
    fit = data["fit"]
    if not fit["timeline"]:
        return []
    return [(over_time(fit), "Live memory of the measuring run, allocation by allocation. Ground: the phase. Dashed: what the card has."),
            (taken_apart(fit), "The highest point of each phase, by what is in it.")]
