# SPDX-License-Identifier: Apache-2.0
"""What users do to elastic steps, with real arithmetic on the CPU: a piece of more than a few samples runs out of memory there."""

import collections
import math
import types

import gapless
import pytest
import torch
from gapless import _batches

SAMPLES, WIDTH = 7, 5
Pair = collections.namedtuple("Pair", "x y")


def out_of_memory():
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Linear(WIDTH, 8), torch.nn.Linear(8, 1)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x))).squeeze(-1)


def make():
    torch.manual_seed(3)
    model = Model().double()
    return model, torch.optim.SGD(model.parameters(), lr=0.1)


def batches(count=4):
    generator = torch.Generator().manual_seed(7)
    for _ in range(count):
        yield {"x": torch.randn(SAMPLES, WIDTH, generator=generator, dtype=torch.double),
               "y": torch.randn(SAMPLES, generator=generator, dtype=torch.double)}


def loss_of(model, x, y):
    return torch.nn.functional.mse_loss(model(x), y)


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def limited(function, most=3):
    """`function` with room for so many samples."""
    def step(batch):
        if _batches.samples(batch) > most:
            raise out_of_memory()
        return function(batch)

    return step


def expected(**arguments):
    """Of the same training without OOM."""
    model, optimizer = make()
    for batch in batches():
        loss_of(model, batch["x"], batch["y"]).backward()
        if "clip" in arguments:
            torch.nn.utils.clip_grad_norm_(model.parameters(), arguments["clip"])
        optimizer.step()
        optimizer.zero_grad()
    return weights(model)


@pytest.mark.parametrize("form", [
    lambda b: b, lambda b: (b["x"], b["y"]), lambda b: [b["x"], b["y"]], lambda b: Pair(b["x"], b["y"]),
    lambda b: {"in": {"x": b["x"]}, "out": [b["y"]]}, lambda b: collections.OrderedDict(b),
    lambda b: {**b, "names": [f"sample {i}" for i in range(SAMPLES)], "epoch": 3, "scale": torch.tensor(2.0), "none": None}],
    ids=["dict", "tuple", "list", "namedtuple", "nested", "ordered", "with texts"])
def test_forms_of_batches(form):
    model, optimizer = make()

    def step_fn(batch):
        found = list(_batches.tensors(batch))
        if "names" in batch:
            assert len(batch["names"]) == len(batch["x"])
        return loss_of(model, found[0], found[1])

    step = gapless.elastic(limited(step_fn), optimizer=optimizer, model=model)
    for batch in batches():
        step(form(batch))
    assert torch.allclose(weights(model), expected())


def test_entries_without_tensors_are_cut_with_their_samples():
    numpy = pytest.importorskip("numpy")
    texts = ["a", "b", "c"]
    batch = {"x": torch.arange(3), "texts": texts, "pair": [("a", "b", "c"), ("d", "e", "f")], "three": [tuple(texts)] * 3,
             "dicts": [{"id": i} for i in range(3)], "array": numpy.arange(3), "scalar": numpy.float64(1.0), "other": [1, 2]}
    part = _batches.split(batch, 1, 3)
    assert part["texts"] == ["b", "c"] and part["pair"] == [("b", "c"), ("e", "f")] and part["three"] == [("b", "c")] * 3
    assert part["dicts"] == [{"id": 1}, {"id": 2}] and part["array"].tolist() == [1, 2]
    assert part["scalar"] == 1.0 and part["other"] == [1, 2]
    kinds = collections.defaultdict(list, {"x": torch.arange(3)})
    assert type(_batches.split(kinds, 0, 1)) is collections.defaultdict


def test_results_of_pieces_are_put_together_whatever_kind_of_mapping_they_are():
    pieces = [{"logits": torch.arange(2), "loss": 1.0}, {"logits": torch.arange(1), "loss": 4.0}]
    for kind in (dict, collections.OrderedDict, lambda piece: collections.defaultdict(list, piece), collections.UserDict):
        joined = _batches.join([kind(piece) for piece in pieces], [2, 1])
        assert type(joined) is type(kind({}))
        assert joined["logits"].tolist() == [0, 1, 0]
        assert joined["loss"] == 2.0


class Recording:
    """A device that has a record of each failure, and forecasts of its own."""

    def __init__(self, *forecasts):
        self.failures, self.forecasts = 0, list(forecasts)

    def mark_step(self, label, units):
        pass

    def last_oom(self):
        return {"sequence": self.failures, "suggestion": {"units": 0, "confidence": 0.2}} if self.failures else None

    def forecast(self, units):
        said = self.forecasts.pop(0) if self.forecasts else 0
        return types.SimpleNamespace(suggestion=types.SimpleNamespace(units=said, confidence=0.9)) if said else None


@pytest.mark.parametrize(("forecasts", "refuses", "sizes"), [
    ([40], False, [80, 3, 40]), ([40, 0], False, [80, 3, 40]), ([], False, [80, 3, 72, 64, 57]), ([2], False, [80, 3, 72, 64, 57]),
    ([40], True, [80, 3, 72, 64, 57])], ids=["known", "asked once", "not known", "too small", "the function refuses it"])
def test_a_run_that_only_measures_ends_after_one_step_whatever_is_learnt(monkeypatch, forecasts, refuses, sizes):
    from gapless import _accelerate

    device, tried, ended = Recording(*forecasts), [], []
    monkeypatch.setattr(_accelerate._device, "NoDevice", lambda: device)

    @gapless.find_executable_batch_size(starting_batch_size=80)
    def train(batch_size):
        tried.append(batch_size)
        model, optimizer = make()
        if batch_size == 3 and refuses:
            raise ValueError("an accumulation of no batches")
        if batch_size > 60:
            device.failures += 1
            raise out_of_memory()
        for batch in batches():
            loss_of(model, batch["x"], batch["y"]).backward()
            optimizer.step()
        ended.append(batch_size)
        return batch_size

    assert train() == sizes[-1]
    assert tried == sizes
    assert ended == sizes[-1:]


def test_clipping_sees_the_gradient_of_the_whole_batch():
    model, optimizer = make()
    step = gapless.elastic(limited(lambda b: loss_of(model, b["x"], b["y"])), optimizer=optimizer, model=model,
                           before_step=lambda: torch.nn.utils.clip_grad_norm_(model.parameters(), 0.05))
    for batch in batches():
        step(batch)
    assert torch.allclose(weights(model), expected(clip=0.05))


def test_a_scaler_scales_pieces_and_unscales_once():
    model, optimizer = make()
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    step = gapless.elastic(limited(lambda b: loss_of(model, b["x"], b["y"])), optimizer=optimizer, model=model, scaler=scaler,
                           before_step=lambda: torch.nn.utils.clip_grad_norm_(model.parameters(), 0.05))
    for batch in batches():
        step(batch)
    assert torch.allclose(weights(model), expected(clip=0.05))


def test_a_loss_that_is_no_number_stays_one_and_the_next_step_is_as_always():
    model, optimizer = make()
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    step = gapless.elastic(limited(lambda b: loss_of(model, b["x"], b["y"])), optimizer=optimizer, model=model, scaler=scaler)
    before = weights(model)
    broken = next(batches())
    broken["y"][SAMPLES - 1] = math.nan
    assert math.isnan(step(broken))
    assert torch.equal(weights(model), before), "the scaler leaves such a step out"
    for batch in batches():
        step(batch)
    assert torch.allclose(weights(model), expected())


def test_an_error_of_a_hook_is_the_user_s_and_nothing_of_the_batch_stays():
    model, optimizer = make()
    step = gapless.elastic(limited(lambda b: loss_of(model, b["x"], b["y"])), optimizer=optimizer, model=model)
    calls = []

    def hook(_):
        calls.append(1)
        if len(calls) == 2:  # in the backward pass of the second piece
            raise KeyError("mine")

    handle = model.first.weight.register_hook(hook)
    with pytest.raises(KeyError, match="mine"):
        step(next(batches()))
    handle.remove()
    for batch in batches():
        step(batch)
    assert torch.allclose(weights(model), expected()), "the first piece's gradients were not kept"


def test_a_batch_of_one_is_an_error_that_says_so(tmp_path):
    model, optimizer = make()
    step = gapless.elastic(limited(lambda b: loss_of(model, b["x"], b["y"]), most=0), optimizer=optimizer, model=model, folder=tmp_path)
    one = {name: value[:1] for name, value in next(batches()).items()}
    with pytest.raises(gapless.BatchDoesNotFit, match="one sample alone does not fit; the batch was written to"):
        step(one)
    (written,) = tmp_path.glob("*.pt")
    assert torch.equal(torch.load(written)["batch"]["x"], one["x"])


@pytest.mark.parametrize(("batch", "says"), [
    ({"x": torch.zeros(0, WIDTH)}, "no samples"), ({"x": torch.zeros(3, WIDTH), "y": torch.zeros(4)}, "give samples= and split="),
    (iter([torch.zeros(2)]), "give samples= and split="), ({"x": torch.tensor(1.0)}, "give samples= and split=")],
    ids=["empty", "unequal", "generator", "scalars"])
def test_batches_that_cannot_be_told_are_errors_before_anything_ran(batch, says):
    model, optimizer = make()
    step = gapless.elastic(lambda b: pytest.fail("ran"), optimizer=optimizer, model=model)
    with pytest.raises(ValueError, match=says):
        step(batch)


@pytest.mark.parametrize("result", [None, 1.0, {"loss": torch.zeros(())}, torch.zeros(3, requires_grad=True)],
                         ids=["nothing", "number", "dict", "one for each sample"])
def test_what_is_no_loss_is_said(result):
    model, optimizer = make()
    step = gapless.elastic(lambda b: result, optimizer=optimizer, model=model)
    with pytest.raises(TypeError, match="step_fn must return the loss"):
        step(next(batches()))


def test_a_generator_gives_the_batches():
    model, optimizer = make()
    step = gapless.elastic(limited(lambda b: loss_of(model, b["x"], b["y"])), optimizer=optimizer, model=model)
    assert len([step(batch) for batch in batches()]) == step.counts.steps == 4
    assert torch.allclose(weights(model), expected())


def test_a_compiled_model():
    model, optimizer = make()
    compiled = torch.compile(model, backend="eager")
    step = gapless.elastic(limited(lambda b: loss_of(compiled, b["x"], b["y"])), optimizer=optimizer, model=compiled)
    for batch in batches():
        step(batch)
    assert torch.allclose(weights(model), expected())


def test_ddp_reduces_once_with_the_last_piece():
    """DDP's no_sync around all pieces but the last, as a module that counts."""
    model, optimizer = make()
    synchronised = []

    class Parallel(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.module, self.sync = model, True

        def forward(self, x):
            synchronised.append(self.sync)
            return self.module(x)

        def no_sync(self):
            import contextlib

            @contextlib.contextmanager
            def without():
                self.sync = False
                try:
                    yield
                finally:
                    self.sync = True

            return without()

    parallel = Parallel()
    step = gapless.elastic(limited(lambda b: loss_of(parallel, b["x"], b["y"])), optimizer=optimizer, model=parallel)
    step(next(batches()))
    assert synchronised == [False, False, True]


def test_evaluation_with_a_metric_counts_each_sample_once():
    model, _ = make()
    seen = []

    def predict(batch):
        if len(batch["x"]) > 2:
            raise out_of_memory()
        seen.append(len(batch["x"]))
        return model(batch["x"]).detach()

    evaluate = gapless.elastic_evaluation(predict, device="cpu")
    batch = next(batches())
    pieces = evaluate(batch)
    assert sum(seen) == SAMPLES == sum(count for count, _ in pieces)
    assert torch.allclose(torch.cat([result for _, result in pieces]), model(batch["x"]).detach())


def test_an_evaluation_that_failed_has_drawn_nothing():
    """What training draws afterwards is what it draws where the pieces fitted at once."""
    def noisy(batch):
        noise = torch.rand(len(batch["x"]))
        if len(batch["x"]) > 4:
            raise out_of_memory()
        return noise

    batch = next(batches())
    torch.manual_seed(5)
    evaluate = gapless.elastic_evaluation(noisy, device="cpu")
    found = torch.cat([result for _, result in evaluate(batch)])
    after = torch.rand(3)
    torch.manual_seed(5)
    torch.testing.assert_close(found, torch.cat([torch.rand(4), torch.rand(3)]))
    torch.testing.assert_close(after, torch.rand(3))


def test_what_the_driver_lacked_is_out_of_memory_too():
    """A library's handle, a module loaded late: PyTorch raises another error, and its allocator counted none."""
    model, optimizer = make()
    tried = []

    def step_fn(batch):
        tried.append(len(batch["x"]))
        if len(batch["x"]) > 4:
            raise RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported at some other API call.")
        return loss_of(model, **batch)

    gapless.elastic(step_fn, optimizer=optimizer, model=model)(next(batches()))
    assert tried == [7, 3, 2, 2]


def test_an_interrupt_leaves_a_step_that_can_be_done_again():
    model, optimizer = make()
    calls = []

    def step_fn(batch):
        calls.append(len(batch["x"]))
        if len(calls) == 1:
            raise out_of_memory()
        if len(calls) == 3:
            raise KeyboardInterrupt
        return loss_of(model, **batch)

    step = gapless.elastic(step_fn, optimizer=optimizer, model=model)
    batch = next(batches())
    with pytest.raises(KeyboardInterrupt):
        step(batch)
    assert step.counts.steps == 0
    step(batch)
    whole, other = make()
    loss_of(whole, **batch).backward()
    other.step()
    torch.testing.assert_close(weights(model), weights(whole), rtol=1e-12, atol=1e-14)
