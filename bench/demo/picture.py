# SPDX-License-Identifier: Apache-2.0
"""Memory over time as one SVG file that stands alone, for a README or a slide."""

import html

import page

_STYLE = (
    "text{font:13px system-ui,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;fill:#5c5c5c}"
    ".grid{stroke:#d5d5d5;vector-effect:non-scaling-stroke}.area{fill:#dedbd2}"
    ".line{fill:none;stroke-width:2;stroke-linejoin:round;vector-effect:non-scaling-stroke}"
    ".native{stroke:#c4501b;stroke-dasharray:7 3}.expandable{stroke:#2166ac;stroke-dasharray:2 2.5}"
    ".gapless{stroke:#11785a;stroke-width:2.5}"
)
_LEFT, _TOP, _RIGHT, _BOTTOM = 60, 34, 12, 44
_WIDTH, _HEIGHT = 760, 380


def render(rows, live):
    shapes, ticks, steps = page.memory_curves(rows, live)
    wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    parts = [f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>']
    for tick in ticks:
        y = _TOP + high * (1 - tick / ticks[-1])
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}h{wide}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g} GiB</text>')
    for at, label in page.step_marks(steps):
        x = _LEFT + wide * at / (steps + 1)
        parts.append(f'<text x="{x:.1f}" y="{_TOP + high + 17}" text-anchor="middle">{label}</text>')
    parts.append(f'<text x="{_LEFT + wide / 2}" y="{_HEIGHT - 6}" text-anchor="middle">optimizer steps done</text>')
    parts.append(
        f'<svg x="{_LEFT}" y="{_TOP}" width="{wide}" height="{high}" viewBox="0 0 {page.WIDTH:.0f} {page.HEIGHT:.0f}" '
        f'preserveAspectRatio="none" overflow="visible">{"".join(shapes)}</svg>'
    )
    x = _LEFT
    for name, title in [("area", "held by the script"), *((row.name, row.title) for row in rows)]:
        mark = f'<path class="area" d="M{x} 10h26v10h-26Z"/>' if name == "area" else f'<path class="line {name}" d="M{x} 15h26"/>'
        parts.append(f'{mark}<text x="{x + 32}" y="19">{html.escape(title)}</text>')
        x += 54 + 8 * len(title)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" role="img" '
        f'aria-label="Memory over time on three allocators"><style>{_STYLE}</style>{"".join(parts)}</svg>\n'
    )
