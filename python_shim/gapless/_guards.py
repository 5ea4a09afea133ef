# SPDX-License-Identifier: Apache-2.0
"""The debug mode of the option `guard`: what was written behind blocks and to freed memory."""

from . import _device


def check_guards(device: int | None = None) -> int:
    """Looks at every red zone of `device` (default: torch's current one) and at all freed memory that is kept back.

    Returns how many broken blocks were found since the start; what is found is printed to standard error, once, 32 findings at
    most. Waits for the device, unless a stream captures. Raises RuntimeError when gapless is not the allocator, was started
    without ``GAPLESS_CONF=guard:true``, or could not look (after a kernel that has failed, for instance).
    """
    one = _device.required(device)
    return one.check_guards() if one is not None else 0
