# SPDX-License-Identifier: Apache-2.0
"""An answer as data for JSON, and as sections for a terminal."""

from ..report.sections import Section, Table
from .question import Answer, own_peak, own_reserved
from .steps import CATEGORIES, GIB, TITLES, Peak, gib

_ADVICE = ("on the simulated device values are zeros. Choose the sizes on the host (from the data set, or a fixed capacity), or run gapless "
           "fit on a variant of the script that does")


def _peak(peak: Peak | None) -> dict | None:
    return None if peak is None else {"bytes": peak.bytes, "phase": peak.phase, "step": peak.step, "parts": peak.parts, "event": peak.at}


def as_data(found: Answer, command: list[str]) -> dict:
    """What --json prints and --save keeps."""
    run = found.measured.run
    lengths = found.lengths
    return {"fit": {
        "verdict": found.verdict, "why": found.why, "command": command,
        "device": {"name": found.card.name, "capacity": found.card.capacity, "usable": found.card.usable, "source": found.card.source},
        "allocator": found.allocator, "peak": _peak(found.peak), "reserved_peak": run.raw["reserved_peak"], "own_reserved": own_reserved(run),
        "phases": {name: _peak(own_peak(run, name)) for name in ("forward", "backward", "optimizer", "evaluation")},
        "longest": _peak(found.longest), "max_len": found.max_len, "evaluation": _peak(found.evaluation),
        "lengths": {key: lengths[key] for key in ("read", "of", "least", "most")} if lengths else None,
        "micro_batch": {"own": found.own, "accumulation": found.accumulation, "largest": found.largest, "from": found.largest_from,
                        "confidence": found.confidence, "forecast": found.forecast},
        "sweep": found.sweep, "levers": found.levers, "reads": found.reads, "notes": found.notes, "runs": found.runs,
        "optimizers": run.raw["optimizers"],
        "timeline": run.timeline(), "events": len(run.live),
        "spans": [[one.begin, one.end, one.name, one.step] for one in run.phases]}}


def sections(data: dict) -> list[Section]:
    """Of as_data()'s result, or of a file that holds it."""
    fit = data["fit"]
    out = [_verdict(fit), _phases(fit)]
    if fit["sweep"]:
        rows = [[str(one["value"]), gib(one["peak"]), "fits" if one["fits"] else "does not fit"] for one in fit["sweep"]]
        out.append(Section(f"by {fit['sweep'][0]['name']}", [], Table([fit["sweep"][0]["name"], "peak", ""], rows)))
    if fit["levers"]:
        rows = [[gib(one["peak"]) if one["peak"] is not None else "", {True: "fits", False: "does not", None: "?"}[one["fits"]],
                 one["from"], f"{one['lever']}: {one['how']}" + (f"\n({one['note']})" if one["note"] else "")] for one in fit["levers"]]
        out.append(Section("what would help, one at a time", [], Table(["peak", "", "from", "lever"], rows)))
    if fit["reads"]:
        rows = [[f"{one['count']:,}", one["what"], f"{one['file']}:{one['line']} {one['function']}"
                 + (f"\n(inside {one['inside']})" if one["inside"] else "")] for one in fit["reads"][:10]]
        out.append(Section("values read from the device", [], Table(["times", "how", "line"], rows),
                           _ADVICE if fit["verdict"] == "could not tell" else
                           "on the simulated device values are zeros; other ones that were tried did not change the peak, or are in the notes"))
    if fit["notes"]:
        out.append(Section("notes", [("-", note) for note in fit["notes"]]))
    return out


def _verdict(fit: dict) -> Section:
    peak, device, micro = fit["peak"], fit["device"], fit["micro_batch"]
    title = {"fits": "FITS", "does not fit": "DOES NOT FIT", "could not tell": "COULD NOT TELL"}[fit["verdict"]]
    lines = [("why", fit["why"]), ("card", f"{device['name']}: {gib(device['usable'])} for the allocator"),
             ("peak, live", f"{gib(peak['bytes'])} in {peak['phase']}, step {peak['step']}")]
    if fit.get("own_reserved"):
        lines.append(("peak, physical", f"{gib(fit['own_reserved'])} on {fit['allocator']}, in training"))
    if fit["longest"]:
        own = f"lengths {fit['lengths']['least']} to {fit['lengths']['most']}"
        said = f"with a length of {fit['max_len']}; the data has {own}" if fit.get("max_len") else own
        lines.append(("longest examples", f"{gib(fit['longest']['bytes'])} in {fit['longest']['phase']} ({said})"))
    if micro["own"]:
        accumulated = f", {micro['accumulation']} times before each step" if micro["accumulation"] > 1 else ""
        lines.append(("micro-batch", f"{micro['own']} samples{accumulated}"))
    if micro["largest"] is not None:
        sure = "verified by a run" if micro["from"] == "verified" else f"forecast, confidence {micro['confidence']:.0%}"
        varies = fit["longest"] and (fit.get("max_len") or fit["lengths"]["least"] != fit["lengths"]["most"])
        longest = f", with examples of {fit['max_len']}" if varies and fit.get("max_len") else ", with the longest examples" if varies else ""
        lines.append(("largest that fits", f"{micro['largest'] or 'none, not even 1'} ({sure}{longest})"))
    evaluation = fit["evaluation"]
    lines.append(("evaluation", gib(evaluation["bytes"]) if evaluation else "none seen"))
    return Section(title, lines)


def _phases(fit: dict) -> Section:
    found = {name: peak for name, peak in fit["phases"].items() if peak}
    unit, name, digits = (GIB, "GiB", 2) if max((peak["bytes"] for peak in found.values()), default=0) >= GIB else (1 << 20, "MiB", 1)
    rows = [[*(f"{peak['parts'][one] / unit:,.{digits}f}" for peak in found.values()), TITLES[one]] for one in CATEGORIES]
    rows.append([*(f"{peak['bytes'] / unit:,.{digits}f}" for peak in found.values()), "all"])
    return Section("what is in it, at its own batch size", [], Table([*found, f"at the peak, {name}, in"], rows))
