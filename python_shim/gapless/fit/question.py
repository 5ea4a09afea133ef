# SPDX-License-Identifier: Apache-2.0
"""Does it fit? The runs that answer it: one with room for everything, then those that prove the answer on the card."""

import dataclasses
from collections.abc import Callable

from . import sweep as sweeps
from .cards import Card
from .run import Failed, NoAnswer, Outcome, Settings, ask, roomy, run
from .steps import Peak, Run, Step, gib

MIB = 1 << 20
# Physical memory comes in pages of 2 MiB; gapless keeps up to this share above what is live (docs/options.md, slack).
_SLACK, _PAGES = 1.02, 64 * MIB
# Reading other values from the device may change the peak by this share before it counts as depending on them.
_SAME = 0.005
_LARGE = 4096  # read as a length: more than a row has in most programs, few enough for a loop
# The script's own batches, one of them of the longest examples, and no probes: where the command sets the size, and on the card.
OWN_BATCHES = {"sizes": ["own", "own", "longest"]}
# The search for the largest micro-batch ends at this many times what was seen: a small model on a large card would be given batches of
# hundreds of thousands, whose examples take minutes to read.
_FARTHEST = 64
_PROOFS = 6  # runs that look for the largest micro-batch, at most


@dataclasses.dataclass
class Answer:
    """All that was found out, for text, JSON and page."""

    verdict: str  # fits, does not fit, could not tell
    why: str
    card: Card
    allocator: str
    measured: Outcome
    peak: Peak
    own: int = 0  # samples of a micro-batch, as the program has it; 0: not known
    accumulation: int = 1
    longest: Peak | None = None  # with the longest examples
    max_len: int | None = None  # the length that the longest examples were given; None: their own
    evaluation: Peak | None = None
    largest: int | None = None  # micro-batch that fits; 0: not even one sample
    largest_from: str = ""  # verified, forecast
    forecast: dict[int, int] = dataclasses.field(default_factory=dict)  # samples: peak
    confidence: float = 0.0
    sweep: list[dict] = dataclasses.field(default_factory=list)
    levers: list[dict] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    reads: list[dict] = dataclasses.field(default_factory=list)
    runs: int = 0

    @property
    def lengths(self) -> dict | None:
        return self.measured.run.facts.get("lengths")


class Asker:
    """Asks one question; `tell` hears what is being done."""

    def __init__(self, settings: Settings, card: Card, tell: Callable[[str], None] = lambda text: None) -> None:
        self.settings, self.card, self._tell = settings, card, tell
        # Programs ask what the card can do: they shall do the same where there is room.
        self.roomy = roomy(card.capability)
        self.runs = 0

    def run(self, card: Card, plan: dict, what: str, command: list[str] | None = None) -> Outcome:
        self.runs += 1
        self._tell(what)
        return run(self.settings, card, plan, command=command, tell=lambda text: self._tell(f"{what}: {text}"))

    # ---- the whole

    def answer(self, sweep: "sweeps.Sweep | None" = None) -> Answer:
        found = self.measure() if sweep is None else self.measure(sweep.command(sweep.values[-1]), OWN_BATCHES)
        if found.verdict == "could not tell":
            return self._closed(found)
        if sweep is None and not found.measured.run.facts["loader"]:
            sweep = sweeps.find(self.settings.command)
        if sweep is not None and not found.measured.run.facts["trainer"]:
            self._sweep(found, sweep)
        else:
            self._largest(found)
        self._judge(found, sweep)
        return self._closed(found)

    def _closed(self, found: Answer) -> Answer:
        found.runs = self.runs
        return found

    def measure(self, command: list[str] | None = None, plan: dict | None = None) -> Answer:
        """One run with room for everything."""
        plan = plan or {"sizes": ["own", "own", "longest", "small", "large", "double", "triple", "quadruple"]}
        note = ""
        try:
            outcome = self.run(self.roomy, plan, "measuring", command)
        except Failed as error:
            if error.steps == 0:
                raise
            # It may not like batches of other sizes.
            given = "its longest examples together" if plan == OWN_BATCHES else "batches of other sizes"
            plan, note = {"sizes": [], "control": False}, f"the script failed when its loader gave {given}, so it was left to itself"
            outcome = self.run(self.roomy, plan, "measuring with the script's own batches", command)
        seen = outcome.run
        found = Answer("", "", self.card, self.settings.allocator, outcome, _needed(seen), own_batch(seen),
                       seen.raw["accumulation"] or 1)
        found.evaluation = seen.peak(phase="evaluation")
        found.longest, found.max_len = self._of_longest(seen), self.settings.max_len
        found.reads = [one for one in seen.raw["reads"] if one["shape"]]
        if found.reads:
            found.verdict, found.why = "could not tell", "shapes depend on values that are on the device"
        elif values := [one for one in seen.raw["reads"] if one["what"] not in ("bool", "cpu", "to") or not one["inside"]]:
            self._with_other_values(found, plan, values, command)
        if note:
            found.notes.append(note)
        if seen.raw["evaluations"] == 0:
            found.notes.append("no evaluation was seen; what it needs is not in the figures")
        if self.settings.max_len and not (seen.facts.get("lengths")):
            found.notes.append("--max-len had no effect: the program has no data loader whose examples have lengths")
        elif (lengths := found.lengths) and lengths["read"] < lengths["of"]:
            found.notes.append(f"lengths are those of the first {lengths['read']:,} of {lengths['of']:,} examples; the others take too "
                               "long to read (--max-len says what to reckon with)")
        if not seen.facts["loader"]:
            found.notes.append(f"no data loader with a data set that can be indexed: the figures are those of the first {len(seen.steps)} steps")
        return found

    def _with_other_values(self, found: Answer, plan: dict, values: list[dict], command: list[str] | None) -> None:
        """What the program reads from the device may decide about shapes: does its peak change when it reads something else?"""
        found.reads, first, here = values, values[0], found.peak.bytes
        place = f"{first['file']}:{first['line']}"
        whole = any(one["dtype"] != "torch.bool" for one in values)
        # A length of 1 is as short as one of 0 in many places; a large one is cut to what there is by slices, and large elsewhere.
        for answer in (1, _LARGE) if whole else (1,):
            try:
                other = self.run(self.roomy, {**plan, "answer": answer}, f"measuring with other values ({answer})", command).run
            except NoAnswer as error:
                ends = "it ends" if isinstance(error, Failed) else "there is no answer"
                what = f"{ends} when {place} reads {answer if whole else 'true'} from the device instead of 0 ({str(error).splitlines()[0]})"
                if whole and answer == 1:
                    found.verdict, found.why = "could not tell", what
                else:
                    # No index, or no count, of anything; or a check of the program's own.
                    found.notes.append(f"{what}; the figures are for 0")
                return
            there = _needed(other).bytes
            # A run that a value ended early holds less, and says nothing.
            less = there < (1 - _SAME) * here and len(other.steps) >= len(found.measured.run.steps)
            if less or there > (1 + _SAME) * here:
                found.verdict = "could not tell"
                found.why = (f"the peak depends on values that are on the device: {gib(here)} if they are 0, "
                             f"{gib(there)} if they are {answer}")
                return

    def _of_longest(self, seen: Run) -> Peak | None:
        if not seen.facts.get("lengths"):
            return None
        own = own_batch(seen)
        widest = max((step.width for step in seen.steps if step.samples == own), default=0)
        steps = [step for step in seen.steps if step.samples == own and step.width == widest and step.number > 1 and not step.evaluates]
        peaks = [seen.peak(step.begin, step.end) for step in steps]
        return max((peak for peak in peaks if peak), key=lambda peak: peak.bytes, default=None)

    # ---- the largest micro-batch

    def _largest(self, found: Answer) -> None:
        steps = evidence(found.measured.run)
        if steps is None:
            found.notes.append("the largest micro-batch is not known: --sweep NAME=V1,V2 with {NAME} in the command tells how its size is set")
            return
        said = self.forecast(found, [found.measured.run.to_replay(step) for step in steps])
        nearer = evidence(found.measured.run, said["most"][0])
        if nearer != steps:
            # Kernels and workspaces change with the batch: what was seen near the answer tells more.
            said = self.forecast(found, [found.measured.run.to_replay(step) for step in nearer])
        low, high = _bounded(found, said["most"], nearer[-1].samples, found.measured.run.facts.get("examples"))
        self._prove(found, low, high, lambda size: self._runs_at(size, found))

    def forecast(self, found: Answer, steps: list[dict], at: tuple[int, ...] = ()) -> dict:
        """What the learner says; the peaks are kept."""
        room = self.card.usable
        units = sorted({step["units"] for step in steps} | ({found.own} if found.own else set()) | set(at))
        question = {"steps": steps, "peaks": units, "rooms": [[room, True], [room - _least_loss(room), False]]}
        self._tell("forecasting")
        said = ask(question, self.settings)
        found.forecast |= {int(size): peak for size, peak in said["peaks"].items()}
        found.confidence = said["confidence"]
        return said

    def _runs_at(self, size: int, found: Answer) -> bool:
        plan = {"sizes": [size, size, size], "steps": 3, "batch": size, "patience": 0}
        if found.measured.run.facts["trainer"]:
            plan["arguments"] = {"per_device_train_batch_size": size}
        return self.run(self.card, plan, f"micro-batch of {size} on {self.card.name}").fits

    def _prove(self, found: Answer, low: int, high: int, fits: Callable[[int], bool]) -> None:
        """Runs the largest size that the forecast allows; if it fails, smaller ones, until one fits and the one after the next does not."""
        best, fails, size, one_less = 0, 0, max(high, 1), False  # 0: none known
        for _ in range(_PROOFS):
            try:
                did = fits(size)
            except NoAnswer as error:
                found.notes.append(f"a run at {size} ended otherwise than for memory: {str(error).splitlines()[0]}")
                break
            best, fails = (size, fails) if did else (best, size)
            if best and (not fails or fails - best <= 2):
                break
            # Between what ran, or what the forecast is sure of, and what failed. Where it was sure of too much, it was most often by one.
            sure = best or (low if low < fails else 0)
            if sure or one_less:
                size = (sure + fails) // 2 if sure < fails - 1 else fails - 1
            else:
                size, one_less = fails - 1, True
            if size == 0:
                break
        if best or fails == 1:
            found.largest, found.largest_from = best, "verified"
        else:
            found.largest, found.largest_from = min(low, fails - 1) if fails else low, "forecast"
            if fails and fails <= low:
                found.notes.append(f"the forecast was too high: {low} was said to fit, and a run at {fails} did not; no run has shown that "
                                   f"{found.largest} does")

    # ---- a size that the command takes

    def _sweep(self, found: Answer, sweep: "sweeps.Sweep") -> None:
        outcomes: dict[int, Outcome] = {sweep.values[-1]: found.measured}
        for value in sweep.values[:-1]:
            outcomes[value] = self.run(self.roomy, OWN_BATCHES, f"measuring {sweep.name} = {value}", sweep.command(value))
        pairs = []
        for value in sorted(outcomes):
            step = _steady(outcomes[value].run)
            peak = _needed(outcomes[value].run)
            found.sweep.append({"name": sweep.name, "value": value, "peak": peak.bytes, "fits": peak.bytes <= self.card.usable})
            if step is not None:
                pairs.append(outcomes[value].run.to_replay(step) | {"units": value})
        found.own = sweep.own or sweep.values[-1]
        own = found.measured = outcomes[found.own]
        found.peak, found.longest, found.evaluation = _needed(own.run), self._of_longest(own.run), own.run.peak(phase="evaluation")
        if len(pairs) < 2:
            found.notes.append(f"the largest {sweep.name} is not known: two values that differ are needed (--sweep {sweep.name}=2,4)")
            return
        low, high = _bounded(found, self.forecast(found, pairs[-2:])["most"], sweep.values[-1], None)
        self._prove(found, low, high, lambda size: self.run(self.card, {**OWN_BATCHES, "steps": 3, "patience": 0}, f"{sweep.name} = {size} on {self.card.name}",
                                                           sweep.command(size)).fits)

    # ---- the verdict

    def _judge(self, found: Answer, sweep: "sweeps.Sweep | None") -> None:
        room, needed = self.card.usable, max(found.peak.bytes, found.longest.bytes if found.longest else 0)
        # Where there is more room, it may have taken more.
        asked = found.measured.run.facts.get("asked_memory")
        if asked:
            found.notes.append("the program asks how much memory there is (torch.cuda.mem_get_info, device_map=\"auto\"): the figures are of a "
                               "run with 1 TiB, the verdict is of a run on the card")
        if needed > room and not asked:
            found.verdict, found.why = "does not fit", f"it holds {gib(needed)} at its peak ({found.peak.phase}), {gib(room)} are to be had"
            return
        held = found.measured.run.raw["reserved_peak"]
        if held + _PAGES <= room and not asked:
            # Whoever the allocator is: with this much it has been served, larger batches too.
            found.verdict, found.why = "fits", f"with room for everything it took {gib(held)} of the device at most, {gib(room)} are to be had"
            return
        # How much more than what is live is taken, only gapless bounds.
        proven = found.allocator == "gapless" and found.largest_from == "verified" and found.own and found.largest >= found.own and needed * _SLACK + _PAGES <= room
        if proven and not asked:
            found.verdict, found.why = "fits", f"proven by a run at a micro-batch of {found.largest}"
            return
        command = sweep.command(found.own) if sweep is not None else None
        outcome = self.run(self.card, OWN_BATCHES, f"on {self.card.name}", command)
        found.verdict = "fits" if outcome.fits else "does not fit"
        found.why = "proven by a run" if outcome.fits else "it ran out of memory in a run"


def _bounded(found: Answer, most: list[int], seen: int, examples: int | None) -> tuple[int, int]:
    """The forecast's range for the largest micro-batch, ended where the search for it ends."""
    bound = max(found.own, min(_FARTHEST * seen, examples or _FARTHEST * seen))
    if most[1] > bound:
        what = "all examples of the data set" if bound == examples else f"{_FARTHEST} times what was seen"
        found.notes.append(f"the search for the largest micro-batch ends at {bound}, {what}")
    return min(most[0], bound), min(most[1], bound)


def _least_loss(room: int) -> int:
    """What of a card no allocator can make use of: the last page."""
    return room % (2 * MIB)


def own_batch(seen: Run) -> int:
    """Samples of a micro-batch as the program has it. 0: its steps differ, and it has no loader that tells."""
    if seen.facts.get("batch"):
        return int(seen.facts["batch"])
    sizes = {step.samples for step in seen.steps}
    return sizes.pop() if len(sizes) == 1 else 0


def _probes(seen: Run) -> list[Step]:
    """Steps with larger batches than the program's own."""
    own = own_batch(seen)
    return [step for step in seen.steps if own and step.most > own]


def own_peak(seen: Run, phase: str | None = None) -> Peak | None:
    """The highest point of what the program does by itself, or of one of its phases: probes with larger batches are left out."""
    spans, begin = [], 0
    for step in _probes(seen):
        spans.append((begin, step.begin))
        begin = step.end
    spans.append((begin, len(seen.live)))
    peaks = [peak for first, last in spans if first < last and (peak := seen.peak(first, last, phase)) is not None]
    return max(peaks, key=lambda peak: peak.bytes, default=None)


def own_reserved(seen: Run) -> int | None:
    """The most bytes that the allocator had from the device in steps of the program's own batch, before the first probe."""
    first = min((step.number for step in _probes(seen)), default=len(seen.steps) + 1)
    return max((facts["reserved"] for _, kind, facts in seen.marks if kind == "step" and facts["number"] < first and "reserved" in facts), default=None)


def _needed(seen: Run) -> Peak:
    if (peak := own_peak(seen)) is None:
        raise NoAnswer("nothing was allocated on the device")
    return peak


def _usable(step: Step) -> bool:
    """After the first, which makes the optimizer's state; without an evaluation in it."""
    return step.number > 1 and step.samples > 0 and not step.evaluates


def _steady(seen: Run) -> Step | None:
    steps = [step for step in seen.steps if _usable(step)]
    return max(steps, key=lambda step: step.peak, default=None)


def evidence(seen: Run, near: int | None = None) -> list[Step] | None:
    """Two steps of neighbouring sizes and one width, the widest there is: the largest two, or those around `near`, or the two next to it.
    None: there are none."""
    steps = [step for step in seen.steps if _usable(step)]
    for width in sorted({step.width for step in steps}, reverse=True):
        by_size: dict[int, Step] = {}
        for step in steps:
            if step.width == width and (step.samples not in by_size or step.peak > by_size[step.samples].peak):
                by_size[step.samples] = step
        sizes = sorted(by_size)
        if len(sizes) >= 2:
            above = len(sizes) - 1 if near is None else next((place for place, size in enumerate(sizes) if size >= near), len(sizes) - 1)
            above = max(1, above)
            return [by_size[sizes[above - 1]], by_size[sizes[above]]]
    return None


def pair(effective: int, largest: int) -> tuple[int, int] | None:
    """(micro-batch, accumulation) of one effective batch: the largest micro-batch that divides it and fits."""
    size = next((size for size in range(min(largest, effective), 0, -1) if effective % size == 0), None)
    return (size, effective // size) if size else None


