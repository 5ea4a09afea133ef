# SPDX-License-Identifier: Apache-2.0
"""Lightning's Trainer with batches in pieces: the weights and figures of a run without failures. On the CPU."""

import gapless
import pytest
import torch

lightning = pytest.importorskip("lightning.pytorch")
torchmetrics = pytest.importorskip("torchmetrics")


class Model(lightning.LightningModule):
    """Out of memory for more samples than `most`, in the calls of training or evaluation that are named."""

    def __init__(self, most=None, late=False):
        super().__init__()
        torch.manual_seed(3)
        self.body = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)).double()
        self.seen = torchmetrics.SumMetric()
        self.mean = torchmetrics.MeanMetric()
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))
        self.most, self.late, self.sizes, self.lost = most, late, [], []

    def loss(self, batch, name):
        x, y = batch
        self.sizes.append(len(x))
        if self.late and self.most and len(x) > self.most:
            # After everything was counted and logged: an attempt that is undone must leave nothing behind.
            self.seen(len(x))
        if not self.late:
            self.check(x)
        self.calls += len(x)
        errors = (self.body(x)[:, 0] - y) ** 2
        self.mean(errors.detach())
        loss = errors.mean()
        self.log(name, loss, on_step=True, on_epoch=True)
        if self.late:
            self.check(x)
        self.seen(len(x))
        return loss, errors.detach()

    def check(self, x):
        if self.most and len(x) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")

    def training_step(self, batch, batch_idx):
        loss, errors = self.loss(batch, "train")
        return {"loss": loss, "errors": errors}

    def on_train_batch_end(self, outputs, batch, batch_idx):
        assert len(outputs["errors"]) == len(batch[0]), "what a piece returned is joined"
        self.lost.append(float(outputs["loss"]))

    def validation_step(self, batch, batch_idx):
        return self.loss(batch, "valid")[0]

    def on_validation_batch_end(self, outputs, batch, batch_idx):
        self.lost.append(float(outputs))

    def predict_step(self, batch, batch_idx):
        self.check(batch[0])
        return self.body(batch[0])

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=0.05)


def data(samples=22):
    generator = torch.Generator().manual_seed(1)
    return torch.utils.data.TensorDataset(torch.rand(samples, 4, dtype=torch.float64, generator=generator),
                                          torch.rand(samples, dtype=torch.float64, generator=generator))


def loader():
    return torch.utils.data.DataLoader(data(), batch_size=8)


def trainer(tmp_path, elastic=True, **arguments):
    made = lightning.Trainer(accelerator="cpu", devices=1, max_epochs=2, logger=False, enable_checkpointing=False,
                             enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
                             num_sanity_val_steps=0, gradient_clip_val=0.5, **arguments)
    return gapless.elastic_trainer(made) if elastic else made


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_weights_and_figures_are_those_of_whole_batches(accumulation, late, tmp_path):
    expected, found = Model(), Model(most=3, late=late)
    plain = trainer(tmp_path, elastic=False, accumulate_grad_batches=accumulation)
    plain.fit(expected, loader(), loader())
    done = trainer(tmp_path, accumulate_grad_batches=accumulation)
    done.fit(found, loader(), loader())
    assert done.gapless.failures > 0 and done.gapless.evaluation_failures > 0
    assert done.global_step == plain.global_step
    assert int(found.calls) == int(expected.calls) and float(found.seen.compute()) == float(expected.seen.compute()), "each sample once"
    for (name, a), (_, b) in zip(found.state_dict().items(), expected.state_dict().items(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12, msg=name)
    assert found.lost == pytest.approx(expected.lost, rel=1e-9)
    assert float(found.mean.compute()) == pytest.approx(float(expected.mean.compute()))
    for figure in ("train_epoch", "valid_epoch"):
        assert float(done.callback_metrics[figure]) == pytest.approx(float(plain.callback_metrics[figure]), rel=1e-9), figure
    predicted = torch.cat(done.predict(found, loader()))
    torch.testing.assert_close(predicted, torch.cat(plain.predict(expected, loader())))


@pytest.mark.filterwarnings("ignore")
def test_one_sample_too_many(tmp_path):
    model = Model(most=3)
    done = trainer(tmp_path)
    model.check = lambda x: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB."))
    with pytest.raises(torch.OutOfMemoryError) as caught:
        done.fit(model, loader())
    assert "not even one sample" in caught.value.__notes__[0]
    assert model.sizes[:4] == [8, 4, 2, 1]
