# SPDX-License-Identifier: Apache-2.0
"""gapless fit against what ten scripts really do on the simulated device, at five capacities each; with GAPLESS_TEST_FULL=1 only.

The verdict is that of a full run without the observer; at two of the capacities the largest micro-batch is exact or one below and never
above; the peak forecast at eight times the batch is within 1.5 %. GAPLESS_FIT_RECORD=FILE keeps what was found, a line of JSON each.
"""

import copy
import functools
import json
import os
import subprocess

import pytest
import scripted
from gapless.fit import question, run
from scripted import command, settings, size

TEN = ("gpt2_loop", "llama_lora", "llama_checkpoint", "bert_evaluation", "t5", "vit", "unet", "moe", "dpo", "variable")
pytestmark = pytest.mark.skipif(os.environ.get("GAPLESS_TEST_FULL") != "1", reason="GAPLESS_TEST_FULL=1")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with scripted.served(tmp_path_factory.mktemp("server")):
        yield


def really_fits(name, card, batch=None, tmp="."):
    """A whole run, as a user would do it. Any failure but an OOM is one of the test."""
    environ = dict(os.environ) | {"FIT_BATCH": str(batch or 4)}
    done = subprocess.run(run.on_device(card, "gapless", list(command(name, batch))), env=environ, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, check=False, cwd=tmp)
    assert done.returncode == 0 or "OutOfMemoryError" in done.stderr, done.stderr[-2000:]
    return done.returncode == 0


@functools.cache
def measured(name):
    return question.Asker(settings(name), run.ROOMY).measure()


def ask(name, card, largest):
    """The rest of a question whose measuring run is there already; `largest`: with the largest micro-batch."""
    asker = question.Asker(settings(name), card)
    found = copy.copy(measured(name))
    found.card, found.forecast, found.notes = card, {}, []
    swept = None if found.measured.run.facts["loader"] else question.sweeps.find(asker.settings.command)
    if largest and swept is not None:
        asker._sweep(found, swept)
    elif largest:
        asker._largest(found)
    asker._judge(found, swept)
    return found


def record(**facts):
    if path := os.environ.get("GAPLESS_FIT_RECORD"):
        with open(path, "a", encoding="utf-8") as out:
            out.write(json.dumps(facts) + "\n")


@pytest.mark.parametrize("name", TEN)
def test_ten_scripts_at_five_capacities(name, tmp_path, server):
    first = measured(name)
    assert first.verdict == ""
    needed = max(first.peak.bytes, first.longest.bytes if first.longest else 0)
    for share, largest in ((1.5, True), (0.97, True), (1.03, False), (0.7, False), (3.0, False)):
        card = size(int(needed * share))
        found = ask(name, card, largest)
        facts = {"script": name, "share": share, "capacity": card.capacity, "verdict": found.verdict,
                 "really_fits": really_fits(name, card, tmp=tmp_path)}
        if largest:
            facts |= {"largest": found.largest, "from": found.largest_from, "one_above_fits": really_fits(name, card, found.largest + 1, tmp_path)}
            if facts["one_above_fits"]:
                facts["two_above_fit"] = really_fits(name, card, found.largest + 2, tmp_path)
        record(**facts)
        assert found.verdict == ("fits" if facts["really_fits"] else "does not fit"), (share, found.why)
        if largest:
            # Verified: a run of it ended well on this device.
            assert found.largest_from == "verified"
            assert not facts.get("two_above_fit")


@pytest.mark.parametrize("name", TEN)
def test_the_forecast_at_eight_times_the_batch(name, server):
    asker = question.Asker(settings(name), run.ROOMY)
    first = measured(name).measured.run
    if name == "gpt2_loop":
        swept = question.sweeps.find(asker.settings.command)
        seen = {value: asker.run(run.ROOMY, {"sizes": []}, "", swept.command(value)).run for value in (2, 32)} | {4: first}
        steps = {value: question._steady(one) for value, one in seen.items()}
        told = run.ask({"steps": [seen[value].to_replay(steps[value]) | {"units": value} for value in (2, 4)], "peaks": [32], "rooms": []},
                       asker.settings)
        forecast, real, at = told["peaks"]["32"], steps[32].peak, 32
    else:
        steps = question.evidence(first)
        at = batch = 8 * int(first.facts["batch"])
        told = run.ask({"steps": [first.to_replay(step) for step in steps], "peaks": [at], "rooms": []}, asker.settings)
        plan = {"sizes": [batch] * 3, "steps": 3, "batch": batch, "patience": 0}
        seen = asker.run(run.ROOMY, plan, "").run
        forecast, real = told["peaks"][str(at)], max(step.peak for step in seen.steps if question._usable(step) and step.samples == at)
    record(script=name, units=at, forecast=forecast, real=real, error=forecast / real - 1)
    assert forecast == pytest.approx(real, rel=0.015)
