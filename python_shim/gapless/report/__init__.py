# SPDX-License-Identifier: Apache-2.0
"""``gapless report FILE``: what a file of figures says, as tables.

Files: a snapshot (``torch.cuda.memory._dump_snapshot``, or the JSON of gapless.hpp), statistics as JSON (``gapless.stats()``,
``torch.cuda.memory_stats()``, ``gapless-sim --stats``), an OOM record as JSON (the fields of ``gapless_oom_record``).
"""

from .read import NotReadable, read
from .sections import sections
from .show import show

__all__ = ["NotReadable", "read", "sections", "show"]
