# SPDX-License-Identifier: Apache-2.0
"""What to know and what to do after an out of memory: a page of text, and the same as JSON and as HTML."""

import json
import os
import pathlib

import torch

from . import _oom_html, _private

GIB = 1 << 30
SENTENCES = {
    "in_use": "live tensors leave too little of the device",
    "limit": "the limit set for this process leaves too little",
    "other_process": "memory that gapless does not hold (other processes, CUDA libraries of this one) leaves too little",
    "pinned": "free memory cannot be used, since it is pinned where it is (IPC, captures)",
    "capture": "a graph capture forbids what would have helped",
    "injected": "the failure was asked for (inject_oom)",
}
# As in src/engine/backing.hpp.
RUNGS = ("mappings used again", "idle memory of no place", "memory newly made", "idle memory of the same stream",
         "idle memory of other streams", "memory made beyond the slack", "waiting for streams", "hooks")
NAMES = {"weights": "weights", "gradients": "gradients", "optimizer": "optimizer state",
         "activations": "activations and temporaries"}


def gib(count: float) -> str:
    return f"{count / GIB:.2f} GiB" if count >= GIB / 10 else f"{count / (1 << 20):.1f} MiB"


def _bytes(tensors) -> int:
    seen = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors if tensor.numel()}
    return sum(seen.values())


def consumers(model: torch.nn.Module | None, optimizers) -> dict[str, int]:
    """Bytes of weights, gradients (of all that train, made or not) and optimizer state (as far as it is made)."""
    parameters = list(model.parameters()) if model is not None else [
        p for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]]
    states = [one for optimizer in optimizers for one in optimizer.state.values()]
    return {
        "weights": _bytes([*parameters, *(model.buffers() if model is not None else ())]),
        "gradients": _bytes(parameter for parameter in parameters if parameter.requires_grad),
        "optimizer": _bytes(value for state in states for value in state.values() if isinstance(value, torch.Tensor)),
    }


def levers(record: dict, shares: dict[str, int], model: torch.nn.Module | None) -> list[dict]:
    """What would help, the least costly for quality first, with the bytes that each would save alone. "measured": from the sizes of
    this run's tensors and peaks; "rule": a rule of thumb over them."""
    step_peak = max(record["step_peak_bytes"], record["last_good_step_peak_bytes"])
    activations = max(0, step_peak - sum(shares.values()))
    said = record["suggestion"]
    parameters = dict(model.named_parameters()) if model is not None else {}
    low_rank = [p for name, p in parameters.items() if "lora_" in name and p.requires_grad]
    found = []

    def add(name, saving, basis):
        if saving > 0:
            found.append({"lever": name, "saves": int(saving), "basis": basis})

    if said["units"] and record["step_units"] > said["units"]:
        add(f"micro-batches of {said['units']} units instead of {record['step_units']}, with accumulation: the same result",
            activations * (1 - said["units"] / record["step_units"]), "measured")
    else:
        add("micro-batches of half the size, with accumulation: the same result", activations / 2, "rule")
    if model is None or not any(getattr(module, "gradient_checkpointing", False) for module in model.modules()):
        add("gradient checkpointing: the same result, about a third more time", activations * 0.7, "rule")
    add("half the maximum length", activations / 2, "rule")
    if any(p.dtype == torch.float32 for p in parameters.values()):
        # A parameter in bf16 with its gradient and two moments.
        add("bf16 weights", sum(shares.values()) / 2, "measured")
    trained = shares["gradients"] + shares["optimizer"]
    if low_rank:
        add("half the rank of LoRA", trained / 2 + _bytes(low_rank) / 2, "measured")
    elif shares["gradients"] > shares["weights"] / 2:
        add("LoRA: gradients and optimizer state of a hundredth of the parameters", 0.99 * trained, "measured")
        add("QLoRA: that, and weights in 4 bits", 0.99 * trained + 0.72 * shares["weights"], "rule")
    return found


def _table(record: dict, shares: dict[str, int], now: dict[str, int]) -> list[dict]:
    """Each consumer at the failure and at the peak of the last good step (all gradients counted, made by then or not)."""
    good = record["last_good_step_peak_bytes"]
    then = shares | {"activations": max(0, good - sum(shares.values()))} if good else {}
    return [{"what": NAMES[key], "now": now[key], "last_good": then.get(key)} for key in NAMES if key in now]


def page(record: dict, moment: dict | None = None, model: torch.nn.Module | None = None, optimizers=()) -> tuple[str, dict]:
    """The text and what it was made from. `moment`: of _oom_moment.capture."""
    moment, said = moment or {}, record["suggestion"]
    why = SENTENCES.get(record["verdict"], "for a reason that this version does not know")
    facts: dict = {
        "record": record,
        "verdict": f"out of memory on device {record['device']}: {gib(record['rounded_bytes'])} wanted, at most "
                   f"{gib(record['largest_obtainable_bytes'])} can be had: {why}.",
        "memory": f"live {gib(record['live_bytes'])}, reserved {gib(record['reserved_bytes'])}, of the device's "
                  f"{gib(record['driver_total_bytes'])} {gib(record['driver_free_bytes'])} free, held by others "
                  f"{gib(record['other_process_bytes'])}, waiting for streams {gib(record['pending_bytes'])}",
        "where": f"step {record['step']} \"{record['step_label']}\", phase \"{record['phase_label'] or '-'}\", allocation "
                 f"{record['allocation_index']} of the step, {record['step_units'] or '?'} units",
        "line": moment.get("line", ""),
        "peaks": f"peak of this step {gib(record['step_peak_bytes'])}, of the last good step {gib(record['last_good_step_peak_bytes'])}",
        "tried": [{"what": RUNGS[number] if number < len(RUNGS) else f"rung {number}", "freed": freed}
                  for number, freed in enumerate(record["freed_by_rung"]) if freed],
        "fits": f"{said['units']} units (ran: {said['proven_fits'] or '-'}, failed: {said['proven_fails'] or '-'}; "
                f"confidence {said['confidence']:.0%} from {said['evidence_steps']} steps)" if said["units"] else "",
        "groups": moment.get("groups", []),
    }
    if model is not None or optimizers:
        shares = consumers(model, optimizers)
        facts |= {"consumers": shares, "levers": levers(record, shares, model)}
        facts["table"] = _table(record, shares, moment.get("now", shares))
    return _text(facts), facts


def _text(facts: dict) -> str:
    lines = [f"gapless: {facts['verdict']}", f"  {facts['memory']}", f"  where: {facts['where']}"]
    if facts["line"]:
        lines.append(f"         {facts['line']}")
    lines.append(f"  {facts['peaks']}")
    lines.append("  made available before giving up: " +
                 (", ".join(f"{one['what']} {gib(one['freed'])}" for one in facts["tried"]) or "nothing"))
    if facts["fits"]:
        lines.append(f"  would fit: {facts['fits']}")
    if facts.get("table"):
        lines.append(f"  {'':<28}{'now':>12}{'last good step':>16}")
        for one in facts["table"]:
            then = gib(one["last_good"]) if one["last_good"] is not None else "-"
            lines.append(f"  {one['what']:<28}{gib(one['now']):>12}{then:>16}")
    if facts["groups"]:
        lines.append("  the largest groups of what was live:")
        lines += [f"    {gib(one['bytes'] * one['count']):>10} = {one['count']:>4} x {gib(one['bytes'])}, {NAMES[one['what']]}"
                  + (f": {one['line']}" if one["line"] else "") for one in facts["groups"]]
    if facts.get("levers"):
        lines.append("  what would help, one at a time:")
        lines += [f"    {gib(one['saves']):>10}  {one['lever']} ({one['basis']})" for one in facts["levers"]]
    return "\n".join(lines) + "\n"


def write(record: dict, folder: str | os.PathLike, **about) -> tuple[str, pathlib.Path]:
    """The page as text, and the file that holds the same as JSON; beside it one of HTML."""
    text, facts = page(record, **about)
    rank = os.environ.get("RANK", "0")
    path = pathlib.Path(folder) / f"gapless-oom-{rank}-{os.getpid()}-{record['device']}-{record['sequence']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    _private.write(path, json.dumps(facts, indent=1, default=str))
    html = path.with_suffix(".html")
    _private.write(html, _oom_html.page(facts, gib, NAMES))
    return text + f"  as JSON: {path}\n  as HTML: {html}\n", path
