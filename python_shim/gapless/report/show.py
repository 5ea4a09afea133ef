# SPDX-License-Identifier: Apache-2.0
"""Sections on a terminal or in a pipe."""

import os
import sys

from .sections import Section


def show(found: list[Section], out=None) -> None:
    """With rich on a terminal that allows colours, where it is installed; as plain text anywhere else."""
    out = out or sys.stdout
    if out.isatty() and not os.environ.get("NO_COLOR") and _show_rich(found, out):
        return
    for index, section in enumerate(found):
        print(("\n" if index else "") + section.title, file=out)
        width = max((len(name) for name, _ in section.lines), default=0)
        for name, value in section.lines:
            print(f"  {name:<{width}}  {value}", file=out)
        if section.table:
            print(file=out)
            _print_table(section.table.columns, section.table.rows, out)
        if section.note:
            print(f"  {section.note}", file=out)


def _print_table(columns: list[str], rows: list[list[str]], out) -> None:
    figures = len(columns) - 1
    widths = [max(len(row[i]) for row in [columns, *rows]) for i in range(figures)]
    for row in [columns, *rows]:
        first, *others = row[figures].split("\n")
        print("  " + "".join(f"{row[i]:>{widths[i]}}  " for i in range(figures)) + first, file=out)
        for line in others:
            print(" " * (sum(widths) + 2 * figures + 4) + line, file=out)


def _show_rich(found: list[Section], out) -> bool:
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return False
    console = Console(file=out, highlight=False)
    for section in found:
        console.print(Text(section.title, style="bold"))
        grid = Table.grid(padding=(0, 2))
        for name, value in section.lines:
            grid.add_row(Text("  " + name, style="dim"), Text(value))
        console.print(grid)
        if section.table:
            table = Table(box=None, header_style="bold")
            for index, name in enumerate(section.table.columns):
                table.add_column(name, justify="left" if index == len(section.table.columns) - 1 else "right")
            for row in section.table.rows:
                table.add_row(*(Text(cell) for cell in row))
            console.print(table)
        if section.note:
            console.print(Text("  " + section.note, style="dim"))
    return True
