# SPDX-License-Identifier: Apache-2.0
"""The demo's page: one HTML file that needs nothing else, readable on a phone and on paper.

The charts are SVG stretched to the width at hand; their texts are HTML beside them, so that these keep their size on a phone.
"""

import html
import math
import pathlib
import platform
import string

import figures

_BINS = 480
HEIGHT = 300.0
WIDTH = 1000.0


def nice_ticks(highest, wanted=5):
    """Round numbers from 0 to the first at or above `highest`."""
    raw = max(highest, 1e-9) / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    unit = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)
    return [index * unit for index in range(math.ceil(highest / unit - 1e-9) + 1)]


def path(values, top, close=False):
    """An SVG path through the middle of equal bins; gaps (None) start a new piece."""
    pieces = []
    draw = "M"
    for index, value in enumerate(values):
        if value is None:
            draw = "M"
            continue
        x = (index + 0.5) / len(values) * WIDTH
        y = HEIGHT * (1 - value / top)
        if close and draw == "M":
            pieces.append(f"M{x:.1f} {HEIGHT:.1f}")
            draw = "L"
        pieces.append(f"{draw}{x:.1f} {y:.1f}")
        draw = "L"
    if close and pieces:
        pieces.append(f"L{x:.1f} {HEIGHT:.1f}Z")
    return "".join(pieces)


def stairs(values, top):
    """An SVG path with one level step for each value."""
    width = WIDTH / len(values)
    heights = [HEIGHT * (1 - value / top) for value in values]
    return f"M0 {heights[0]:.1f}" + "".join(f"V{y:.1f}H{(index + 1) * width:.1f}" for index, y in enumerate(heights))


def chart(shapes, y_ticks, y_text, x_marks, x_title, x_end, low=False):
    top = y_ticks[-1]
    grid = "".join(f'<path class="grid" d="M0 {HEIGHT * (1 - t / top):.1f}H{WIDTH:.0f}"/>' for t in y_ticks)
    svg = f'<svg viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" preserveAspectRatio="none" aria-hidden="true">{grid}{"".join(shapes)}</svg>'
    y_labels = "".join(f'<span style="top:{100 * (1 - t / top):.2f}%">{y_text(t)}</span>' for t in y_ticks)
    x_labels = "".join(f'<span style="left:{100 * x / x_end:.2f}%">{label}</span>' for x, label in x_marks)
    size = "chart low" if low else "chart"
    return (
        f'<div class="{size}"><div class="y">{y_labels}</div><div>{svg}</div>'
        f'<div class="x">{x_labels}<span class="title">{html.escape(x_title)}</span></div></div>'
    )


def key(entries):
    """(class, text) of each line; the class "area" gives a patch."""
    items = []
    for name, text in entries:
        mark = '<path class="area" d="M0 0H40V12H0Z"/>' if name == "area" else f'<path class="line {name}" d="M0 6H40"/>'
        items.append(f'<li><svg viewBox="0 0 40 12" aria-hidden="true">{mark}</svg>{html.escape(text)}</li>')
    return f'<ul class="key">{"".join(items)}</ul>'


def step_marks(steps, shift=0.0):
    every = max(1, round(nice_ticks(steps, 6)[1]))
    return [(step - shift, str(step)) for step in range(every, steps + 1, every)]


def memory_curves(rows, live):
    """(shapes, ticks in GiB, number of steps) of memory over time; the axis ends one step after the last."""
    native = rows[0].seen
    steps = len(native["steps"])
    curves = {}
    for row in rows:
        seen = row.seen
        first = next((seconds for seconds, used in seen["samples"] if used), 0.0)  # building the model begins
        clock = figures.step_clock(first, seen["steps"], seen["seconds"])
        curves[row.name] = figures.bins(seen["samples"], clock, steps + 1, _BINS)
    first = live[0][0] if live else 0.0
    area = figures.bins(live, figures.step_clock(first, native["steps"], native["seconds"]), steps + 1, _BINS)
    ticks = nice_ticks(max(row.peak_reserved for row in rows) / 2**30)
    top = ticks[-1] * 2**30
    shapes = [f'<path class="area" d="{path(area, top, close=True)}"/>']
    shapes += [f'<path class="line {row.name}" d="{path(curves[row.name], top)}"/>' for row in rows]
    return shapes, ticks, steps


def memory_chart(rows, live):
    shapes, ticks, steps = memory_curves(rows, live)
    return chart(shapes, ticks, lambda t: f"{t:g} GiB", step_marks(steps), "optimizer steps done", steps + 1)


def calls_chart(rows):
    """Calls in each step on a scale of powers of ten, one more than the count so that none at all is on the ground line."""
    steps = len(rows[0].calls_each_step)
    highest = max(max(row.calls_each_step) for row in rows)
    decades = max(1, math.ceil(math.log10(highest + 1)))
    shapes = []
    for row in rows:
        levels = [math.log10(value + 1) for value in row.calls_each_step]
        shapes.append(f'<path class="line {row.name}" d="{stairs(levels, decades)}"/>')

    def text(tick):
        return "0" if tick == 0 else str(10**tick) if tick < 3 else f"{10 ** (tick - 3)}k"

    return chart(shapes, list(range(decades + 1)), text, step_marks(steps, 0.5), "optimizer step", steps, low=True)


def html_table(rows):
    head = "".join(f'<th scope="col">{html.escape(row.title).replace("_", "_<wbr>")}</th>' for row in rows)
    body = ""
    for label, cells, best in figures.table(rows):
        data = "".join(f'<td{" class=best" if index in best else ""}>{html.escape(cell)}</td>' for index, cell in enumerate(cells))
        body += f'<tr><th scope="row">{html.escape(label)}</th>{data}</tr>'
    return f'<table><thead><tr><th scope="col"><span hidden>figure</span></th>{head}</tr></thead><tbody>{body}</tbody></table>'


def sentences(rows, args, on_simulation):
    """The texts that depend on what was measured, and on where."""
    native, expandable, gapless = rows
    where = f"a simulated {args.size} device" if on_simulation else native.seen["device_name"]
    parts = {
        "setting": f"{args.model.upper()} Llama-style model from Hugging Face transformers, AdamW, bf16, batches of varying length, "
        f"gradient accumulation, an evaluation phase; {args.steps} optimizer steps on {where}. The script is the same in the three "
        "runs and knows nothing of gapless.",
        "lead": f"At its peak the script held {figures.gib(native.peak_live)}. To serve it, PyTorch's allocator took "
        f"{figures.gib(native.peak_reserved)} of the device, with expandable_segments it took {figures.gib(expandable.peak_reserved)}, "
        f"and gapless {figures.gib(gapless.peak_reserved)}.",
        "memory_caption": "The grey area is what the script holds; the lines are what each allocator has taken of the device for it. "
        "An allocator keeps what it took for the next steps. What a line keeps above the highest point of the grey was never needed at "
        "one time: it is lost in gaps between blocks.",
        "reserved_meaning": "The most physical memory that the allocator had taken from the device at one moment, "
        + ("as the device counts it." if on_simulation else "as the device counts it, sampled every 2 ms; the CUDA context is "
        "subtracted, kernels loaded later are not."),
        "calls_meaning": "Calls that create, map, unmap or release device memory, building the model included."
        + ("" if on_simulation else " A real device does not count them: these come from replaying the recorded requests on the simulated one."),
    }
    if on_simulation:
        parts["limits"] = (
            "No GPU was used. The unmodified PyTorch wheel ran on a simulated device whose kernels do nothing: bytes, addresses and "
            "driver calls are real decisions of the real allocators, but the losses that the script prints mean nothing, and no "
            "time here is a time on a GPU. Weights and texts are random; the lengths follow a law that is usual for conversations, "
            "and other lengths give other ratios."
        )
    else:
        parts["limits"] = (
            "Weights and texts are random; the lengths follow a law that is usual for conversations, and other lengths give other "
            "ratios. One run each: nothing here says how the runs vary."
        )
    return parts


def render(rows, live, args, on_simulation):
    import torch
    import transformers

    parts = sentences(rows, args, on_simulation)
    lines = [(row.name, row.title) for row in rows]
    calls_figure = ""
    if rows[0].calls_each_step:
        calls_figure = (
            "<figure><h2>Driver calls in each step</h2>"
            + key(lines)
            + calls_chart(rows)
            + "<figcaption>The scale is logarithmic; the ground line is none at all. The first step includes building the model.</figcaption></figure>"
        )
    footer = (
        f"torch {torch.__version__}, transformers {transformers.__version__}, Python {platform.python_version()}, "
        f"{platform.machine()}. Made by <code>./demo --steps {args.steps} --model {args.model}"
        + (f" --size {html.escape(args.size)}" if on_simulation else "")
        + "</code>; the raw results lie beside this page."
    )
    template = string.Template(pathlib.Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
    return template.substitute(
        {name: html.escape(text) for name, text in parts.items()},
        memory_key=key([("area", "held by the script"), *lines]),
        memory_chart=memory_chart(rows, live),
        table=html_table(rows),
        calls_figure=calls_figure,
        replays=figures.REPLAYS,
        footer=footer,
    )
