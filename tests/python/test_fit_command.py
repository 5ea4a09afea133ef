# SPDX-License-Identifier: Apache-2.0
"""gapless fit's arguments, cards, sizes in the command, and the environment of a run."""

import signal

import pytest
from fit_recordings import answer, recorded  # noqa: F401
from gapless.cli import main
from gapless.fit import cards, command, question, run, sweep
from gapless.fit.run import Settings


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


def test_a_script_without_its_python_is_answered_with_it():
    assert "python train.py --lr 1" in run._why(Settings(("train.py", "--lr", "1")), 127, None, "")
