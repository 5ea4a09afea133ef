# SPDX-License-Identifier: Apache-2.0
"""gapless.PaddingCollator against transformers' collators, in a process whose allocator is gapless."""

import copy
import gc
import pickle
import random
import subprocess
import sys

import gapless
import pytest
import torch
from tokenizers import Tokenizer, models
from torch.utils.data import DataLoader
from transformers import (BertConfig, BertForTokenClassification, DataCollatorForSeq2Seq, DataCollatorForTokenClassification,
                          DataCollatorWithPadding, PreTrainedTokenizerFast, Trainer, TrainingArguments)

PAD = 3


@pytest.fixture(params=["right", "left"])
def tokenizer(request):
    words = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1, "b": 2, "[PAD]": PAD}, unk_token="[UNK]"))
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", padding_side=request.param,
                                   model_input_names=["input_ids", "token_type_ids", "attention_mask"])


def sequences(count, longest=40, seed=1, **more):
    draw = random.Random(seed)
    made = []
    for _ in range(count):
        length = draw.randrange(longest + 1)
        made.append({"input_ids": [draw.randrange(4, 1000) for _ in range(length)],
                     "attention_mask": [1] * length,
                     **{name: make(draw, length) for name, make in more.items()}})
    return made


def same(ours, theirs):
    assert set(ours) == set(theirs)
    for name, tensor in theirs.items():
        assert ours[name].is_cuda
        assert torch.equal(ours[name].cpu(), tensor), name


@pytest.mark.parametrize("multiple", [None, 16])
def test_as_data_collator_with_padding(tokenizer, multiple):
    features = sequences(7, token_type_ids=lambda draw, n: [draw.randrange(2) for _ in range(n)],
                         special_tokens_mask=lambda draw, n: [draw.randrange(2) for _ in range(n)], label=lambda draw, n: draw.randrange(5))
    theirs = DataCollatorWithPadding(tokenizer, pad_to_multiple_of=multiple)(copy.deepcopy(features))
    same(gapless.PaddingCollator(tokenizer, multiple_of=multiple)(features).to("cuda"), theirs)


@pytest.mark.parametrize("multiple", [None, 32])
def test_as_data_collator_with_a_fixed_length(tokenizer, multiple):
    features = sequences(5)
    theirs = DataCollatorWithPadding(tokenizer, padding="max_length", max_length=50, pad_to_multiple_of=multiple)(copy.deepcopy(features))
    same(gapless.PaddingCollator(tokenizer, length=50, multiple_of=multiple)(features).to("cuda"), theirs)


def test_as_data_collator_for_token_classification(tokenizer):
    features = sequences(6, labels=lambda draw, n: [draw.randrange(9) for _ in range(n)])
    theirs = DataCollatorForTokenClassification(tokenizer)(copy.deepcopy(features))
    same(gapless.PaddingCollator(tokenizer)(features).to("cuda"), theirs)


@pytest.mark.parametrize("own, theirs", [({}, {}), ({"length": 48}, {"padding": "max_length", "max_length": 48})])
@pytest.mark.parametrize("labels", [lambda n: n // 2 + 1, lambda n: n])
def test_as_data_collator_for_seq2seq(tokenizer, own, theirs, labels):
    features = sequences(6, labels=lambda draw, n: [draw.randrange(9) for _ in range(labels(n))])
    expected = DataCollatorForSeq2Seq(tokenizer, **theirs)(copy.deepcopy(features))
    same(gapless.PaddingCollator(tokenizer, **own)(features).to("cuda"), expected)


def test_values_that_padding_would_change_are_refused():
    for values in ([0.5, 1.0], [[1, 2], [3, 4]]):
        with pytest.raises(ValueError, match="the feature 'weights' has values that are not whole numbers"):
            gapless.PaddingCollator(pad_id=PAD)([{"input_ids": [1, 2], "weights": values}])


def test_a_mask_with_holes_is_kept(tokenizer):
    features = sequences(4, attention_mask=lambda draw, n: [draw.randrange(2) for _ in range(n)])
    theirs = DataCollatorWithPadding(tokenizer)(copy.deepcopy(features))
    same(gapless.PaddingCollator(tokenizer)(features).to("cuda"), theirs)


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("row", [{"length": 40}, {"multiple_of": 8}, {}])
def test_the_host_gives_the_same(left, row):
    collate = gapless.PaddingCollator(pad_id=PAD, left=left, causal=True, positions=True, cu_seqlens=True, **row)
    ragged = collate([{"input_ids": one["input_ids"]} for one in sequences(9)])
    on_host = ragged.to("cpu")
    assert set(on_host) == {"input_ids", "attention_mask", "position_ids", "labels", "cu_seqlens"}
    same(ragged.to("cuda"), on_host)


def test_too_long_is_named_and_nothing_is_cut():
    collate = gapless.PaddingCollator(pad_id=PAD, length=8)
    ragged = collate([{"input_ids": [1] * length} for length in (3, 8, 9, 30)])
    for device in ("cuda", "cpu"):
        with pytest.raises(gapless.SequenceTooLong, match="sequence 2 of the batch has 9 tokens, but rows have 8") as raised:
            ragged.to(device)
        assert (raised.value.index, raised.value.length, raised.value.limit) == (2, 9, 8)


def test_empty_sequences_and_wrong_features():
    collate = gapless.PaddingCollator(pad_id=PAD)
    assert collate([{"input_ids": []}, {"input_ids": []}]).to("cuda")["input_ids"].shape == (2, 0)
    with pytest.raises(ValueError, match="'text' is neither"):
        collate([{"input_ids": [1], "text": "a"}])
    with pytest.raises(ValueError, match="'token_type_ids' has not one value"):
        collate([{"input_ids": [1], "token_type_ids": [1, 2]}])
    with pytest.raises(ValueError, match="no pad id"):
        gapless.PaddingCollator()
    with pytest.raises(ValueError, match="sequence 1 of the batch has no 'labels'"):
        collate([{"input_ids": [1], "labels": [1]}, {"input_ids": [1]}])
    for length in ("8", 0, -1, 2.5):
        with pytest.raises(ValueError, match="length is .*: a number of tokens"):
            gapless.PaddingCollator(pad_id=PAD, length=length)
    with pytest.raises(TypeError, match="the loader gives dict, not what PaddingCollator makes"):
        next(gapless.prefetch([{"input_ids": torch.ones(1)}]))


def test_labels_that_are_too_long_are_named():
    ragged = gapless.PaddingCollator(pad_id=PAD, length=4)([{"input_ids": [1, 2, 3], "labels": [1, 2, 3, 4, 5]}])
    for device in ("cuda", "cpu"):
        with pytest.raises(gapless.SequenceTooLong) as raised:
            ragged.to(device)
        assert any("labels" in note for note in raised.value.__notes__)


def test_without_a_device():
    script = """
import gapless, torch
torch.cuda.is_available = lambda: False
gapless.mark_step("train")
gapless.mark_phase("forward")
assert gapless.constant_stats() == {} and gapless.constant_stats(0) == {} and gapless.last_oom() is None and gapless.forecast(1) is None
collate = gapless.PaddingCollator(pad_id=0, length=4)
collate.reserve(2)
(batch,) = gapless.prefetch([collate([{"input_ids": [1, 2]}])], "cpu")
assert batch["input_ids"].tolist() == [[1, 2, 0, 0]]
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_addresses_stay_and_follow_the_tensors_lives():
    collate = gapless.PaddingCollator(pad_id=PAD, length=128)
    collate.reserve(16)
    before = gapless.constant_stats()
    addresses = []
    for step in range(8):
        batch = collate(sequences(16, 128, seed=step)).to("cuda")
        addresses.append(batch["input_ids"].data_ptr())
        view = batch["input_ids"][3:]  # keeps the buffer although the batch goes
        del batch
        assert gapless.constant_stats()["leased"] == before["leased"] + 1
        del view
    gc.collect()
    assert len(set(addresses)) == 2 and addresses[:2] * 4 == addresses
    after = gapless.constant_stats()
    assert after["leased"] == before["leased"] and after["buffers"] == before["buffers"] and after["moved"] == before["moved"]


def test_many_batches_at_once():
    collate = gapless.PaddingCollator(pad_id=PAD, length=64)
    held = [collate(sequences(8, 64, seed=seed)).to("cuda") for seed in range(20)]
    for seed, batch in enumerate(held):
        same(batch, collate(sequences(8, 64, seed=seed)).to("cpu"))
    held += [collate(sequences(8, 64)).to("cuda") for _ in range(64 - len(held))]
    with pytest.raises(RuntimeError, match="64 batches of one shape are in use: tensors of earlier batches"):
        collate(sequences(8, 64)).to("cuda")


def test_workers_pinned_memory_and_prefetching():
    collate = gapless.PaddingCollator(pad_id=PAD, multiple_of=16)
    data = sequences(24, label=lambda draw, n: draw.randrange(7))
    loader = DataLoader(data, 4, collate_fn=collate, num_workers=2, pin_memory=True)
    count = 0
    for batch, start in zip(gapless.prefetch(loader), range(0, 24, 4), strict=True):
        same(batch, collate(data[start:start + 4]).to("cpu"))
        count += 1
    assert count == 6
    assert torch.equal(pickle.loads(pickle.dumps(collate(data))).tokens, collate(data).tokens)


def test_a_trainer_takes_it(tokenizer, tmp_path):
    torch.manual_seed(1)
    model = BertForTokenClassification(BertConfig(vocab_size=1000, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
                                                  intermediate_size=64, num_labels=9, attn_implementation="eager"))
    data = sequences(40, 30, labels=lambda draw, n: [draw.randrange(9) for _ in range(n)])
    data = [one for one in data if one["input_ids"]]
    seen = []
    forward = model.forward

    def look(**inputs):
        seen.append({name: tensor.cpu() for name, tensor in inputs.items() if isinstance(tensor, torch.Tensor)})
        return forward(**inputs)

    arguments = TrainingArguments(output_dir=str(tmp_path), report_to=[], per_device_train_batch_size=4, max_steps=6,
                                  gradient_accumulation_steps=2, save_strategy="no", disable_tqdm=True, seed=5)
    runs = {}
    for name, collate in (("ours", gapless.PaddingCollator(tokenizer, length=32)),
                          ("theirs", DataCollatorForTokenClassification(tokenizer, padding="max_length", max_length=32))):
        seen.clear()
        Trainer(_Watched(model, look), arguments, train_dataset=data, data_collator=collate).train()
        runs[name] = list(seen)
    assert len(runs["ours"]) == len(runs["theirs"]) == 12
    for ours, theirs in zip(runs["ours"], runs["theirs"], strict=True):
        for name in ("input_ids", "attention_mask", "labels"):
            assert torch.equal(ours[name], theirs[name])


def test_warm_up():
    model = torch.nn.Sequential(torch.nn.Embedding(1000, 64), torch.nn.Dropout(), torch.nn.BatchNorm1d(64), torch.nn.Linear(64, 1000)).cuda()
    seed, mean = torch.get_rng_state(), model[2].running_mean.cpu()

    def run(length):
        hidden = model[2](model[1](model[0](torch.randint(1000, (4, length)).cuda())).transpose(1, 2)).transpose(1, 2)
        model[3](hidden).sum().backward()

    made = gapless.warm_up(run, max_len=2048, model=model)
    assert made > 4 * 2048 * 1000 * 4
    assert torch.equal(torch.get_rng_state(), seed) and torch.equal(model[2].running_mean.cpu(), mean)
    assert all(parameter.grad is None for parameter in model.parameters())
    handles = gapless.stats()["num_device_alloc"]
    for length in (64, 2048, 500, 2048):
        run(length)
        model.zero_grad(set_to_none=True)
    assert gapless.stats()["num_device_alloc"] == handles, "the largest shape was backed"

    free = gapless.stats()["idle_bytes"]
    assert gapless.warm_up(nbytes=free + (64 << 20)) > 0
    with pytest.raises(TypeError):
        gapless.warm_up()
    for nbytes in (-5, "1GiB"):
        with pytest.raises(ValueError, match="nbytes is"):
            gapless.warm_up(nbytes=nbytes)
    with pytest.raises(torch.OutOfMemoryError, match="1024.00 GiB"):
        gapless.warm_up(nbytes=1 << 40)
    with pytest.raises(ValueError, match="limit is '1GiB'"):
        gapless.set_limit("1GiB")


class _Watched(torch.nn.Module):
    """A model whose inputs are looked at. The signature is the model's: the Trainer drops columns that it does not name."""

    def __init__(self, model, look):
        super().__init__()
        self.inner, self._look = model, look

    def forward(self, input_ids=None, attention_mask=None, labels=None):
        return self._look(input_ids=input_ids, attention_mask=attention_mask, labels=labels)
