# SPDX-License-Identifier: Apache-2.0
"""``gapless report FILE``: what a file of figures says, as tables.

Files: a snapshot (``torch.cuda.memory._dump_snapshot``, or the JSON of gapless.hpp), statistics as JSON (``gapless.stats()``,
``torch.cuda.memory_stats()``, ``gapless-sim --stats``), an OOM record as JSON (the fields of ``gapless_oom_record``), what
``gapless fit --save`` and ``gapless doctor --json`` wrote.
"""

from .. import _private
from .page import page
from .read import NotReadable, read
from .sections import sections
from .show import show

__all__ = ["NotReadable", "page", "read", "sections", "show", "write_page"]


def write_page(path, data, found) -> None:
    """The sections of `data` as HTML; those of gapless fit with drawings. Raises OSError."""
    figures = []
    if isinstance(data, dict) and "fit" in data:
        from ..fit import drawing

        figures = drawing.figures(data)
    _private.write(path, page(f"gapless: {found[0].title}", found, figures, _foot(data)))


def _foot(data) -> str:
    if isinstance(data, dict) and "fit" in data:
        return f"gapless fit --device {data['fit']['device']['name']} -- {' '.join(data['fit']['command'])}"
    return ""
