# SPDX-License-Identifier: Apache-2.0
"""``python -m gapless``: the command ``gapless``."""

import sys

from .cli import main

sys.exit(main())
