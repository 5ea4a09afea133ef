# SPDX-License-Identifier: Apache-2.0
"""``gapless doctor``: which known rules a training configuration breaks, why, and what to write instead.

The rules are data: rules.jsonl, one a line. The keys that each kind of file may have are in keys/.
"""

from .check import Context, Result, environment, file, mapping
from .read import NotReadable
from .rules import Finding, Rule, rules

__all__ = ["Context", "Finding", "NotReadable", "Result", "Rule", "environment", "file", "mapping", "rules"]
