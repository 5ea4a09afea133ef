# SPDX-License-Identifier: Apache-2.0
"""From a file to the mapping that it holds. Nothing in the file is run; what is broken is said with its place."""

import dataclasses
import json
import math
import pathlib
import re


class NotReadable(ValueError):
    """The file holds no configuration; the text says why and where."""


@dataclasses.dataclass
class Content:
    text: str
    data: dict | None  # None: text that is no mapping, a script say
    twice: list[str]  # keys that stand in it more than once: the last one counts


def read(path: pathlib.Path) -> Content:
    """Raises OSError or NotReadable."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotReadable(f"it is no text (byte {error.start} is not UTF-8)") from error
    if not text.strip():
        raise NotReadable("it is empty")
    suffix = path.suffix.lower()
    if suffix == ".json" or (suffix not in (".yaml", ".yml") and text.lstrip().startswith("{")):
        return _json(text)
    if suffix in (".yaml", ".yml"):
        return _yaml(text)
    return Content(text, None, [])


def _mapping(data: object, text: str, twice: list[str]) -> Content:
    if not isinstance(data, dict):
        kind = {list: "a list", str: "a text", type(None): "nothing but comments"}.get(type(data), f"a {type(data).__name__}")
        raise NotReadable(f"it holds {kind}; a configuration is names with values")
    return Content(text, {str(key): _plain(value) for key, value in data.items()}, twice)


def _plain(value: object) -> object:
    """Numbers that stand in quotes, or that YAML takes for texts ("2e-5"), as numbers: the trainers convert them too."""
    if isinstance(value, str):
        # Longer ones are no numbers that a trainer takes, and Python refuses to read thousands of digits.
        if len(value) > 300:
            return value
        if re.fullmatch(r"[+-]?\d+", value):
            return int(value)
        if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", value):
            number = float(value)
            return number if math.isfinite(number) else value
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    return value


def _json(text: str) -> Content:
    twice: list[str] = []

    def pairs(found: list) -> dict:
        twice.extend(sorted({key for key, _ in found if [other for other, _ in found].count(key) > 1}))
        return dict(found)

    try:
        return _mapping(json.loads(text, object_pairs_hook=pairs), text, twice)
    except RecursionError as error:
        raise NotReadable("it is nested too deeply") from error
    except json.JSONDecodeError as error:
        line = text.splitlines()[error.lineno - 1].strip() if error.lineno <= len(text.splitlines()) else "the end of the file"
        raise NotReadable(f"line {error.lineno}, column {error.colno}: {error.msg}, at: {line[:80]}") from error
    except NotReadable:
        raise
    except ValueError as error:
        raise NotReadable(f"a number in it cannot be read: {str(error).partition(';')[0]}") from error


def _yaml(text: str) -> Content:
    try:
        import yaml
    except ImportError as error:
        raise NotReadable("reading YAML needs PyYAML: pip install pyyaml") from error
    twice: list[str] = []

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node, deep=False):
            keys = [key.value for key, _ in node.value]
            twice.extend(sorted({key for key in keys if key != "<<" and keys.count(key) > 1}))
            return super().construct_mapping(node, deep)

    try:
        return _mapping(yaml.load(text, Loader), text, twice)  # noqa: S506: it is a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        hint = "; YAML is indented by spaces, not by tabs" if "\\t" in str(error.problem) else ""
        raise NotReadable(f"{where}{error.problem or error.context}{hint}") from error
    except yaml.YAMLError as error:
        raise NotReadable(str(error)) from error
    except NotReadable:
        raise
    except ValueError as error:
        raise NotReadable(f"a value in it cannot be read: {str(error).partition(';')[0]}") from error
    except RecursionError as error:
        raise NotReadable("it is nested too deeply") from error
