# SPDX-License-Identifier: Apache-2.0
"""gapless fit on the simulated device: a few short runs. The comparison of ten scripts is test_ten_scripts.py."""

import json
import os
import pathlib
import subprocess
import sys

import pytest
from gapless.cli import main
from gapless.fit import question, run
from scripted import MIB, SCRIPTS, command, settings, size

FULL = os.environ.get("GAPLESS_TEST_FULL") == "1"


def test_a_script_with_a_loader():
    found = question.Asker(settings("unet"), size(700 * MIB)).answer()
    assert found.own == 4
    assert found.evaluation is None
    assert found.largest_from == "verified"
    assert found.verdict == "fits"
    assert 4 <= found.largest < 40
    assert sum(found.peak.parts.values()) == found.peak.bytes
    weights = found.measured.run.raw["models"]["trained_bytes"]
    assert weights <= found.peak.parts["weights"] < weights * 1.1 + MIB
    assert found.peak.parts["optimizer"] >= 2 * weights
    assert found.peak.parts["activations"] > found.peak.bytes // 3


def test_a_trainer_with_an_evaluation():
    found = question.Asker(settings("bert_evaluation"), run.ROOMY).measure()
    assert found.verdict == ""
    assert found.measured.run.facts["trainer"]
    assert found.lengths["most"] == 320
    # The longest example stands late in the data set; the batch that has it is the widest.
    assert max(step.width for step in found.measured.run.steps) == 320
    assert found.longest.bytes >= found.peak.bytes or found.peak.phase == "evaluation"
    assert found.evaluation.parts["optimizer"] > 0
    assert found.evaluation.parts["gradients"] == 0
    steps = question.evidence(found.measured.run)
    assert [step.samples for step in steps] == [12, 16]
    assert [step.samples for step in question.evidence(found.measured.run, 3)] == [2, 4]
    told = run.ask({"steps": [found.measured.run.to_replay(step) for step in steps], "peaks": [12, 16], "rooms": [[1 << 34, True]]},
                   settings("bert_evaluation"))
    assert told["peaks"]["16"] == pytest.approx(steps[1].peak, rel=0.001)
    assert told["most"][0] > 16


LIGHTNING = """
import sys
import torch
from gapless.fit.inside import writes
writes.install(torch)
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies import SingleDeviceStrategy
best = sys.argv[1]
SingleDeviceStrategy().save_checkpoint({}, best)
SingleDeviceStrategy().remove_checkpoint(best)
TorchCheckpointIO().save_checkpoint({}, best)
ModelCheckpoint._link_checkpoint(None, best + "x", best)
"""


def test_lightning_neither_writes_nor_removes_a_checkpoint(tmp_path):
    best = tmp_path / "best.ckpt"
    best.write_text("of a real run")
    subprocess.run([sys.executable, "-c", LIGHTNING, str(best)], check=True, timeout=600)
    assert best.read_text() == "of a real run"


def test_a_loss_module_and_a_pass_before_training(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "best.pt").write_text("of a real run")
    found = question.Asker(settings("loss_module"), run.ROOMY).measure()
    seen = found.measured.run
    assert found.verdict == ""
    assert found.own == 4
    assert {2, 4, 8, 12, 16} <= {step.samples for step in seen.steps}
    assert found.peak.bytes == max(step.peak for step in seen.steps if step.samples == 4)
    # The logits and their loss: what the loss takes is part of the evaluation.
    assert found.evaluation.parts["workspaces"] >= 2 * 4 * 64 * 8000 * 4
    assert (tmp_path / "best.pt").read_text() == "of a real run"


def test_the_doctor_looks_at_what_runs(capsys, monkeypatch):
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", "expandable_segments:True,roundup_power2_divisions:16")
    assert main(["doctor", "--torch", "2.11", "--json", "--", *command("bert_evaluation")]) == 1
    found = json.loads(capsys.readouterr().out)["doctor"]
    assert {one["rule"] for result in found for one in result["findings"]} == {
        "arguments-eval-batch", "arguments-eval-predictions", "alloc-roundup-expandable"}


@pytest.mark.parametrize(("program", "said"), [("raise SystemExit('my own words')", "my own words"), ("pass", "without using CUDA")])
def test_a_script_that_does_not_get_there(program, said, capsys):
    assert main(["fit", "--device", "24GiB", "--quiet", "--", sys.executable, "-c", program]) == 2
    assert said in capsys.readouterr().err


def test_shapes_that_depend_on_the_device_are_named():
    found = question.Asker(settings("masked"), size(700 * MIB)).answer()
    assert found.verdict == "could not tell"
    line = (SCRIPTS / "masked.py").read_text(encoding="utf-8").splitlines().index("    kept = ids[ids > 0]") + 1
    assert any(one["file"].endswith("masked.py") and one["line"] == line for one in found.reads)


@pytest.mark.skipif(not FULL, reason="GAPLESS_TEST_FULL=1")
def test_full_a_width_that_is_read_from_the_device_is_named():
    found = question.Asker(settings("clamped"), size(700 * MIB)).measure()
    assert found.verdict == "could not tell"
    assert [pathlib.Path(one["file"]).name for one in found.reads] == ["clamped.py"]


def test_sizes_that_are_read_from_the_device_are_named():
    found = question.Asker(settings("counted"), size(700 * MIB)).answer()
    assert found.verdict == "could not tell"
    assert "values" in found.why
    line = next(number for number, text in enumerate((SCRIPTS / "counted.py").read_text(encoding="utf-8").splitlines(), 1) if ".item()" in text)
    assert [(pathlib.Path(one["file"]).name, one["line"]) for one in found.reads] == [("counted.py", line)]


@pytest.mark.skipif(not FULL, reason="GAPLESS_TEST_FULL=1")
@pytest.mark.parametrize("allocator", ["pytorch", "expandable"])
def test_full_longer_examples_than_the_data_has_on_another_allocator(allocator):
    found = question.Asker(settings("variable", max_len=700, allocator=allocator), size(1 << 31)).answer()
    assert found.lengths["most"] == 480
    assert max(step.width for step in found.measured.run.steps) == 700
    assert found.longest.bytes == found.peak.bytes
    assert question.own_reserved(found.measured.run) >= found.peak.bytes
    assert found.verdict == "fits"
    assert found.largest_from == "verified"


@pytest.mark.skipif(not FULL, reason="GAPLESS_TEST_FULL=1")
def test_full_a_size_of_the_command(capsys):
    script = [sys.executable, str(SCRIPTS / "gpt2_loop.py"), "--batch-size", "{batch}"]
    assert main(["fit", "--device", "700MiB", "--sweep", "batch=2,4,8", "--levers", "never", "--json", "--", *script]) == 1
    fit = json.loads(capsys.readouterr().out)["fit"]
    assert [(one["value"], one["fits"]) for one in fit["sweep"]] == [(2, True), (4, True), (8, False)]
    assert (fit["micro_batch"]["own"], fit["micro_batch"]["largest"], fit["micro_batch"]["from"]) == (8, 4, "verified")
    assert fit["verdict"] == "does not fit"
