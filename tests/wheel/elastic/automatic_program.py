# SPDX-License-Identifier: Apache-2.0
"""A training program that knows nothing of gapless; test_automatic.py runs it with `gapless run --elastic` and without. Memory runs
out where a piece has more samples than ROOM (0: never)."""

import os
import sys

if "late" in sys.argv:
    from transformers import Trainer  # imported before gapless is asked for anything

    import gapless

    gapless.install()

import torch
from transformers import Trainer, TrainingArguments

ROOM = int(os.environ.get("ROOM", "0"))


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.line = torch.nn.Linear(4, 1).double()
        self.sizes = []

    def forward(self, x, labels):
        self.sizes.append(len(x))
        if ROOM and len(x) > ROOM:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")
        return {"loss": ((self.line(x)[:, 0] - labels) ** 2).mean(), "logits": self.line(x)}


def data(samples=18):
    generator = torch.Generator().manual_seed(1)
    x, y = torch.rand(samples, 4, dtype=torch.float64, generator=generator), torch.rand(samples, dtype=torch.float64, generator=generator)
    return [{"x": x[i], "labels": y[i]} for i in range(samples)]


def main() -> None:
    model = Model()
    arguments = TrainingArguments(output_dir=sys.argv[1], report_to=[], use_cpu=True, per_device_train_batch_size=8, max_steps=6,
                                  save_strategy="no", disable_tqdm=True, gradient_accumulation_steps=2, learning_rate=0.05,
                                  per_device_eval_batch_size=16)
    trainer = Trainer(model, arguments, train_dataset=data(), eval_dataset=data())
    trainer.train()
    loss = trainer.evaluate()["eval_loss"]
    print("RESULT", trainer.state.global_step, trainer.train_dataset is not None, arguments.per_device_train_batch_size,
          f"{loss:.10f}", " ".join(f"{one:.10f}" for one in model.line.weight.flatten().tolist()))
    print("MOST", max(model.sizes), "PIECES", len(model.sizes))


if __name__ == "__main__":
    main()
