# SPDX-License-Identifier: Apache-2.0
"""What would make it fit, the least costly for the result first, one at a time: each with the peak of this program.

For scripts with transformers' Trainer micro-batch, checkpointing, length and bf16 are run; the rest is computed from the bytes of
weights, gradients and optimizer state, and says so.
"""

from .question import OWN_BATCHES, Answer, Asker, _needed, pair
from .run import NoAnswer

_RANK = 16
# A quantised weight in 4 bits with its constants for each 64 (QLoRA, arXiv 2305.14314, without double quantisation), to 16 bits.
_FOUR_BITS = 4.5 / 16


def _lever(name: str, peak: int | None, room: int, source: str, how: str, note: str = "") -> dict:
    return {"lever": name, "peak": peak, "fits": None if peak is None else peak <= room, "from": source, "how": how, "note": note}


def find(found: Answer, asker: Asker) -> list[dict]:
    """All levers that apply."""
    levers = [*_micro_batch(found), *_evaluation(found)]
    if found.measured.run.facts["trainer"]:
        levers += _run(found, asker)
    return levers + _estimated(found)


def _micro_batch(found: Answer) -> list[dict]:
    if not found.own or found.largest is None or found.largest >= found.own:
        return []
    room, samples = found.card.usable, found.own * found.accumulation
    if found.largest == 0:
        return [_lever("smaller micro-batch", None, room, found.largest_from, "", "not even one sample fits")]
    size, times = pair(samples, found.largest) or (1, samples)
    trainer = found.measured.run.facts["trainer"]
    names = ("per_device_train_batch_size", "gradient_accumulation_steps") if trainer else ("micro-batch", "accumulation")
    return [_lever("smaller micro-batch", found.forecast.get(size), room, found.largest_from if size == found.largest else "forecast",
                   f"{names[0]}={size}, {names[1]}={times} (the same {samples} samples a step)")
            | {"fits": True}]


def _evaluation(found: Answer) -> list[dict]:
    """Where evaluation is what does not fit: its own batch."""
    peak, batch, room = found.evaluation, found.measured.run.facts.get("evaluation_batch"), found.card.usable
    if peak is None or not batch or peak.bytes <= room:
        return []
    fixed = sum(peak.parts[name] for name in ("weights", "gradients", "optimizer"))
    size = int((room - fixed) * batch / (peak.bytes - fixed) * 0.98) if room > fixed else 0
    name = "per_device_eval_batch_size" if found.measured.run.facts["trainer"] else "evaluation batch"
    if size == 0:
        return [_lever("smaller evaluation batch", None, room, "estimate", "", "not even one sample fits")]
    return [_lever("smaller evaluation batch", fixed + (peak.bytes - fixed) * size // batch, room, "estimate", f"{name}={size} instead of {batch}",
                   "the same result; training keeps its own batch")]


def _run(found: Answer, asker: Asker) -> list[dict]:
    arguments, levers, room = found.measured.run.facts["arguments"], [], found.card.usable
    plan = {**OWN_BATCHES, "steps": 3}

    def measured(name: str, change: dict, how: str, note: str = "", **more) -> None:
        try:
            peak = _needed(asker.run(asker.roomy, {**plan, "arguments": change, **more}, f"lever: {name}").run)
        except NoAnswer as error:
            levers.append(_lever(name, None, room, "run", how, f"it did not run: {str(error).splitlines()[0]}"))
            return
        if peak.phase == "evaluation":
            note = "; ".join(filter(None, ("what is left is the evaluation's peak, which has a lever of its own", note)))
        levers.append(_lever(name, peak.bytes, room, "run", how, note))

    if not arguments.get("gradient_checkpointing"):
        measured("gradient checkpointing", {"gradient_checkpointing": True}, "gradient_checkpointing=True",
                 "the same result; about a third more time")
    if (lengths := found.lengths) and lengths["most"] > 1 and not asker.settings.max_len:
        length = max(1, lengths["most"] // 2)
        touched = sum(count for one, count in lengths["counts"] if one > length)
        measured("shorter maximum length", {}, f"a maximum length of {length} instead of {lengths['most']}",
                 f"it cuts {touched:,} of {lengths['read']:,} examples: your decision, gapless never cuts", truncate=length)
    if not arguments.get("bf16"):
        measured("bf16", {"bf16": True, "fp16": False}, "bf16=True", "cards from Ampere on; weights stay as they are loaded")
    return levers


def _estimated(found: Answer) -> list[dict]:
    models, room = found.measured.run.raw["models"], found.card.usable
    parts, peak = found.peak.parts, found.peak.bytes
    if not models["trained"]:
        return []
    lora = models["frozen"] > 4 * models["trained"]
    levers = []
    if lora:
        share = models["trained_bytes"] + parts["gradients"] + parts["optimizer"]
        levers.append(_lever("half the rank", peak - share // 2, room, "estimate", "half of r in LoraConfig"))
        quantised = models["frozen_bytes"]
    elif models["linear"]:
        # Adapters in float32 with their gradients and two moments.
        adapters = 16 * sum(_RANK * (i + o) for i, o in models["linear"])
        saved = parts["gradients"] + parts["optimizer"] - adapters
        if saved > 0:
            levers.append(_lever("LoRA", peak - saved, room, "estimate", f"peft.LoraConfig(r={_RANK}) on every linear layer",
                                 "another method: fewer parameters learn"))
            peak -= saved
        quantised = 2 * sum(i * o for i, o in models["linear"])
    else:
        return levers
    levers.append(_lever("QLoRA", peak - int(quantised * (1 - _FOUR_BITS)), room, "estimate", "load_in_4bit with LoRA",
                         "weights lose precision"))
    return levers
