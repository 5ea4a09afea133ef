# SPDX-License-Identifier: Apache-2.0
"""Findings that were kept as JSON, as sections of a report."""

from ..report.sections import Section, Table


def sections(data: dict) -> list[Section]:
    """Of what --json printed."""
    out = []
    for result in data["doctor"]:
        rows = [[one["level"], one["rule"], "\n".join(filter(None, [
            (f"{one['where']}: " if one["where"] else "") + f"{one['what']} {one['why']}", f"Instead: {one['instead']}.",
            f"Source: {one['source']}." if one["source"] else ""]))] for one in result["findings"]]
        faults = sum(one["level"] != "note" for one in result["findings"])
        out.append(Section(f"{result['name']}: {result['title']}", [("rules looked at", str(result["rules"])), ("findings", str(faults))],
                           Table(["level", "rule", "what, why, and what to write instead"], rows) if rows else None))
    return out or [Section("nothing was looked at", [])]
