# SPDX-License-Identifier: Apache-2.0
"""What an elastic step repeats, weighs and puts back, on the CPU: failures are raised by the model. No device is needed."""

import gc
import weakref

import gapless
import pytest
import torch
from gapless import _device, _evaluation, _rewind
from transformers import Trainer, TrainingArguments


def out_of_memory():
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")


class Model(torch.nn.Module):
    """The mean of squares over labels that are not -100. Fails in the calls whose numbers are given."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.line = torch.nn.Linear(4, 1).double()
        self.sizes, self.failing = [], set()

    def forward(self, x, labels):
        if torch.is_grad_enabled():  # what is only measured is no attempt
            self.sizes.append(len(x))
            if len(self.sizes) in self.failing:
                raise out_of_memory()
        labels = torch.as_tensor(labels, dtype=torch.float64)
        return {"loss": ((self.line(x)[:, 0] - labels.reshape(len(x), -1)[:, -1]) ** 2)[labels.reshape(len(x), -1)[:, -1] != -100].mean()}


def batch_of(samples=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {"x": torch.rand(samples, 4, dtype=torch.float64, generator=generator),
            "labels": torch.rand(samples, dtype=torch.float64, generator=generator)}


class Mean(Trainer):
    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        return model(**inputs)["loss"]


@pytest.fixture
def make(tmp_path):
    def made(kind=Trainer, **said):
        arguments = TrainingArguments(output_dir=str(tmp_path), report_to=[], use_cpu=True)
        trainer = gapless.elastic_trainer(kind(Model(), arguments), **said)
        trainer.current_gradient_accumulation_steps = 1
        return trainer

    return made


def gradient(model):
    return model.line.weight.grad.clone()


def undivided(*batches):
    model = Model()
    for batch in batches:
        model(**batch)["loss"].backward()
    return gradient(model)


def test_a_step_that_the_scaler_left_out_is_not_repeated(make):
    trainer = make()
    trainer.training_step(trainer.model, batch_of(seed=1))
    trainer.model.zero_grad()
    trainer.state.global_step += 1  # as the Trainer does, whether the optimizer moved or not
    trainer.model.failing = {2}
    trainer.training_step(trainer.model, batch_of(seed=2))
    assert trainer.model.sizes == [8, 8, 4, 4]
    torch.testing.assert_close(gradient(trainer.model), undivided(batch_of(seed=2)))
    # Within the step the batches before are done again.
    trainer.model.failing = {5}
    trainer.training_step(trainer.model, batch_of(seed=3))
    torch.testing.assert_close(gradient(trainer.model), undivided(batch_of(seed=2), batch_of(seed=3)))


def test_a_mean_of_the_trainer_s_own_is_weighted_when_it_says_so(make):
    trainer = make(Mean)
    trainer.loss_is_scaled_for_ga = False
    trainer.model_accepts_loss_kwargs = True
    trainer.model.failing = {1}
    trainer.training_step(trainer.model, batch_of(), torch.tensor(8))
    assert trainer.model.sizes == [8, 4, 4]
    torch.testing.assert_close(gradient(trainer.model), undivided(batch_of()))


def test_a_loss_of_which_nothing_is_known_is_not_cut(make):
    trainer = make(Mean)
    trainer.model.failing = {1, 2}
    with pytest.raises(torch.OutOfMemoryError) as caught:
        trainer.training_step(trainer.model, batch_of(), torch.tensor(8))
    assert "loss_is_scaled_for_ga" in caught.value.__notes__[0]
    trainer.training_step(trainer.model, batch_of())
    assert trainer.model.sizes == [8, 8, 8], "whole, after all else was let go, too"


@pytest.mark.parametrize("damage", [lambda batch: batch | {"labels": batch["labels"].tolist()},
                                    lambda batch: batch | {"labels": batch["labels"][None]}])
def test_batches_whose_samples_are_not_clear_stay_whole(make, damage):
    trainer = make()
    trainer.model.failing = {2}
    trainer.training_step(trainer.model, damage(batch_of()))
    with pytest.raises(torch.OutOfMemoryError) as caught:
        trainer.training_step(trainer.model, damage(batch_of()))
    assert "not cut" in caught.value.__notes__[0]
    assert trainer.model.sizes == [8, 8]


def uncounted(where):
    batch = batch_of()
    batch["labels"] = torch.stack([batch["labels"], batch["labels"]], dim=1)
    batch["labels"][where] = -100
    return batch


@pytest.mark.parametrize("where", [slice(4, 8), slice(0, 4)])
def test_pieces_in_which_nothing_counts(make, where):
    trainer = make(weight=gapless.tokens)
    trainer.model.failing = {1}
    trainer.training_step(trainer.model, uncounted(where))
    assert trainer.model.sizes == [8, 4]
    torch.testing.assert_close(gradient(trainer.model), undivided(uncounted(where)))


class Synchronised(Model):
    def __init__(self):
        super().__init__()
        self.apart = 0

    def no_sync(self):
        model = self

        class Apart:
            def __enter__(self):
                model.apart += 1

            def __exit__(self, *_):
                pass

        return Apart()


@pytest.mark.parametrize("kind", [Model, Synchronised])
def test_pieces_in_which_nothing_counts_of_an_elastic_step(kind):
    model = kind()
    model.failing = {1}
    kept = []
    step = gapless.elastic(lambda batch: model(**batch)["loss"], optimizer=torch.optim.SGD(model.parameters(), lr=0.1), model=model,
                           weight=gapless.tokens, before_step=lambda: kept.append(gradient(model)))
    step(uncounted(slice(4, 8)))
    assert model.sizes == [8, 4]
    torch.testing.assert_close(kept[0], undivided(uncounted(slice(4, 8))))
    assert kind is Model or model.apart == 0, "the last piece that counts synchronises"


def test_a_trainer_can_go(make):
    trainer = make()
    trainer.training_step(trainer.model, batch_of())
    gone = weakref.ref(trainer)
    del trainer
    gc.collect()
    assert gone() is None


def test_several_ranks_do_not_go_on_alone(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda *_: 2)
    model = Model()
    model.failing = {1}
    step = gapless.elastic(lambda batch: model(**batch)["loss"], optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(torch.OutOfMemoryError) as caught:
        step(batch_of())
    assert "agreement=" in caught.value.__notes__[0]
    assert model.sizes == [8]


def test_a_device_without_a_number_is_the_current_one(monkeypatch):
    asked = []
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    monkeypatch.setattr(_device, "of", lambda ordinal: asked.append(ordinal) or _device.NoDevice())
    assert _evaluation.elastic_evaluation(len, device="cuda")(torch.zeros(4)) == [(4, 4)]
    assert asked == [3]


def test_batches_without_samples():
    assert gapless.elastic_evaluation(len, device="cpu")(torch.zeros(0, 3)) == [(0, 0)]
    model = Model()
    step = gapless.elastic(lambda batch: model(**batch)["loss"], optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(ValueError, match="no samples"):
        step(batch_of(0))


def test_buffers_that_change_late_or_are_replaced_or_say_nothing():
    model = torch.nn.Module()
    model.norm = torch.nn.BatchNorm1d(4)
    model.register_buffer("late", torch.zeros(2))
    model.register_buffer("other", torch.zeros(2))
    buffers = _rewind.Buffers(model)
    for number in range(5):
        buffers.keep()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        kept = model.other
        for _ in range(2):  # put back as often as it takes
            model.norm(torch.rand(8, 4) + number)
            if number == 4:
                model.late += 1
                model.other = torch.ones(2)
            buffers.put_back()
            for name, value in model.state_dict().items():
                assert torch.equal(value, before[name]), (number, name)
        assert model.other is kept
        model.norm(torch.rand(8, 4))


def test_a_page_with_a_verdict_of_a_later_version():
    from gapless import _oom_page

    numbers = {name: 0 for name in ("device", "rounded_bytes", "largest_obtainable_bytes", "live_bytes", "reserved_bytes", "step",
                                    "driver_total_bytes", "driver_free_bytes", "other_process_bytes", "pending_bytes",
                                    "allocation_index", "step_units", "step_peak_bytes", "last_good_step_peak_bytes")}
    record = numbers | {"verdict": "9", "step_label": "", "phase_label": "", "freed_by_rung": [], "suggestion": {"units": 0}}
    assert "this version does not know" in _oom_page.page(record)[0]
