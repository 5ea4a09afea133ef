# SPDX-License-Identifier: Apache-2.0
"""gapless fit's answers from recorded runs: phases, peaks, evidence, the largest micro-batch, the verdict. No PyTorch and no device."""

import pytest
from fit_recordings import MIB, READ, Recording, Scripted, answer, outcome, recorded, steps_of  # noqa: F401
from gapless.fit import question, replay, run, sweep
from gapless.fit.run import Failed, NoAnswer


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


@pytest.mark.parametrize(("effective", "largest", "pair"), [(16, 5, (4, 4)), (16, 16, (16, 1)), (7, 3, (1, 7)), (8, 0, None), (12, 100, (12, 1))])
def test_the_effective_batch_stays(effective, largest, pair):
    assert question.pair(effective, largest) == pair


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


def test_a_run_with_other_values_that_was_not_done_has_not_ended_because_of_them():
    for error, said in ((Failed("it failed after 2 training steps\n    IndexError", 2), "it ends when"), (NoAnswer("it was not done after 9 s"), "there is no answer when")):
        first = steps_of(4, 4, 4)
        first.raw["reads"] = [READ]
        found = Scripted(outcome(first), error).measure()
        assert found.verdict == "could not tell"
        assert said in found.why
        assert f"({str(error).splitlines()[0]})" in found.why


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
    assert "longest" in Scripted(Failed("shapes", 2), outcome(steps_of(4, 4))).measure(["t.py"], question.OWN_BATCHES).notes[0]


def test_what_is_set_aside_is_what_gapless_sets_aside():
    # The same figures are held to in recorded_models_test.cpp.
    assert [replay.unusable(room) for room in (128 * MIB, 5120 * MIB)] == [2 * MIB, 16 * MIB]


@pytest.mark.parametrize(("low", "high", "fits", "largest", "source", "tried"), [
    (5, 6, 6, 6, "verified", [6]), (5, 6, 5, 5, "verified", [6, 5]), (90, 100, 92, 92, "verified", [100, 95, 92, 93]),
    (90, 100, 94, 93, "verified", [100, 95, 92, 93]), (0, 0, 0, 0, "verified", [1]), (0, 0, 1, 1, "verified", [1]), (1, 1, 0, 0, "verified", [1]),
    (500, 510, 3, 498, "forecast", [510, 505, 502, 501, 500, 499]), (10, 11, 7, 7, "verified", [11, 10, 9, 4, 6, 7]), (6, 6, 5, 5, "verified", [6, 5]),
    (64, 64, 40, 39, "verified", [64, 63, 31, 47, 39, 43])])
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


def test_what_other_allocators_hold_is_only_known_from_a_run(recorded):
    # The recorded run took 100 MiB of the device.
    for room, runs in (("150MiB", 1), ("170MiB", 0)):
        asker = Scripted(outcome(recorded), room=room)
        found = answer(recorded, "")
        found.largest, found.card, found.allocator = 4, asker.card, "pytorch"
        asker._judge(found, None)
        assert (found.verdict, asker.runs) == ("fits", runs)


def test_a_sweep_is_judged_by_the_size_that_the_command_has():
    swept = sweep.find(("python", "t.py", "--batch-size", "1"))
    assert swept.values == (1, 2, 3)
    asker = Scripted(outcome(steps_of(3, 3)), outcome(steps_of(1, 1)), outcome(steps_of(2, 2)))
    asker.forecast = lambda found, steps: {"most": [1, 1]}
    asker._prove = lambda found, low, high, fits: None
    found = asker.measure(swept.command(3), question.OWN_BATCHES)
    asker._sweep(found, swept)
    assert [one["value"] for one in found.sweep] == [1, 2, 3]
    assert found.own == 1
    assert found.peak.bytes == question._needed(steps_of(1, 1)).bytes
    assert found.measured.run.steps[0].samples == 1


def test_what_was_held_is_that_of_steps_before_the_first_probe(recorded):
    assert question.own_reserved(recorded) is None
    for number, (_, _, facts) in enumerate(mark for mark in recorded.marks if mark[1] == "step"):
        facts["reserved"] = (50 + 10 * number) * MIB
    # The fifth step is one of eight samples.
    assert question.own_reserved(recorded) == 80 * MIB


def test_our_frames_are_left_out_of_a_failure():
    said = run._without_ours(["Traceback (most recent call last):", '  File "t.py", line 5, in <module>', "    model(x)", "    ^^^^^^^^",
                              '  File "/x/gapless/fit/inside/observer.py", line 133, in call', "    return run(module, *args, **kwargs)", "           ^^^",
                              '  File "torch/nn.py", line 1, in f', "    return g()", "RuntimeError: shapes"])
    assert said == ["Traceback (most recent call last):", '  File "t.py", line 5, in <module>', "    model(x)", "    ^^^^^^^^",
                    '  File "torch/nn.py", line 1, in f', "    return g()", "RuntimeError: shapes"]


@pytest.mark.parametrize(("most", "examples", "bounded", "said"), [
    ([10, 11], None, (10, 11), None), ([9000, 9001], None, (1024, 1024), "64 times what was seen"), ([1000, 1030], 5000, (1000, 1024), "64 times"),
    ([500, 600], 256, (256, 256), "all examples"), ([200, 300], 256, (200, 256), "all examples"), ([9, 9], 2, (4, 4), "ends at 4")])
def test_the_search_ends_where_batches_end(recorded, most, examples, bounded, said):
    found = answer(recorded)
    assert question._bounded(found, most, 16, examples) == bounded
    assert [said in note for note in found.notes] == ([] if said is None else [True])
