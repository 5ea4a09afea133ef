# SPDX-License-Identifier: Apache-2.0
"""From a file to plain Python data. Nothing in the file is run."""

import io
import json
import pathlib
import pickle


class NotReadable(ValueError):
    """The file holds nothing that this command knows."""


class _DataOnly(pickle.Unpickler):
    """A snapshot holds containers, numbers and texts; a pickle that names a class or a function is something else, and loading it
    would run what it names."""

    def find_class(self, module, name):
        raise NotReadable(f"it is a pickle that names {module}.{name}; a snapshot holds plain data only")


def read(path: pathlib.Path) -> object:
    """The data of `path`, pickle or JSON. Raises OSError or NotReadable."""
    content = path.read_bytes()
    if content[:1] in (b"{", b"["):
        try:
            return json.loads(content)
        except ValueError as error:
            raise NotReadable(f"it begins as JSON and is none: {error}") from error
    try:
        return _DataOnly(io.BytesIO(content)).load()
    except NotReadable:
        raise
    except Exception as error:  # a pickle of noise raises nearly anything
        raise NotReadable(f"neither a pickle nor JSON: {error}") from error
