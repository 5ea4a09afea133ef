# SPDX-License-Identifier: Apache-2.0
"""Trainers become elastic in programs that are not changed: `gapless run --elastic`, GAPLESS_ELASTIC=1. On the CPU; memory runs out
where the model says so."""

import importlib
import importlib.util
import os
import pathlib
import subprocess
import sys

import gapless
import pytest
import torch
from gapless import _additive, _automatic
from gapless.fit.inside import imports
from transformers import Trainer, TrainingArguments

HERE = pathlib.Path(__file__).parent
PROGRAM = HERE / "automatic_program.py"


def run(*command, elastic=True, **environment):
    words = [sys.executable, "-m", "gapless", "run", *(["--elastic"] if elastic else []), "--no-gapless", "--", *command]
    return subprocess.run([str(word) for word in words], env={**os.environ, **environment}, capture_output=True, text=True, timeout=300,
                          check=False)


def result(done):
    return [line for line in done.stdout.splitlines() if line.startswith("RESULT")]


def told(done):
    return [line for line in done.stderr.splitlines() if line.startswith("gapless:")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The result where all batches fit."""
    done = run(sys.executable, PROGRAM, tmp_path_factory.mktemp("whole"), elastic=False)
    assert result(done) and not told(done), done.stderr
    return result(done)


def test_without_the_flag_the_program_dies(tmp_path):
    done = run(sys.executable, PROGRAM, tmp_path, elastic=False, ROOM="3")
    assert done.returncode == 1 and "OutOfMemoryError" in done.stderr


def test_a_program_that_says_nothing(whole, tmp_path):
    done = run(sys.executable, PROGRAM, tmp_path, ROOM="3")
    assert result(done) == whole, done.stderr
    assert len([line for line in told(done) if "evaluation ran out" not in line]) == 1
    assert "Trainer: a batch that does not fit is done in smaller pieces; batch size, schedule and step count stay" in done.stderr


def test_trainers_imported_before_install(whole, tmp_path):
    done = run(sys.executable, PROGRAM, tmp_path, "late", elastic=False, GAPLESS_ELASTIC="1", GAPLESS_OBSERVER="", ROOM="3")
    assert result(done) == whole, done.stderr


def test_absent_libraries_and_the_site_s_own_start(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("print('the site begins')\n")
    source = ("import os, sys\nsys.modules['transformers'] = sys.modules['accelerate'] = sys.modules['lightning'] = None\n"
              "for name in ('transformers.trainer', 'accelerate.utils.memory', 'lightning.pytorch.trainer.trainer'):\n"
              "    try:\n        __import__(name)\n    except ImportError:\n        print('absent')\n"
              "print(os.environ['GAPLESS_ELASTIC'], 'torch' in sys.modules)\n")
    done = run(sys.executable, "-c", source, PYTHONPATH=f"{tmp_path}:{os.environ['PYTHONPATH']}")
    # gapless's own Python begins with it too.
    assert done.stdout.splitlines() == ["the site begins"] * 2 + ["absent"] * 3 + ["1 False"], done.stderr
    assert not done.stderr and done.returncode == 0
    nested = run(sys.executable, "-m", "gapless", "run", "--elastic", "--no-gapless", "--", sys.executable, "-c",
                 "import os; print(os.environ['PYTHONPATH'].split(':').count(os.environ['PYTHONPATH'].split(':')[0]))")
    assert nested.stdout.split() == ["1"], nested.stderr


def test_gapless_fit_goes_first():
    done = run(sys.executable, "-c", "import os; print(os.environ['GAPLESS_OBSERVER'])", GAPLESS_OBSERVER="json")
    assert done.stdout.split() == ["json"]


def test_who_only_asks_for_a_module_does_not_import_it(tmp_path, monkeypatch):
    (tmp_path / "asked_for.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    seen = []
    imports.when_imported("asked_for", seen.append)
    assert importlib.util.find_spec("asked_for") is not None and not seen
    module = importlib.import_module("asked_for")
    assert seen == [module]
    importlib.reload(module)
    assert seen == [module]


# ---- in this process, where the trainers are imported already


@pytest.fixture(scope="module", autouse=True)
def begun():
    _automatic.begin()
    _automatic.begin()


def out_of_memory():
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")


class Model(torch.nn.Module):
    def __init__(self, room=0, kind="mean"):
        super().__init__()
        torch.manual_seed(3)
        self.line = torch.nn.Linear(4, 1).double()
        self.room, self.kind, self.sizes = room, kind, []

    def forward(self, x, labels=None, return_loss=True):
        self.sizes.append(len(x))
        if self.room and len(x) > self.room:
            raise out_of_memory()
        y = self.line(x)[:, 0]
        if self.kind == "contrast":  # of samples with each other
            return {"loss": torch.nn.functional.cross_entropy(-(y[:, None] - y[None, :].detach()) ** 2, torch.arange(len(y))), "y": y}
        loss = (y - labels) ** 2
        return {"loss": loss.sum() if self.kind == "sum" else loss.mean(), "y": y}


def rows(samples=16, labels=True):
    generator = torch.Generator().manual_seed(1)
    x, y = torch.rand(samples, 4, dtype=torch.float64, generator=generator), torch.rand(samples, dtype=torch.float64, generator=generator)
    return [{"x": x[i], **({"labels": y[i]} if labels else {})} for i in range(samples)]


def make(tmp_path, model, kind=Trainer, samples=16, labels=True, **said):
    arguments = TrainingArguments(output_dir=str(tmp_path), report_to=[], use_cpu=True, per_device_train_batch_size=8, num_train_epochs=1,
                                  save_strategy="no", disable_tqdm=True, logging_steps=1000, **said)
    return kind(model, arguments, train_dataset=rows(samples, labels), eval_dataset=rows(samples, labels))


@pytest.fixture(autouse=True)
def fresh():
    _automatic._said.clear()


class Announces(Trainer):
    """A subclass of the usual kind: it adds to what the Trainer does."""

    def compute_loss(self, model, inputs, *args, **kwargs):
        self.seen = getattr(self, "seen", 0) + 1
        return super().compute_loss(model, inputs, *args, **kwargs)


def test_a_subclass_says_how_its_loss_is_made(tmp_path, capsys):
    expected = make(tmp_path, Model(), Announces)
    expected.train()
    trainer = make(tmp_path, Model(room=3), Announces)
    trainer.loss_is_scaled_for_ga = False
    trainer.train()
    torch.testing.assert_close(trainer.model.line.weight, expected.model.line.weight, rtol=1e-10, atol=1e-12)
    assert trainer.state.global_step == expected.state.global_step == 2
    assert trainer.gapless.failures == 2  # without a device nothing is forecast: 8, 4, then 2
    assert capsys.readouterr().err.count("Announces: a batch that does not fit") == 1


def test_a_subclass_that_does_not_say(tmp_path):
    with pytest.raises(torch.OutOfMemoryError) as caught:
        make(tmp_path, Model(room=3), Announces).train()
    assert "loss_is_scaled_for_ga" in caught.value.__notes__[0]


class OwnStep(Trainer):
    def training_step(self, model, inputs, num_items_in_batch=None):
        return super().training_step(model, inputs, num_items_in_batch)

    def prediction_step(self, *args, **kwargs):
        return super().prediction_step(*args, **kwargs)


def test_a_training_step_of_its_own_stays(tmp_path, capsys):
    with pytest.raises(torch.OutOfMemoryError):
        make(tmp_path, Model(room=3), OwnStep).train()
    assert "OwnStep stays as it is: it has a training_step of its own" in capsys.readouterr().err


def test_a_loss_that_compares_samples_stays_whole(tmp_path):
    trainer = make(tmp_path, Model(room=3, kind="contrast"), labels=False)
    with pytest.raises(torch.OutOfMemoryError) as caught:
        trainer.train()
    assert "does it compare them" in caught.value.__notes__[0]
    trainer = make(tmp_path, Model(room=3, kind="contrast"), labels=False)
    with pytest.raises(torch.OutOfMemoryError):
        trainer.evaluate()
    # A sum is no mean of its samples either.
    with pytest.raises(torch.OutOfMemoryError) as caught:
        make(tmp_path, Model(room=3, kind="sum")).train()
    assert "does it compare them, or weigh them" in caught.value.__notes__[0]


class Classifier(torch.nn.Module):
    """Its loss weighs samples by their class."""

    def __init__(self, room=0, heavy=1.0):
        super().__init__()
        torch.manual_seed(3)
        self.line, self.room, self.sizes = torch.nn.Linear(4, 3).double(), room, []
        self.heavy = heavy

    def forward(self, x, labels=None):
        self.sizes.append(len(x))
        if self.room and len(x) > self.room:
            raise out_of_memory()
        y = self.line(x)
        return {"loss": torch.nn.functional.cross_entropy(y, labels, torch.tensor([1.0, 1.0, self.heavy]).double()), "y": y}


def classified(samples=16):
    """Its first samples are all of one class."""
    return [one | {"labels": torch.tensor(0 if i < 6 else i % 3)} for i, one in enumerate(rows(samples))]


def of_classes(tmp_path, model):
    trainer = make(tmp_path, model)
    trainer.train_dataset = trainer.eval_dataset = classified()
    trainer.get_train_dataloader = lambda: torch.utils.data.DataLoader(classified(), batch_size=8)
    return trainer


@pytest.mark.parametrize("heavy", [1.0, 2.0, 0.5])
def test_classes_that_count_alike_and_not(heavy, tmp_path, capsys):
    expected, model = Classifier(heavy=heavy), Classifier(room=3, heavy=heavy)
    whole = of_classes(tmp_path, expected)
    whole.train()
    trainer = of_classes(tmp_path, model)
    if heavy == 1.0:
        trainer.train()
        torch.testing.assert_close(model.line.weight, expected.line.weight, rtol=1e-10, atol=1e-12)
        assert trainer.evaluate()["eval_loss"] == pytest.approx(whole.evaluate()["eval_loss"], rel=1e-6)
        return
    with pytest.raises(torch.OutOfMemoryError) as caught:
        trainer.train()
    assert "does it weigh them by their class" in caught.value.__notes__[0]
    with pytest.raises(torch.OutOfMemoryError):
        trainer.evaluate()
    assert "an evaluation batch stays whole: its loss is not the mean" in capsys.readouterr().err


def test_what_was_measured_of_one_model_is_not_believed_of_the_next(tmp_path):
    trainer = make(tmp_path, Model(room=3))
    trainer.train()
    trainer.model = trainer.model_wrapped = Model(room=3, kind="sum")
    trainer.optimizer = trainer.lr_scheduler = None
    with pytest.raises(torch.OutOfMemoryError) as caught:
        trainer.train()
    assert "does it compare them, or weigh them" in caught.value.__notes__[0]


def test_another_observer_and_a_word_against_it():
    assert _automatic.wanted({"GAPLESS_ELASTIC": "1"}) and _automatic.wanted({"GAPLESS_ELASTIC": "1", "GAPLESS_OBSERVER": _automatic.ENTRY})
    assert not _automatic.wanted({"GAPLESS_ELASTIC": "1", "GAPLESS_OBSERVER": "gapless.fit.inside"})
    assert not _automatic.wanted({"GAPLESS_ELASTIC": "off"})


def test_optimizers_that_move_parameters_in_the_backward_pass(tmp_path, capsys):
    trainer = make(tmp_path, Model(room=3))
    trainer.args.optim = "galore_adamw_layerwise"
    _automatic._attach_transformers(Trainer, trainer)
    assert "stays as it is: its optimizer moves the parameters inside the backward pass" in capsys.readouterr().err
    # And where it is asked for by name.
    gapless.elastic_trainer(trainer)
    trainer.current_gradient_accumulation_steps = 1
    with pytest.raises(torch.OutOfMemoryError):
        trainer.training_step(trainer.model, {"x": torch.rand(8, 4).double(), "labels": torch.rand(8).double()})
    assert "batches stay whole" in capsys.readouterr().err


def test_each_trial_of_a_search_has_its_own_model(tmp_path):
    trainer = make(tmp_path, Model(room=3))
    trainer.train()
    first = trainer.gapless.failures
    trainer.model = trainer.model_wrapped = Model(room=3)
    trainer.optimizer = trainer.lr_scheduler = None
    trainer.train()
    assert trainer.gapless._redone.model is trainer.model_wrapped
    assert trainer.gapless.failures == 2 * first


def test_one_that_is_elastic_already(tmp_path, capsys):
    trainer = gapless.elastic_trainer(make(tmp_path, Model(room=3)))
    adapter = trainer.gapless
    trainer.train()
    assert trainer.gapless is adapter and "gapless: transformers'" not in capsys.readouterr().err


def test_accelerate_s_decorator(capsys):
    import accelerate
    import accelerate.utils

    for where in (accelerate, accelerate.utils, accelerate.utils.memory):
        tried = []

        @where.find_executable_batch_size(starting_batch_size=10)
        def train(batch_size, model, tried=tried):
            tried.append(batch_size)
            torch.optim.SGD(model.parameters(), lr=0.1)  # an optimizer there is, and yet nothing is measured
            if batch_size > 8:
                raise out_of_memory()
            return batch_size

        assert train(torch.nn.Linear(1, 1)) == 8
        assert tried == [10, 9, 8], "as accelerate does, where gapless is not the allocator"
    assert "find_executable_batch_size: 10 ran out of memory; 9 next" in capsys.readouterr().err


def test_what_a_mean_is_over_is_told_from_what_differs():
    assert _additive.window([3, 3, 3, 0, 3, 1]) == (4, 6)
    assert _additive.window([2] * 9) == (0, 4)
    assert _additive.window([0, 5, 0]) == (0, 0)
    alone, tokens = [1.0, 1.1, 1.2], [1, 2, 4]
    mean = sum(loss * weight for loss, weight in zip(alone, tokens, strict=True)) / 7
    assert _additive.fitting(mean, alone, [[1, 1, 1], tokens]) == [1]
    assert _additive.fitting(1.1, alone, [[1, 1, 1], tokens]) == [0]
    assert _additive.fitting(1.1, alone, [[1, 1, 1], [2, 2, 2]]) == [0, 1], "the same"
    assert _additive.fitting(1.2, alone, [[1, 1, 1]]) == []
    # Rounded so that both fit: neither is taken.
    assert _additive.fitting((mean + 1.1) / 2, [1.0, 1.005, 1.01], [[1, 1, 1], tokens]) in ([], None)
    assert _additive.fitting(1.0053, [1.0, 1.005, 1.01], [[1, 1, 1], [1, 1, 2]]) is None
    assert _additive.fitting(float("nan"), alone, [[1, 1, 1]]) is None
    assert _additive.is_sum(3.3, alone) and not _additive.is_sum(1.1, alone)


lightning = pytest.importorskip("lightning.pytorch")


class Module(lightning.LightningModule):
    def __init__(self, room=0, kind="mean"):
        super().__init__()
        self.body = Model(room, kind)

    def training_step(self, batch, batch_idx):
        loss = self.body(batch["x"], batch.get("labels"))["loss"]
        self.log("loss", loss, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("valid", self.body(batch["x"], batch.get("labels"))["loss"])

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=0.05)


def fit(tmp_path, module, name="lightning.pytorch"):
    kind = __import__(name, fromlist=["Trainer"]).Trainer
    trainer = kind(accelerator="cpu", devices=1, max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
                   enable_model_summary=False, default_root_dir=tmp_path)
    loader = torch.utils.data.DataLoader(rows(20), batch_size=8)
    trainer.fit(module, loader, loader)
    return trainer


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["mean", "sum"])
def test_lightning(kind, tmp_path, capsys):
    expected, found = Module(kind=kind), Module(room=3, kind=kind)
    plain, trainer = fit(tmp_path, expected), fit(tmp_path, found)
    torch.testing.assert_close(found.body.line.weight, expected.body.line.weight, rtol=1e-10, atol=1e-12)
    assert trainer.global_step == plain.global_step == 3
    if kind == "mean":
        assert float(trainer.callback_metrics["loss_epoch"]) == pytest.approx(float(plain.callback_metrics["loss_epoch"]), rel=1e-9)
    assert capsys.readouterr().err.count("Lightning's Trainer: a batch that does not fit") == 1


@pytest.mark.filterwarnings("ignore")
def test_lightning_s_losses_that_compare_samples_stay_whole(tmp_path):
    with pytest.raises(torch.OutOfMemoryError) as caught:
        fit(tmp_path, Module(room=3, kind="contrast"))
    assert "neither the mean nor the sum" in caught.value.__notes__[0]


class Tokens(Module):
    """The mean over labels that count, of which samples have unequally many."""

    def training_step(self, batch, batch_idx):
        self.body.sizes.append(len(batch["x"]))
        if self.body.room and len(batch["x"]) > self.body.room:
            raise out_of_memory()
        errors = (self.body.line(batch["x"]) - batch["labels"].double()) ** 2
        return errors[batch["labels"] != -100].mean()


@pytest.mark.filterwarnings("ignore")
def test_lightning_what_a_mean_is_over_is_measured(tmp_path):
    def data():
        generator = torch.Generator().manual_seed(2)
        labels = torch.randint(0, 3, (16, 6), generator=generator)
        for row in range(16):
            labels[row, 1 + row % 5:] = -100
        return [{"x": one, "labels": label} for one, label in zip(torch.rand(16, 4, generator=generator).double(), labels, strict=True)]

    weights = []
    for room in (0, 3):
        module = Tokens(room=room)
        trainer = lightning.Trainer(accelerator="cpu", devices=1, max_epochs=2, logger=False, enable_checkpointing=False,
                                    enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path)
        trainer.fit(module, torch.utils.data.DataLoader(data(), batch_size=8))
        weights.append(module.body.line.weight.detach().clone())
    torch.testing.assert_close(weights[1], weights[0], rtol=1e-10, atol=1e-12)


class Classified(Module):
    def __init__(self, room=0, heavy=1.0):
        super().__init__()
        self.body = Classifier(room, heavy)

    def training_step(self, batch, batch_idx):
        return self.body(batch["x"], batch["labels"])["loss"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("heavy", [1.0, 2.0])
def test_lightning_s_classes(heavy, tmp_path):
    def fitted(room):
        module = Classified(room, heavy)
        trainer = lightning.Trainer(accelerator="cpu", devices=1, max_epochs=1, logger=False, enable_checkpointing=False,
                                    enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path)
        trainer.fit(module, torch.utils.data.DataLoader(classified(), batch_size=8))
        return module

    expected = fitted(0)
    if heavy == 1.0:
        torch.testing.assert_close(fitted(3).body.line.weight, expected.body.line.weight, rtol=1e-10, atol=1e-12)
        return
    with pytest.raises(torch.OutOfMemoryError) as caught:
        fitted(3)
    assert "does it weigh them by their class" in caught.value.__notes__[0]


class ByHand(Module):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self.manual_backward(loss)


@pytest.mark.filterwarnings("ignore")
def test_lightning_by_hand(tmp_path, capsys):
    fit(tmp_path, ByHand())
    assert "the module optimizes by hand" in capsys.readouterr().err
