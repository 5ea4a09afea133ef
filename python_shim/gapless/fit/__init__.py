# SPDX-License-Identifier: Apache-2.0
"""``gapless fit``: does a training script fit a card, asked of the simulated device."""
