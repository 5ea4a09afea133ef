# SPDX-License-Identifier: Apache-2.0
"""Loops with one oversized batch in fifty, on a device with room for the others only: plain, transformers.Trainer, accelerate."""

import gc
import json

import gapless
import pytest
import torch
from gapless import cli
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

MIB = 1 << 20
SHORT, LONG, BATCH, STEPS, SPIKE = 64, 640, 8, 50, 31


@pytest.fixture(autouse=True)
def clean():
    torch.zeros(1, device="cuda")
    yield
    gc.collect()
    gapless.set_limit(None)
    torch.cuda.empty_cache()


def make():
    config = GPT2Config(n_layer=3, n_embd=128, n_head=4, vocab_size=4000, n_positions=1024)
    with torch.device("cuda"):
        return GPT2LMHeadModel(config)


def batch_of(step):
    width = LONG if step == SPIKE else SHORT
    ids = torch.randint(0, 4000, (BATCH, width))
    return {"input_ids": ids, "labels": ids}


def on_device(batch):
    return {name: value.to("cuda") for name, value in batch.items()}


def plain_step(model, optimizer, batch):
    loss = model(**on_device(batch)).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


@pytest.fixture(scope="module")
def capacity():
    """Room for short batches and a quarter of the long one: no allocator can train the long one whole in it."""
    model = make()
    optimizer = torch.optim.AdamW(model.parameters())
    peaks = []
    for step in (0, 1, SPIKE):
        torch.cuda.reset_peak_memory_stats()
        plain_step(model, optimizer, batch_of(step))
        peaks.append(torch.cuda.max_memory_allocated())
    resident = torch.cuda.memory_allocated()
    limit = resident + (peaks[2] - resident) // 3
    assert peaks[1] < limit < peaks[2] - 100 * MIB
    del model, optimizer
    gc.collect()
    torch.cuda.empty_cache()
    return limit


def test_without_elastic_steps_the_run_dies(capacity):
    model = make()
    optimizer = torch.optim.AdamW(model.parameters())
    gapless.set_limit(capacity)
    with pytest.raises(torch.OutOfMemoryError):
        for step in range(STEPS):
            plain_step(model, optimizer, batch_of(step))
    assert step == SPIKE


def test_plain_loop(capacity):
    model = make()
    optimizer = torch.optim.AdamW(model.parameters())
    gapless.set_limit(capacity)
    samples = []

    def step_fn(batch):
        samples.append(batch["input_ids"].shape[0])
        return model(**on_device(batch)).loss

    step = gapless.elastic(step_fn, optimizer=optimizer, model=model, weight=gapless.tokens)
    for number in range(STEPS):
        step(batch_of(number))
    assert step.counts.steps == STEPS
    assert step.counts.failures <= 1
    assert step.counts.micro_batches > STEPS
    assert step.counts.failures or sum(samples) == STEPS * BATCH


def test_one_sample_too_many_for_the_device(tmp_path, capsys):
    model = make()
    optimizer = torch.optim.AdamW(model.parameters())
    step = gapless.elastic(lambda batch: model(**on_device(batch)).loss, optimizer=optimizer, model=model, on_unfit="set_aside",
                           folder=tmp_path)
    step(batch_of(0))
    gapless.set_limit(torch.cuda.memory_allocated() + 12 * MIB)
    assert step(batch_of(SPIKE)) is None
    gapless.set_limit(None)
    said = capsys.readouterr().err
    assert "out of memory on device 0" in said and "the limit set for this process" in said
    assert "gradient checkpointing" in said
    (report,) = tmp_path.glob("*.json")
    found = json.loads(report.read_text())
    assert found["consumers"]["weights"] == sum(p.numel() * 4 for p in set(model.parameters())) + sum(
        b.numel() * b.element_size() for b in model.buffers())
    assert [one["saves"] > 0 for one in found["levers"]]
    assert cli.main(["report", str(report)]) == 0
    assert "out of memory" in capsys.readouterr().out
    assert len(list(tmp_path.glob("*.pt"))) == 1
    assert step(batch_of(0)) is not None


class Texts(torch.utils.data.Dataset):
    def __len__(self):
        return STEPS * BATCH

    def __getitem__(self, index):
        width = LONG if index // BATCH == SPIKE else SHORT
        ids = torch.full((width,), index % 4000)
        return {"input_ids": ids, "labels": ids}


@pytest.mark.parametrize("accumulation", [1, 2])
def test_trainer(capacity, tmp_path, accumulation):
    torch.manual_seed(0)
    model = make()
    arguments = TrainingArguments(output_dir=str(tmp_path), per_device_train_batch_size=BATCH, num_train_epochs=1, report_to=[],
                                  gradient_accumulation_steps=accumulation, save_strategy="no", disable_tqdm=True,
                                  logging_steps=1000, per_device_eval_batch_size=BATCH, dataloader_pin_memory=False,
                                  train_sampling_strategy="sequential")
    trainer = gapless.elastic_trainer(Trainer(model, arguments, train_dataset=Texts(), eval_dataset=Texts()))
    gapless.set_limit(capacity + 8 * MIB)
    trainer.train()
    assert trainer.state.global_step == STEPS // accumulation
    assert trainer.gapless.failures <= 1


def test_evaluation_never_changes_training(capacity, tmp_path):
    model = make()
    arguments = TrainingArguments(output_dir=str(tmp_path), per_device_eval_batch_size=BATCH, report_to=[], disable_tqdm=True,
                                  dataloader_pin_memory=False, prediction_loss_only=True)
    plain = Trainer(model, arguments, eval_dataset=Texts())
    trainer = gapless.elastic_trainer(Trainer(model, arguments, eval_dataset=Texts()))
    gapless.set_limit(torch.cuda.memory_allocated() + 80 * MIB)
    with pytest.raises(torch.OutOfMemoryError):
        plain.evaluate()
    trainer.evaluate()
    first = trainer.gapless.evaluation_failures
    assert first <= 1
    trainer.evaluate()
    assert trainer.gapless.evaluation_failures == first, "the size is learnt once"
    assert trainer.gapless.failures == 0


def test_pieces_of_a_prediction_are_joined(capacity, tmp_path):
    model = make()
    arguments = TrainingArguments(output_dir=str(tmp_path), report_to=[], dataloader_pin_memory=False)
    trainer = gapless.elastic_trainer(Trainer(model, arguments))
    gapless.set_limit(torch.cuda.memory_allocated() + 140 * MIB)
    loss, logits, labels = trainer.prediction_step(model, batch_of(SPIKE), prediction_loss_only=False)
    assert (tuple(logits.shape), tuple(labels.shape)) == ((BATCH, LONG, 4000), (BATCH, LONG))
    assert loss.dim() == 0
    assert 1 <= trainer.gapless.evaluation_failures <= 2


def test_find_executable_batch_size(capacity):
    gapless.set_limit(capacity)
    tried = []

    @gapless.find_executable_batch_size(starting_batch_size=160)
    def train(batch_size):
        tried.append(batch_size)
        model = make()
        optimizer = torch.optim.AdamW(model.parameters())
        for _ in range(3):
            ids = torch.randint(0, 4000, (batch_size, SHORT))
            plain_step(model, optimizer, {"input_ids": ids, "labels": ids})
        return batch_size

    found = train()
    assert found >= 4
    from accelerate.utils import find_executable_batch_size

    theirs = []

    @find_executable_batch_size(starting_batch_size=160)
    def halving(batch_size):
        theirs.append(batch_size)
        model = make()
        optimizer = torch.optim.AdamW(model.parameters())
        ids = torch.randint(0, 4000, (batch_size, SHORT))
        plain_step(model, optimizer, {"input_ids": ids, "labels": ids})

    halving()
    assert len(tried) < len(theirs)
