# SPDX-License-Identifier: Apache-2.0
"""Loops with one oversized batch in fifty, on a device with room for the others only: plain, transformers.Trainer, accelerate,
Lightning. PyTorch's own allocators in the same room: test_natives.py."""

import gc
import json

import gapless
import pytest
import torch
from gapless import cli
from spike import BATCH, LONG, MIB, SHORT, SPIKE, STEPS, batch_of, make, on_device, plain_loop, plain_step, room
from transformers import Trainer, TrainingArguments

@pytest.fixture(autouse=True)
def clean():
    torch.zeros(1, device="cuda")
    yield
    gc.collect()
    gapless.set_limit(None)
    torch.cuda.empty_cache()


@pytest.fixture(scope="module")
def capacity():
    return room()


def test_without_elastic_steps_the_run_dies(capacity):
    gapless.set_limit(capacity)
    assert plain_loop() == SPIKE


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
    assert "gradient checkpointing" in said and "now  last good step" in said and "spike.py" not in said.split("where:")[0]
    (report,) = tmp_path.glob("*.json")
    found = json.loads(report.read_text())
    assert ".py:" in found["line"], "where the request was made"
    largest = found["groups"][0]
    assert largest["bytes"] * largest["count"] >= found["groups"][-1]["bytes"] * found["groups"][-1]["count"]
    assert any("transformers/" in group["line"] for group in found["groups"] if group["what"] == "activations"), "by Python line"
    assert {row["what"] for row in found["table"]} == {"weights", "gradients", "optimizer state", "activations and temporaries"}
    assert sum(row["now"] for row in found["table"]) == found["record"]["live_bytes"]
    assert not torch._C._cuda_isHistoryEnabled(), "the lines are recorded after a failure only"
    html = report.with_suffix(".html").read_text()
    assert found["verdict"][1:] in html and "@media print" in html and "width=device-width" in html
    assert "<script" not in html and "http" not in html and "url(" not in html, "it needs nothing else"
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


def test_evaluation_never_changes_training(capacity, tmp_path, capsys):
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
    assert ("evaluation ran out of memory at 8 samples, which needs more than" in capsys.readouterr().err) == (first == 1)
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


def test_accelerate(capacity):
    from accelerate import Accelerator

    accelerator = Accelerator()
    model = make()
    model, optimizer = accelerator.prepare(model, torch.optim.AdamW(model.parameters()))
    gapless.set_limit(capacity)
    step = gapless.elastic(lambda batch: model(**on_device(batch)).loss, optimizer=optimizer, model=model, weight=gapless.tokens,
                           before_step=lambda: accelerator.clip_grad_norm_(model.parameters(), 1.0))
    for number in range(STEPS):
        step(batch_of(number))
    assert step.counts.steps == STEPS
    assert step.counts.failures <= 1
    assert step.counts.micro_batches > STEPS


def test_lightning(capacity, tmp_path):
    lightning = pytest.importorskip("lightning.pytorch")

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = make()
            self.samples = 0

        def training_step(self, batch, batch_idx):
            self.samples += batch["input_ids"].shape[0]
            loss = self.model(**batch).loss
            self.log("loss", loss)
            return loss

        def validation_step(self, batch, batch_idx):
            self.log("valid", self.model(**batch).loss)

        def configure_optimizers(self):
            return torch.optim.AdamW(self.parameters())

    loader = torch.utils.data.DataLoader(Texts(), batch_size=BATCH)
    trainer = gapless.elastic_trainer(
        lightning.Trainer(accelerator="gpu", devices=1, max_epochs=1, logger=False, enable_checkpointing=False,
                          enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path, num_sanity_val_steps=0))
    module = Module()
    gapless.set_limit(capacity + 8 * MIB)
    trainer.fit(module, loader, loader)
    assert trainer.global_step == STEPS
    assert trainer.gapless.failures <= 1
    assert trainer.gapless.evaluation_failures <= 1
    assert trainer.gapless.failures or module.samples == STEPS * BATCH


def padded(texts):
    return {name: torch.nn.utils.rnn.pad_sequence([text[name] for text in texts], batch_first=True) for name in texts[0]}


def test_find_executable_batch_size_of_the_whole_loop(capacity):
    """The function is run again from its beginning. That the long batch is long the decorator cannot know; the failure shows it."""
    gapless.set_limit(capacity)
    texts, tried = Texts(), []

    @gapless.find_executable_batch_size(starting_batch_size=BATCH)
    def train(batch_size):
        tried.append(batch_size)
        model = make()
        optimizer = torch.optim.AdamW(model.parameters())
        for batch in torch.utils.data.DataLoader(texts, batch_size=batch_size, sampler=range(24 * BATCH, 36 * BATCH), collate_fn=padded):
            plain_step(model, optimizer, batch)
        return batch_size

    assert train() < BATCH
    assert len(tried) == 2


def test_find_executable_batch_size(capacity):
    gapless.set_limit(capacity)
    tried = []

    @gapless.find_executable_batch_size(starting_batch_size=80)
    def train(batch_size):
        tried.append(batch_size)
        model = make()
        optimizer = torch.optim.AdamW(model.parameters())
        for _ in range(3):
            ids = torch.randint(0, 4000, (batch_size, SHORT))
            plain_step(model, optimizer, {"input_ids": ids, "labels": ids})
        return batch_size

    found = train()
    # One failure, one step measured, and the size that fits.
    assert tried == [80, 3, found]
    assert found > 4
    model = make()
    with pytest.raises(torch.OutOfMemoryError):
        optimizer = torch.optim.AdamW(model.parameters())
        for _ in range(2):
            ids = torch.randint(0, 4000, (found + found // 4 + 1, SHORT))
            plain_step(model, optimizer, {"input_ids": ids, "labels": ids})
    del model, optimizer
    gc.collect()
    torch.cuda.empty_cache()
    from accelerate.utils import find_executable_batch_size

    theirs = []

    @find_executable_batch_size(starting_batch_size=80)
    def halving(batch_size):
        theirs.append(batch_size)
        model = make()
        optimizer = torch.optim.AdamW(model.parameters())
        ids = torch.randint(0, 4000, (batch_size, SHORT))
        plain_step(model, optimizer, {"input_ids": ids, "labels": ids})

    halving()
    assert len(tried) < len(theirs)


def test_find_executable_batch_size_of_what_has_no_optimizer_measures_nothing(capacity):
    gapless.set_limit(capacity)
    tried = []

    @gapless.find_executable_batch_size(starting_batch_size=400)
    def evaluate(batch_size):
        tried.append(batch_size)
        with torch.no_grad():
            make()(input_ids=torch.randint(0, 4000, (batch_size, SHORT)).to("cuda"))
        return batch_size

    assert evaluate() > 2
    assert tried == sorted(tried, reverse=True)


def test_cycles_of_an_attempt_are_let_go():
    """Outputs that refer to each other are gone only when Python looks for them: before the next attempt."""
    from gapless import _pieces

    def fill(count):
        held = [torch.empty(count * 6 * MIB, dtype=torch.uint8, device="cuda")]
        held.append(held)
        torch.empty(count * 6 * MIB, dtype=torch.uint8, device="cuda")
        held.clear()  # what ended well leaves nothing

    redone = _pieces.Redone(torch.nn.Linear(1, 1), torch.device("cuda:0"), ".")

    def step(batch, most):
        for piece, _ in redone.pieces(batch, 8, 8, most, split=lambda batch, start, stop: batch[start:stop], weight=len):
            fill(len(piece))

    evaluation = gapless.elastic_evaluation(lambda piece: fill(len(piece)), device="cuda")
    gapless.set_limit(torch.cuda.memory_allocated() + 64 * MIB)
    gc.collect()
    gc.disable()
    try:
        redone.begin(None, 0)
        redone.run(torch.zeros(8, 1), step, lambda: [])
        gc.collect()
        evaluation(torch.zeros(8, 1))
    finally:
        gc.enable()
    assert (redone.failures, evaluation.failures) == (1, 1)
