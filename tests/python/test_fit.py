# SPDX-License-Identifier: Apache-2.0
"""gapless fit without PyTorch and without a device: arguments, recorded runs, what is said and drawn."""

import io
import json
import signal
import types

import pytest
from gapless.cli import main
from gapless.fit import cards, command, drawing, levers, question, run, sweep, text
from gapless.fit.inside import imports, lengths, loaders, shapes, trainer, writes
from gapless.fit.run import Failed, NoAnswer, Outcome, Settings
from gapless.fit.steps import Run

MIB = 1 << 20


class Recording:
    """A run as the observer writes it: weights, then steps of forward, backward and optimizer."""

    def __init__(self):
        self.events, self.marks, self.owners, self.blocks, self.steps = [], [], {}, 0, 0

    def make(self, size, owner=None):
        block, self.blocks = self.blocks, self.blocks + 1
        self.events.append([block, size])
        if owner:
            self.owners[str(block)] = owner
        return block

    def free(self, block):
        self.events.append([block, 0])

    def mark(self, kind, **facts):
        allocations = sum(size > 0 for _, size in self.events)
        self.marks.append([allocations, len(self.events) - allocations, kind, facts])

    def step(self, samples, width=16):
        self.mark("forward", grad=True, samples=samples, width=width, trains=True)
        kept = self.make(samples * 3 * MIB)
        self.free(self.make(samples * MIB))
        self.mark("backward")
        gradient = self.make(4 * MIB, "gradients")
        self.free(self.make(samples * 2 * MIB))
        self.free(kept)
        self.mark("backward_end")
        self.mark("optimizer")
        if self.steps == 0:
            self.make(8 * MIB, "optimizer")
        self.steps += 1
        self.mark("step", number=self.steps)
        self.free(gradient)

    def evaluate(self, size):
        self.mark("evaluation")
        self.free(self.make(size))

    def run(self, **facts):
        raw = {"events": self.events, "marks": self.marks, "owners": self.owners, "ooms": [], "reserved_peak": 100 * MIB,
               "facts": {"trainer": False, "loader": True, "batch": 4, "arguments": {}, "lengths": None, **facts}, "reads": [],
               "accumulation": 1, "evaluations": 1, "steps": self.steps, "optimizers": ["AdamW"],
               "models": {"trained": MIB, "trained_bytes": 4 * MIB, "frozen": 0, "frozen_bytes": 0, "dtypes": {}, "linear": [[256, 256]],
                          "checkpointing": False}}
        return Run(json.loads(json.dumps(raw)))


@pytest.fixture
def recorded():
    one = Recording()
    one.make(4 * MIB, "weights")
    for samples in (4, 4, 4, 2, 8):
        one.step(samples)
    one.evaluate(10 * MIB)
    one.step(4)
    return one.run()


def test_phases_and_steps(recorded):
    assert [step.samples for step in recorded.steps] == [4, 4, 4, 2, 8, 4]
    assert [step.evaluates for step in recorded.steps] == [False] * 5 + [True]
    assert [step.micro_batches for step in recorded.steps] == [1] * 6
    names = {phase.name for phase in recorded.phases}
    assert {"start", "forward", "backward", "evaluation"} <= names


def test_a_peak_and_its_parts(recorded):
    peak = recorded.peak(phase="backward")
    # The step of eight samples: weights, state, gradient, what was kept, and the temporary.
    assert peak.bytes == (4 + 8 + 4 + 24 + 16) * MIB
    assert peak.step == 5
    assert {name: size // MIB for name, size in peak.parts.items()} == {
        "weights": 4, "gradients": 4, "optimizer": 8, "activations": 24, "workspaces": 16, "other": 0}
    assert recorded.peak(phase="evaluation").bytes == 22 * MIB


def test_probes_with_larger_batches_are_not_the_verdict(recorded):
    assert question._needed(recorded).bytes == (4 + 8 + 4 + 12 + 8) * MIB
    assert question.own_batch(recorded) == 4


def test_a_loss_is_no_forward_pass():
    one = Recording()
    for samples in (4, 4, 8, 4):
        one.step(samples)
        # What a step calls after its model: a loss over tokens, and a head of its own.
        places = [place for place, mark in enumerate(one.marks) if mark[2] == "backward"]
        one.marks[places[-1]:places[-1]] = [[*one.marks[places[-1]][:2], "forward", {"grad": True, "samples": 64 * samples, "width": 9, "trains": trains}]
                                            for trains in (False, True)]
    seen = one.run()
    assert [(step.samples, step.most, step.width) for step in seen.steps] == [(4, 4, 16), (4, 4, 16), (8, 8, 16), (4, 4, 16)]
    assert question._needed(seen).bytes == max(step.peak for step in seen.steps if step.samples == 4)


def test_evidence_is_of_two_sizes_and_one_width(recorded):
    assert [step.samples for step in question.evidence(recorded)] == [4, 8]
    for near, sizes in ((1, [2, 4]), (3, [2, 4]), (4, [2, 4]), (5, [4, 8]), (100, [4, 8])):
        assert [step.samples for step in question.evidence(recorded, near)] == sizes
    one = Recording()
    for samples, width in ((4, 16), (4, 16), (2, 8), (4, 16)):
        one.step(samples, width)
    assert question.evidence(one.run()) is None


def test_a_step_for_the_learner(recorded):
    step = question.evidence(recorded)[0]
    replay = recorded.to_replay(step)
    assert replay["units"] == 4
    assert sum(size for _, size in replay["older"]) == recorded.live[step.begin - 1]
    live, peak = sum(size for _, size in replay["older"]), 0
    sizes = dict(replay["older"])
    for block, size in replay["events"]:
        live += size or -sizes[block]
        sizes[block] = size
        peak = max(peak, live)
    assert peak == step.peak


@pytest.mark.parametrize(("command", "template", "values"), [
    (("python", "t.py", "--batch-size", "8"), "{batch}", (4, 8)),
    (("python", "t.py", "--per_device_train_batch_size=6"), "--per_device_train_batch_size={batch}", (3, 6)),
    (("python", "t.py", "--batch_size", "1"), "{batch}", (1, 2, 3)),
])
def test_a_batch_size_in_the_command_is_found(command, template, values):
    found = sweep.find(command)
    assert template in found.template
    assert set(values) <= set(found.values)
    assert list(command) == found.command(found.own)


@pytest.mark.parametrize("command", [("python", "t.py"), ("python", "t.py", "--eval-batch-size", "8"), ("python", "t.py", "--batch-size"),
                                     ("python", "t.py", "--batch-norm", "1"), ("python", "t.py", "--global-batch-size=64"),
                                     ("python", "t.py", "--batch-size", "auto"), ("python", "t.py", "--lr", "8")])
def test_no_batch_size_is_found_where_there_is_none(command):
    assert sweep.find(command) is None


@pytest.mark.parametrize("text", ["batch", "batch=", "batch=0", "batch=2,x", "size=2,4"])
def test_wrong_sweeps_say_what_is_wanted(text, capsys):
    assert main(["fit", "--device", "24GiB", "--sweep", text, "--", "python", "t.py", "{batch}"]) == 2
    assert "--sweep" in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "said"), [(["--device", "24GiB"], "no command given"), (["--", "python", "t.py"], "--device is missing"),
                                                 (["--device", "24", "--", "x"], "no size such as 24GiB"),
                                                 (["--device", "rtx4091", "--", "x"], "nearest: rtx4090")])
def test_wrong_arguments(arguments, said, capsys):
    assert main(["fit", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_cards_are_listed(capsys):
    assert main(["fit", "--list-devices"]) == 0
    assert "a100-80g" in capsys.readouterr().out


@pytest.mark.parametrize(("effective", "largest", "pair"), [(16, 5, (4, 4)), (16, 16, (16, 1)), (7, 3, (1, 7)), (8, 0, None), (12, 100, (12, 1))])
def test_the_effective_batch_stays(effective, largest, pair):
    assert question.pair(effective, largest) == pair


def answer(recorded, verdict="does not fit"):
    card = cards.find("40MiB")
    found = question.Answer(verdict, "because", card, "gapless", Outcome(recorded, card, True, 1.0), question._needed(recorded), 4, 2)
    found.largest, found.largest_from, found.forecast, found.confidence = 3, "verified", {1: 30 * MIB, 2: 33 * MIB, 4: 36 * MIB}, 0.9
    found.evaluation = recorded.peak(phase="evaluation")
    return found


def test_levers_say_how_and_where_from(recorded):
    found = answer(recorded)
    all_of_them = levers.find(found, None)
    assert all_of_them[0]["how"] == "micro-batch=2, accumulation=4 (the same 8 samples a step)"
    assert all_of_them[0]["peak"] == 33 * MIB
    assert {one["from"] for one in all_of_them[1:]} == {"estimate"}


class Scripted(question.Asker):
    """Runs that end as they are told."""

    def __init__(self, *outcomes, room="40MiB"):
        super().__init__(Settings(("python", "t.py")), cards.find(room))
        self.outcomes, self.asked = list(outcomes), []

    def run(self, card, plan, what, command=None):
        self.runs += 1
        self.asked.append(plan)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def outcome(run, fits=True):
    return Outcome(run, cards.find("40MiB"), fits, 1.0)


def steps_of(*samples):
    one = Recording()
    one.make(4 * MIB, "weights")
    for size in samples:
        one.step(size)
    return one.run()


READ = {"file": "t.py", "line": 7, "function": "main", "what": "item", "shape": False, "dtype": "torch.int64", "count": 1, "inside": None, "step": 0}


@pytest.mark.parametrize(("others", "verdict", "noted"), [
    ([steps_of(4, 4, 4)] * 2, "", False), ([steps_of(4, 4, 3)] * 2, "", False), ([steps_of(4), steps_of(4, 7, 4)], "", False),
    ([NoAnswer("it failed")], "could not tell", False), ([steps_of(4, 4, 4), NoAnswer("it failed")], "", True),
    ([steps_of(2, 2, 2)], "could not tell", False), ([steps_of(4, 4, 4), steps_of(2, 2, 2)], "could not tell", False)])
def test_other_values_from_the_device(others, verdict, noted):
    first = steps_of(4, 4, 4)
    first.raw["reads"] = [READ]
    asker = Scripted(outcome(first), *(one if isinstance(one, Exception) else outcome(one) for one in others))
    found = asker.measure()
    assert found.verdict == verdict
    assert [plan["answer"] for plan in asker.asked[1:]] == [1, 4096][:len(others)]
    assert found.reads == [READ]
    assert any("t.py:7" in note for note in found.notes) == noted


def test_a_check_that_ends_the_program_is_no_size():
    first = steps_of(4, 4, 4)
    first.raw["reads"] = [READ | {"what": "bool", "dtype": "torch.bool"}]
    found = Scripted(outcome(first), NoAnswer("not a number")).measure()
    assert found.verdict == ""
    assert "t.py:7" in found.notes[0]


def test_a_program_that_asks_for_the_memory_is_run_on_the_card(recorded):
    asker = Scripted(outcome(recorded, True), room="20MiB")
    found = answer(recorded, "")
    found.measured.run.facts["asked_memory"] = True
    found.card = asker.card
    asker._judge(found, None)
    assert (found.verdict, asker.runs) == ("fits", 1)
    assert "mem_get_info" in found.notes[0]


def test_shapes_from_values_are_never_judged():
    first = steps_of(4, 4, 4)
    first.raw["reads"] = [READ | {"shape": True, "what": "nonzero"}]
    asker = Scripted(outcome(first))
    assert asker.answer().verdict == "could not tell"
    assert asker.runs == 1


def test_a_script_that_takes_no_other_batch_is_left_to_itself():
    asker = Scripted(Failed("shapes", 2), outcome(steps_of(4, 4, 4)))
    found = asker.measure()
    assert asker.asked[1]["control"] is False
    assert "left to itself" in found.notes[0]
    with pytest.raises(NoAnswer):
        Scripted(Failed("at once", 0)).measure()


@pytest.mark.parametrize(("low", "high", "fits", "largest", "source", "tried"), [
    (5, 6, 6, 6, "verified", [6]), (5, 6, 5, 5, "verified", [6, 5]), (90, 100, 92, 92, "verified", [100, 95, 92, 93]),
    (90, 100, 94, 93, "verified", [100, 95, 92, 93]), (0, 0, 0, 0, "verified", [1]), (0, 0, 1, 1, "verified", [1]), (1, 1, 0, 0, "verified", [1]),
    (500, 510, 3, 499, "forecast", [510, 505, 502, 501, 500]), (10, 11, 7, 7, "verified", [11, 10, 5, 7, 8])])
def test_the_largest_is_proven_downwards(recorded, low, high, fits, largest, source, tried):
    asker, found, asked = Scripted(), answer(recorded), []

    def try_one(size):
        asked.append(size)
        return size <= fits

    asker._prove(found, low, high, try_one)
    assert (found.largest, found.largest_from) == (largest, source)
    assert asked == tried
    assert any("too high" in note for note in found.notes) == (source == "forecast")


@pytest.mark.parametrize(("room", "fits", "verdict", "runs"), [("20MiB", True, "does not fit", 0), ("37MiB", True, "fits", 1),
                                                               ("37MiB", False, "does not fit", 1), ("400MiB", True, "fits", 0)])
def test_the_verdict_is_proven_where_it_is_close(recorded, room, fits, verdict, runs):
    asker = Scripted(outcome(recorded, fits), room=room)
    found = answer(recorded, "")
    found.largest, found.card = 4, asker.card
    asker._judge(found, None)
    assert (found.verdict, asker.runs) == (verdict, runs)


def test_evaluation_has_a_lever_of_its_own(recorded):
    found = answer(recorded)
    found.card = cards.find("17MiB")
    recorded.facts["evaluation_batch"] = 8
    lever = next(one for one in levers.find(found, None) if one["lever"] == "smaller evaluation batch")
    # 12 MiB are weights and state; 10 MiB are of eight samples.
    assert lever["how"] == "evaluation batch=3 instead of 8"
    assert lever["fits"]


def test_the_page_of_an_answer_needs_nothing_else(recorded, tmp_path, capsys):
    found = answer(recorded)
    found.levers, found.notes = levers.find(found, None), ["a <note>"]
    path, page = tmp_path / "fit.json", tmp_path / "fit.html"
    path.write_text(json.dumps(text.as_data(found, ["python", "a b.py"])))
    assert main(["report", str(path)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("DOES NOT FIT")
    assert "activations" in said
    assert main(["report", str(path), "--html", str(page)]) == 0
    html = page.read_text(encoding="utf-8")
    assert "a &lt;note&gt;" in html
    assert html.count("<svg") == 2
    assert "http" not in html.replace("http-equiv", "")
    assert 'name="viewport"' in html
    assert "@media print" in html
    assert main(["report", str(path), "--html", str(tmp_path / "none" / "x.html")]) == 1
    assert "No such file" in capsys.readouterr().err


@pytest.mark.parametrize(("verdict", "said"), [("fits", "did not change the peak"), ("could not tell", "Choose the sizes on the host")])
def test_values_that_were_read_are_always_shown(recorded, capsys, tmp_path, verdict, said):
    found = answer(recorded, verdict)
    found.reads = [READ]
    path = tmp_path / "fit.json"
    path.write_text(json.dumps(text.as_data(found, ["x"])))
    assert main(["report", str(path)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "t.py:7 main" in out
    assert said in out


def test_drawings_are_of_all_phases(recorded):
    data = text.as_data(answer(recorded), ["x"])
    over_time, apart = (svg for svg, _ in drawing.figures(data))
    assert "evaluation" in over_time
    assert over_time.count("<rect") > len(recorded.steps)
    assert "optimizer state" in apart


class Shaped:
    dtype = "int64"

    def __init__(self, *shape):
        self.shape = shape


def test_shapes_of_batches():
    assert shapes.of({"input_ids": Shaped(4, 128), "labels": Shaped(4)}) == (4, 128)
    assert shapes.of([(Shaped(8, 3, 32, 32), Shaped(8))]) == (8, 1)
    assert shapes.of(["text", 3]) == (0, 0)


def test_lengths_of_examples():
    example = {"input_ids": [1, 2, 3], "labels": [4, 5, 6], "class": 1}
    assert lengths._length(example) == 3
    assert lengths.stretched(example, 5) == {"input_ids": [1, 2, 3, 1, 2], "labels": [4, 5, 6, 4, 5], "class": 1}
    assert lengths.shortened(example, 2) == {"input_ids": [1, 2], "labels": [4, 5], "class": 1}
    assert lengths._length((Shaped(3, 8, 8), 1)) == 0


def test_a_module_is_seen_when_it_is_imported(tmp_path, monkeypatch):
    (tmp_path / "gapless_probe.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    seen = []
    imports.when_imported("gapless_probe", lambda module: seen.append(module.value))
    assert seen == []
    import gapless_probe  # noqa: F401

    assert seen == [1]
    imports.when_imported("gapless_probe", lambda module: seen.append(2))
    assert seen == [1, 2]


class Watching:
    """What a loader asks the observer."""

    def __init__(self, *sizes):
        self.plan, self.facts = {"sizes": list(sizes), "steps": 2}, {"trainer": False, "lengths": None}
        self.steps, self.planned, self.backwards, self.accumulation, self.evaluated_at, self.done = 0, 20, 0, None, None, False

    def evaluating(self):
        return False

    def saw_batch(self, samples, width, evaluation):
        pass

    def trained(self):
        self.steps, self.backwards, self.accumulation = self.steps + 1, self.backwards + 1, 1


def loader(examples=10, size=4, kind=0):
    batches = [list(range(first, min(first + size, examples))) for first in range(0, examples, size)]

    class Loader:
        dataset, batch_size, _dataset_kind = [float(number) for number in range(examples)], size, kind
        batch_sampler, collate_fn = batches, staticmethod(list)

        def __iter__(self):
            return iter(["own", "batches"])

    return Loader


def test_a_pass_before_training_ends_and_takes_no_part_in_the_plan():
    kind, watching = loader(), Watching("own", 2, 3)
    loaders._install(kind, watching)
    assert sum(len(batch) for batch in kind()) == 10
    sizes = []
    for batch in kind():
        watching.trained()
        sizes.append(len(batch))
        if len(sizes) == 8:
            break
    # The data set's end is none for a pass of training.
    assert sizes == [4, 2, 3, 4, 4, 4, 4, 4]


def test_a_batch_larger_than_the_data_set_is_filled():
    kind, watching = loader(), Watching(25, 25)
    loaders._install(kind, watching)
    given = iter(kind())
    assert [len(next(given)), len(next(given))] == [25, 25]


def test_data_that_is_iterated_over_comes_from_its_own_loader():
    kind = loader(kind=1)
    loaders._install(kind, Watching("own", 2))
    assert list(kind()) == ["own", "batches"]


def test_nothing_is_saved_but_copies_are_made(tmp_path):
    def save(thing, file):
        (file.write if hasattr(file, "write") else (tmp_path / file).write_text)(b"new" if hasattr(file, "write") else "new")

    torch = types.SimpleNamespace(save=save, serialization=types.SimpleNamespace(save=save))
    best, buffer = tmp_path / "best.pt", io.BytesIO()
    best.write_text("of a real run")
    writes.install(torch)
    torch.save({}, best)
    torch.serialization.save({}, str(best))
    with open(best, "ab") as file:
        torch.save({}, file)
    assert best.read_text() == "of a real run"
    torch.save({}, buffer)
    assert buffer.getvalue() == b"new"

    class Model:
        def save_pretrained(self, folder):
            raise OSError(folder)

    writes._silence(types.SimpleNamespace(Model=Model), [("Model", "save_pretrained"), ("Other", "save_pretrained")])
    assert Model().save_pretrained("x") is None


def test_the_environment_of_a_run(monkeypatch, tmp_path):
    monkeypatch.setattr(run._libraries, "library_dir", lambda: tmp_path)
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", "max_split_size_mb:128")
    monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", "backend:cudaMallocAsync")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    found = run.environment(tmp_path / "plan", "pytorch")
    assert not [name for name in found if name.endswith("ALLOC_CONF")]
    assert (found["WANDB_MODE"], found["HF_HUB_OFFLINE"]) == ("disabled", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    found = run.environment(tmp_path / "plan", "expandable")
    assert [found[name] for name in found if name.endswith("ALLOC_CONF")] == ["expandable_segments:True"]
    assert found["HF_HUB_OFFLINE"] == "0"


def test_a_card_is_asked_for_with_its_capability(monkeypatch):
    monkeypatch.setattr("gapless.cli._tool", lambda name: name)
    said = run.on_device(cards.find("t4"), "gapless", ["x"])
    assert said[said.index("--capability") + 1] == "7.5"
    assert question.Asker(Settings(("x",)), cards.find("t4")).roomy.capability == (7, 5)
    assert "--capability" not in run.on_device(cards.find("24GiB"), "gapless", ["x"])


def test_what_other_allocators_hold_is_only_known_from_a_run(recorded):
    asker = Scripted(outcome(recorded), room="400MiB")
    found = answer(recorded, "")
    found.largest, found.card, found.allocator = 4, asker.card, "pytorch"
    asker._judge(found, None)
    assert asker.runs == 1


def test_an_answer_that_cannot_be_kept_is_said(recorded, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(command.Asker, "answer", lambda asker, swept: answer(recorded, "fits"))
    assert main(["fit", "--device", "40MiB", "--quiet", "--save", str(tmp_path / "none" / "x.json"), "--", "python", "t.py"]) == 2
    said = capsys.readouterr()
    assert said.out.startswith("FITS")
    assert "--save" in said.err


def test_a_signal_to_end_ends_the_program_too(monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(command.Asker, "answer", lambda asker, swept: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(SystemExit) as ended:
        main(["fit", "--device", "40MiB", "--quiet", "--", "python", "t.py"])
    assert ended.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before


def test_arguments_keep_their_kinds():
    class Arguments:
        def to_dict(self):
            return {"gradient_checkpointing_kwargs": {"use_reentrant": False}, "fsdp": ["full_shard"], "hub_token": "secret", "lr": 1e-4,
                    "kind": MIB.__class__}

    assert trainer._plain(Arguments()) == {"gradient_checkpointing_kwargs": {"use_reentrant": False}, "fsdp": ["full_shard"], "lr": 1e-4,
                                           "kind": "<class 'int'>"}
