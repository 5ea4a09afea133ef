# SPDX-License-Identifier: Apache-2.0
"""Gradients of pieces add up to those of the undivided batch, whatever a transformers model's loss is a mean over. On the CPU."""

import gapless
import pytest
import torch
from transformers import (BertConfig, BertForMaskedLM, BertForSequenceClassification, BertForTokenClassification, GPT2Config,
                          GPT2LMHeadModel, OpenAIGPTConfig, OpenAIGPTLMHeadModel, T5Config, T5ForConditionalGeneration, Trainer,
                          TrainingArguments)

torch.set_num_threads(1)
WORDS = 40
SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": WORDS,
         "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def tokens(generator, samples, least=2):
    """Labels of very unequal lengths: what a mean is over matters."""
    ids = torch.randint(1, WORDS, (samples, 12), generator=generator)
    lengths = torch.randint(least, 13, (samples, 1), generator=generator)
    return {"input_ids": ids, "labels": torch.where(torch.arange(12) < lengths, ids, -100)}


def few_labels(generator, samples):
    batch = tokens(generator, samples)
    return batch | {"labels": batch["labels"].clamp(max=2)}


def classes(generator, samples):
    return {"input_ids": torch.randint(1, WORDS, (samples, 12), generator=generator),
            "labels": torch.randint(0, 3, (samples,), generator=generator)}


def several(generator, samples):
    return classes(generator, samples) | {"labels": torch.rand(samples, 3, generator=generator, dtype=torch.float64)}


def gpt2():
    return GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=16, n_head=2, vocab_size=WORDS, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0))


class Smoothed(Trainer):
    """With transformers' label smoothing."""

    def __init__(self, model, arguments):
        arguments.label_smoothing_factor = 0.1
        super().__init__(model, arguments)


MODELS = {
    "gpt2": (Trainer, gpt2, tokens),
    "gpt2_smoothed": (Smoothed, gpt2, tokens),
    "openai_gpt": (Trainer, lambda: OpenAIGPTLMHeadModel(OpenAIGPTConfig(n_layer=1, n_embd=16, n_head=2, vocab_size=WORDS,
                                                                         resid_pdrop=0, embd_pdrop=0, attn_pdrop=0)), tokens),
    "masked": (Trainer, lambda: BertForMaskedLM(BertConfig(**SMALL)), tokens),
    "token_classes": (Trainer, lambda: BertForTokenClassification(BertConfig(**SMALL, num_labels=3)), few_labels),
    "classes": (Trainer, lambda: BertForSequenceClassification(BertConfig(**SMALL, num_labels=3)), classes),
    "several_classes": (Trainer, lambda: BertForSequenceClassification(
        BertConfig(**SMALL, num_labels=3, problem_type="multi_label_classification")), several),
    "t5": (Trainer, lambda: T5ForConditionalGeneration(T5Config(d_model=16, d_ff=16, d_kv=8, num_layers=1, num_heads=2, dropout_rate=0,
                                                                vocab_size=WORDS, decoder_start_token_id=0)), tokens),
}


class Failing:
    """The model's forward, out of memory for more samples than `most`."""

    def __init__(self, model, most):
        self._forward, self._most = model.forward, most
        self.failures = 0
        model.forward = self

    @property
    def __signature__(self):
        import inspect

        return inspect.signature(self._forward)

    def __call__(self, *args, **inputs):
        if len(inputs["input_ids"]) > self._most:
            self.failures += 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")
        return self._forward(*args, **inputs)


def gradients(name, accumulation, most, tmp_path):
    kind, make, batch_of = MODELS[name]
    torch.manual_seed(0)
    model = make().double()
    if most is not None:
        failing = Failing(model, most)
    arguments = TrainingArguments(output_dir=str(tmp_path), report_to=[], use_cpu=True, gradient_accumulation_steps=accumulation)
    trainer = kind(model, arguments)
    if most is not None:
        gapless.elastic_trainer(trainer)
    generator = torch.Generator().manual_seed(5)
    batches = [batch_of(generator, 6) for _ in range(accumulation)]
    trainer.current_gradient_accumulation_steps = accumulation
    items = trainer._get_num_items_in_batch(batches, torch.device("cpu"))
    loss = sum(trainer.training_step(model, batch, items) for batch in batches)
    if most is not None:
        assert failing.failures >= 1
        assert trainer.gapless.failures >= 1
    return loss, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(("accumulation", "most"), [(1, 4), (2, 1)])
@pytest.mark.parametrize("name", MODELS)
def test_gradients_of_the_undivided_batch(name, accumulation, most, tmp_path):
    loss, expected = gradients(name, accumulation, None, tmp_path)
    found_loss, found = gradients(name, accumulation, most, tmp_path)
    torch.testing.assert_close(found_loss, loss)
    assert found.keys() == expected.keys()
    for parameter, value in expected.items():
        # Some of transformers' losses are computed in single precision.
        torch.testing.assert_close(found[parameter], value, rtol=1e-4, atol=1e-7, msg=lambda text, p=parameter: f"{p}: {text}")
