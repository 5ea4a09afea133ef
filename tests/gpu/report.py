# SPDX-License-Identifier: Apache-2.0
"""The page that tests/gpu/run writes: what one device answered, question by question."""

QUESTIONS = {
    "costs": "Driver costs: the time of the calling thread",
    "delays": "Do calls delay a running stream? Kernels of 50 us, each with its event, while another kind of call is made",
    "aliases": "Two addresses of one handle: stale words are errors",
    "unmap": "Unmapping beside work",
    "pending_unmap": "Unmapping a range that work still needs",
    "ceilings": "Ceilings",
    "bandwidth": "Bandwidth over scattered memory",
    "accounting": "What is counted",
    "loops": "Training loops, on the device and simulated beside it",
}


def number(value):
    if isinstance(value, str):
        return value
    if abs(value) >= 1e6 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.4g}"


def statistics_table(facts):
    """Facts named 'X, min|median|p99|max' become one row; the others a list below."""
    rows, rest = {}, []
    for fact in facts:
        name, _, kind = fact["name"].rpartition(", ")
        if kind in ("min", "median", "p99", "max"):
            rows.setdefault((name, fact["unit"]), {})[kind] = fact["value"]
        else:
            rest.append(fact)
    lines = []
    if rows:
        lines += ["| what | min | median | p99 | max |", "|---|---|---|---|---|"]
        for (name, unit), row in rows.items():
            cells = " | ".join(number(row[kind]) if kind in row else "" for kind in ("min", "median", "p99", "max"))
            lines.append(f"| {name}, {unit} | {cells} |")
        lines.append("")
    if rest:
        lines += ["| what | found |", "|---|---|"]
        lines += [f"| {fact['name']} | {number(fact['value'])} {fact.get('unit', '')} |" for fact in rest]
        lines.append("")
    return lines


def loop_lines(loops):
    lines = []
    if loops["rows"]:
        columns = ["loop", "allocator", "ended", "first step, s", "ms/step", "reserved/live", "parameters as native's"]
        lines += ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
        lines += ["| " + " | ".join(str(row.get(column, "")) for column in columns) + " |" for row in loops["rows"]]
        lines.append("")
    lines += [f"- {note}" for note in loops["notes"]] + [""]
    return lines


def page(result):
    lines = [f"# {result['device']}", ""]
    lines.append(f"Written by tests/gpu/run on {result['date']}: driver {result['driver']}, {result['seconds']['all']:.0f} s. "
                 "All numbers are in the JSON beside this page." + (" Small numbers only: times mean nothing." if result["quick"] else ""))  # fmt: skip
    lines += ["", "## The conformance program", ""]
    scenarios = {call[0] for call in result["conformance"]}
    lines.append(f"{len(result['conformance'])} calls of {len(scenarios)} scenarios; {len(result['differences'])} differ from the simulation.")
    if result["differences"]:
        lines += ["", "| scenario | call | simulation | this device |", "|---|---|---|---|"]
        lines += [f"| {' | '.join(row)} |" for row in result["differences"]]
    lines.append("")
    for part, found in result["parts"].items():
        lines += [f"## {QUESTIONS[part]}", ""]
        lines += loop_lines(found) if part == "loops" else statistics_table(found["facts"])
        if found.get("ended"):
            lines += [f"Incomplete: {found['ended']}.", ""]
    if result["skipped"]:
        lines += ["## Not run to the end", ""] + [f"- {part}: {why}" for part, why in result["skipped"].items()] + [""]
    return "\n".join(lines)
