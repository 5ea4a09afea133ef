# SPDX-License-Identifier: Apache-2.0
"""PyTorch's allocator strings as facts for the rules: ``alloc_KEY`` for each key, and what is wrong with the string as such.

As PyTorch 2.11 reads them: white space does not count, items are separated by commas, a value may be a list in brackets.
"""

import difflib
import re

NAMES = ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF")

BOOLEANS = ("expandable_segments", "release_lock_on_cudamalloc", "graph_capture_record_stream_reuse", "pinned_use_background_threads",
            "pinned_use_cuda_host_register", "pinned_free_catch_all", "throw_on_cudamalloc_oom")
KEYS = (*BOOLEANS, "backend", "max_split_size_mb", "max_non_split_rounding_mb", "large_segment_size_mb", "garbage_collection_threshold",
        "roundup_power2_divisions", "per_process_memory_fraction", "pinned_num_register_threads", "pinned_reserve_segment_size_mb",
        "pinned_max_round_threshold_mb", "pinned_max_cached_size_mb", "expandable_segments_reserve",
        "expandable_segments_reserve_by_class", "release_lock_on_hipmalloc", "pinned_use_hip_host_register")


def _number(text: str) -> object:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def items(text: str) -> list[tuple[str, str]]:
    """The keys and values of a string, in its order."""
    flat = re.sub(r"\s", "", text)
    parts = re.split(r",(?![^\[]*\])", flat)
    return [(key, value) for key, _, value in (part.partition(":") for part in parts if part)]


def _divisions(value: str) -> list[object]:
    """Those of a roundup: one number, or those of a list."""
    return [_number(part.rpartition(":")[2]) for part in value.strip("[]").split(",")]


def facts(text: str, name: str) -> dict:
    """What rules ask about the string of the variable `name`."""
    found: dict = {"alloc_name": name, "alloc_text": text}
    given = items(text)
    for key, value in given:
        found["alloc_" + key] = {"True": True, "False": False}.get(value, _number(value))
    # Keys of gapless's own are PyTorch's business only where gapless does not serve.
    unknown = [key for key, _ in given if key.partition("=")[0] not in KEYS and not key.startswith("gapless_")]
    if unknown:
        found["alloc_unknown"] = unknown[0]
        near = difflib.get_close_matches(unknown[0], KEYS, 1)
        found["alloc_nearest"] = near[0] if near else None
    for key, value in given:
        if key in BOOLEANS and value not in ("True", "False"):
            found |= {"alloc_bad_boolean": key, "alloc_bad_value": value or "nothing", "alloc_meant": "False" if value.lower() in ("false", "0", "no", "off") else "True"}
        if key == "roundup_power2_divisions":
            # 0 and 1: no rounding.
            wrong = [one for one in _divisions(value) if not (isinstance(one, int) and one >= 0 and one & (one - 1) == 0)]
            found["alloc_bad_division"] = wrong[0] if wrong else None
            found["alloc_rounds"] = not wrong and any(one > 1 for one in _divisions(value))
    if any(not value for _, value in given):
        key = next(key for key, value in given if not value)
        found |= {"alloc_no_value": key, "alloc_with_value": key.replace("=", ":", 1) if "=" in key else key + ":VALUE"}
    return found


# The name, what binds the string to it in shells, Python, YAML and Dockerfiles, and the string: in quotes up to the same one, else a word.
_ASSIGNMENT = re.compile(r"""(PYTORCH_(?:CUDA_)?ALLOC_CONF)["']?\s*\]?\s*(?:,|=|:|\s)\s*(?:(["'])(.*?)\2|([A-Za-z_0-9:=\[\].,>+-]*))""")
_QUOTED = re.compile(r"""(["'])(?:\\.|(?!\1).)*\1""")


def _code(line: str) -> str:
    """The line without a comment behind it: a sign for one after white space, outside of quotes."""
    blank = _QUOTED.sub(lambda match: "x" * len(match[0]), line)
    comment = re.search(r"(?:^|\s)(?:#|//)", blank)
    return line[:comment.start()] if comment else line


def in_text(text: str) -> list[tuple[int, str, str]]:
    """Assignments of the two variables in a script, an environment file or a Dockerfile: (line, name, string)."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        for match in _ASSIGNMENT.finditer(_code(line)):
            string = match[3] if match[3] is not None else match[4]
            # Without one of these it is prose, or a variable that is read.
            if re.match(r"\s*[a-z_0-9]+\s*[:=]", string):
                found.append((number, match[1], string.strip()))
    return found
