# SPDX-License-Identifier: Apache-2.0
"""What to know and what to do after an out of memory: a page of text, and the same as JSON."""

import json
import os
import pathlib

import torch

from . import _private

GIB = 1 << 30
SENTENCES = {
    "in_use": "live tensors leave too little of the device",
    "limit": "the limit set for this process leaves too little",
    "other_process": "memory that gapless does not hold (other processes, CUDA libraries of this one) leaves too little",
    "pinned": "free memory cannot be used, since it is pinned where it is (IPC, captures)",
    "capture": "a graph capture forbids what would have helped",
    "injected": "the failure was asked for (inject_oom)",
}


def _gib(count: float) -> str:
    return f"{count / GIB:.2f} GiB" if count >= GIB / 10 else f"{count / (1 << 20):.1f} MiB"


def _bytes(tensors) -> int:
    seen = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors if tensor.numel()}
    return sum(seen.values())


def consumers(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, int]:
    """Bytes of weights, gradients (of all that train, made or not) and optimizer state (as far as it is made)."""
    parameters = list(model.parameters())
    state = [value for one in optimizer.state.values() for value in one.values() if isinstance(value, torch.Tensor)]
    return {
        "weights": _bytes([*parameters, *model.buffers()]),
        "gradients": _bytes(parameter for parameter in parameters if parameter.requires_grad),
        "optimizer": _bytes(state),
    }


def levers(record: dict, shares: dict[str, int], model: torch.nn.Module) -> list[dict]:
    """What would help, the least costly for quality first, with the bytes that each would save alone. "measured": from the sizes of
    this run's tensors and peaks; "rule": a rule of thumb over them."""
    step_peak = max(record["step_peak_bytes"], record["last_good_step_peak_bytes"])
    activations = max(0, step_peak - sum(shares.values()))
    said = record["suggestion"]
    found = []

    def add(name, saving, basis):
        if saving > 0:
            found.append({"lever": name, "saves": int(saving), "basis": basis})

    if said["units"] and record["step_units"] > said["units"]:
        add(f"micro-batches of {said['units']} units instead of {record['step_units']}, with accumulation: the same result",
            activations * (1 - said["units"] / record["step_units"]), "measured")
    else:
        add("micro-batches of half the size, with accumulation: the same result", activations / 2, "rule")
    if not any(getattr(module, "gradient_checkpointing", False) for module in model.modules()):
        add("gradient checkpointing: the same result, about a third more time", activations * 0.7, "rule")
    add("half the maximum length", activations / 2, "rule")
    full = sum(p.numel() for p in model.parameters() if p.dtype == torch.float32)
    if full:
        # A parameter in bf16 with its gradient and two moments.
        add("bf16 weights", sum(shares.values()) / 2, "measured")
    if shares["gradients"] > shares["weights"] / 2:
        add("LoRA: gradients and optimizer state of a hundredth of the parameters",
            0.99 * (shares["gradients"] + shares["optimizer"]), "measured")
        add("QLoRA: that, and weights in 4 bits", 0.99 * (shares["gradients"] + shares["optimizer"]) + 0.72 * shares["weights"], "rule")
    return found


def page(record: dict, model: torch.nn.Module | None = None, optimizer: torch.optim.Optimizer | None = None) -> tuple[str, dict]:
    """The text and what it was made from."""
    lines = [
        f"gapless: out of memory on device {record['device']}: {_gib(record['rounded_bytes'])} wanted, at most "
        f"{_gib(record['largest_obtainable_bytes'])} can be had: {SENTENCES.get(record['verdict'], 'for a reason that this version does not know')}.",
        f"  live {_gib(record['live_bytes'])}, reserved {_gib(record['reserved_bytes'])}, of the device's "
        f"{_gib(record['driver_total_bytes'])} {_gib(record['driver_free_bytes'])} free, held by others "
        f"{_gib(record['other_process_bytes'])}, waiting for streams {_gib(record['pending_bytes'])}",
        f"  where: step {record['step']} \"{record['step_label']}\", phase \"{record['phase_label'] or '-'}\", allocation "
        f"{record['allocation_index']} of the step, {record['step_units'] or '?'} units",
        f"  peak of this step {_gib(record['step_peak_bytes'])}, of the last good step {_gib(record['last_good_step_peak_bytes'])}",
    ]
    tried = [f"rung {number}: {_gib(freed)}" for number, freed in enumerate(record["freed_by_rung"]) if freed]
    lines.append("  made available before giving up: " + (", ".join(tried) or "nothing"))
    said = record["suggestion"]
    if said["units"]:
        lines.append(f"  would fit: {said['units']} units (ran: {said['proven_fits'] or '-'}, failed: {said['proven_fails'] or '-'}; "
                     f"confidence {said['confidence']:.0%} from {said['evidence_steps']} steps)")
    facts: dict = {"record": record}
    if model is not None and optimizer is not None:
        shares = consumers(model, optimizer)
        facts |= {"consumers": shares, "levers": levers(record, shares, model)}
        lines.append("  " + ", ".join(f"{name} {_gib(size)}" for name, size in shares.items()))
        lines.append("  what would help, one at a time:")
        lines += [f"    {_gib(one['saves']):>10}  {one['lever']} ({one['basis']})" for one in facts["levers"]]
    return "\n".join(lines) + "\n", facts


def write(record: dict, folder: str | os.PathLike, **about) -> tuple[str, pathlib.Path]:
    """The page, and the file that holds the same as JSON."""
    text, facts = page(record, **about)
    rank = os.environ.get("RANK", "0")
    path = pathlib.Path(folder) / f"gapless-oom-{rank}-{os.getpid()}-{record['device']}-{record['sequence']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    _private.write(path, json.dumps(facts, indent=1, default=str))
    return text + f"  as JSON: {path}\n", path
