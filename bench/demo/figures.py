# SPDX-License-Identifier: Apache-2.0
"""The figures of one run as the table and the page show them."""

STEADY_FROM = 3  # calls after this optimizer step count as steady
FOOTNOTE = "* from replays of the recorded requests; driver times are modelled, not measured"
REPLAYS = 3  # timed replays of the recorded requests; the fastest is the least disturbed one


class Row:
    """One allocator: what was seen in the live run (`seen`) and in the replays of its recorded requests (`replayed`)."""

    def __init__(self, name, title, seen, replayed, peak_live):
        self.name = name
        self.title = title
        self.seen = seen
        self.peak_live = peak_live
        self.peak_reserved = seen["peak_device_bytes"]
        self.ratio = self.peak_reserved / peak_live
        self.retries = seen["retries"]
        self.ns_per_pair = replayed["ns_per_pair"]
        self.first_step_ms = replayed["modelled_driver_us_first"] / 1e3
        self.steady_step_us = replayed["modelled_remap_us_steady"] + replayed["modelled_create_us_steady"]
        self.calls_are_replayed = seen["calls"] is None  # a real device does not count them
        if self.calls_are_replayed:
            self.calls = replayed["driver_calls_total"]
            self.steady_calls = replayed["driver_calls_steady"]
            self.calls_each_step = []
        else:
            totals = [sum(calls.values()) for calls in seen["calls_by_step"]]
            self.calls = sum(seen["calls"].values())
            self.steady_calls = self.calls - totals[STEADY_FROM - 1]
            self.calls_each_step = [after - before for before, after in zip([0, *totals], totals)]


def gib(size):
    return f"{size / 2**30:.2f} GiB"


def table(rows):
    """(label, one cell for each row, indexes of the best cells), in the order in which they are shown. Less is better in all of
    them; where all are equal none is best."""
    lines = [
        ("peak live, GiB", lambda row: row.peak_live / 2**30, "{:.2f}"),
        ("peak reserved, GiB", lambda row: row.peak_reserved / 2**30, "{:.2f}"),
        ("reserved / live", lambda row: row.ratio, "{:.3f}"),
        ("driver calls", lambda row: row.calls, "{:,}"),
        (f"… after step {STEADY_FROM}", lambda row: row.steady_calls, "{:,}"),
        ("driver time, first step, ms *", lambda row: row.first_step_ms, "{:,.0f}"),
        ("driver time, later step, µs *", lambda row: row.steady_step_us, "{:,.0f}"),
        ("retries", lambda row: row.retries, "{:,}"),
        ("allocator time, ns *", lambda row: row.ns_per_pair, "{:.0f}"),
    ]
    shown = []
    for label, value, form in lines:
        cells = [form.format(value(row)) for row in rows]
        least = cells[min(range(len(rows)), key=lambda index: value(rows[index]))]
        best = {index for index, cell in enumerate(cells) if cell == least}
        shown.append((label, cells, best if len(best) < len(rows) else set()))
    return shown


def bins(points, to_step, end, count):
    """The highest value of a step function in each of `count` equal parts of [0, end] steps; None before its first point."""
    highest = [None] * count
    current = None
    at = 0
    for seconds, value in points:
        here = min(count - 1, max(0, int(to_step(seconds) / end * count)))
        for index in range(at + 1, here + 1):
            highest[index] = current
        at = here
        current = value
        highest[at] = value if highest[at] is None else max(highest[at], value)
    for index in range(at + 1, count):
        highest[index] = current
    return highest


def step_clock(first_seconds, step_seconds, end_seconds):
    """Maps a run's seconds to optimizer steps, so that runs of different speed share an axis. The model is built during the
    first step; what follows the last one takes one more."""
    marks = [first_seconds, *step_seconds, max(end_seconds, step_seconds[-1] + 1e-9)]

    def to_step(seconds):
        low, high = 0, len(marks) - 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if marks[middle] <= seconds else (low, middle)
        share = (seconds - marks[low]) / (marks[high] - marks[low])
        return low + min(1.0, max(0.0, share))

    return to_step
