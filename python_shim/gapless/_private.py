# SPDX-License-Identifier: Apache-2.0
"""Files that gapless writes: they name what a program trains and where it keeps it, so others may not read them, and nobody can
make gapless write through a link that was put in their place."""

import os


def opener(path, flags: int) -> int:
    """For open(): mode 0600, and OSError (ELOOP) where the last part of `path` is a link. What lies in /dev is the user's terminal or
    pipe, which are links by nature."""
    follow = os.fspath(path).startswith("/dev/")
    return os.open(path, flags | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW), 0o600)


def write(path, text: str) -> None:
    """Like pathlib.Path.write_text. Raises OSError."""
    with open(path, "w", encoding="utf-8", opener=opener) as out:
        out.write(text)
