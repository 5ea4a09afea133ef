# SPDX-License-Identifier: Apache-2.0
"""What gapless fit does inside the program: loaders, lengths, imports, writes, arguments. No PyTorch."""

import importlib
import io
import sys
import types

from fit_recordings import MIB
from gapless.fit.inside import imports, lengths, loaders, reads, shapes, trainer, writes


class Shaped:
    dtype = "int64"

    def __init__(self, *shape):
        self.shape = shape


def test_shapes_of_batches():
    assert shapes.of({"input_ids": Shaped(4, 128), "labels": Shaped(4)}) == (4, 128)
    assert shapes.of([(Shaped(8, 3, 32, 32), Shaped(8))]) == (8, 1)
    assert shapes.of(["text", 3]) == (0, 0)


def test_lengths_of_examples():
    example = {"input_ids": [1, 2, 3], "labels": [4, 5, 6], "class": 1}
    assert lengths._length(example) == 3
    assert lengths.stretched(example, 5) == {"input_ids": [1, 2, 3, 1, 2], "labels": [4, 5, 6, 4, 5], "class": 1}
    assert lengths.shortened(example, 2) == {"input_ids": [1, 2], "labels": [4, 5], "class": 1}
    assert lengths._length((Shaped(3, 8, 8), 1)) == 0


def test_a_module_is_seen_when_it_is_imported(tmp_path, monkeypatch):
    (tmp_path / "gapless_probe.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    seen = []
    imports.when_imported("gapless_probe", lambda module: seen.append(module.value))
    assert seen == []
    import gapless_probe  # noqa: F401

    assert seen == [1]
    imports.when_imported("gapless_probe", lambda module: seen.append(2))
    assert seen == [1, 2]


class Watching:
    """What a loader asks the observer."""

    def __init__(self, *sizes):
        self.plan, self.facts = {"sizes": list(sizes), "steps": 2}, {"trainer": False, "lengths": None}
        self.steps, self.planned, self.backwards, self.accumulation, self.evaluated_at, self.done = 0, 20, 0, None, None, False

    def evaluating(self):
        return False

    def saw_batch(self, samples, width, evaluation):
        pass

    def trained(self):
        self.steps, self.backwards, self.accumulation = self.steps + 1, self.backwards + 1, 1


def loader(examples=10, size=4, kind=0):
    batches = [list(range(first, min(first + size, examples))) for first in range(0, examples, size)]

    class Loader:
        dataset, batch_size, _dataset_kind = [float(number) for number in range(examples)], size, kind
        batch_sampler, collate_fn = batches, staticmethod(list)

        def __iter__(self):
            return iter(["own", "batches"])

    return Loader


def test_a_pass_before_training_ends_and_takes_no_part_in_the_plan():
    kind, watching = loader(), Watching("own", 2, 3)
    loaders._install(kind, watching)
    assert sum(len(batch) for batch in kind()) == 10
    sizes = []
    for batch in kind():
        watching.trained()
        sizes.append(len(batch))
        if len(sizes) == 8:
            break
    # The data set's end is none for a pass of training.
    assert sizes == [4, 2, 3, 4, 4, 4, 4, 4]


def test_a_batch_larger_than_the_data_set_is_filled():
    kind, watching = loader(), Watching(25, 25)
    loaders._install(kind, watching)
    given = iter(kind())
    assert [len(next(given)), len(next(given))] == [25, 25]


def test_data_that_is_iterated_over_comes_from_its_own_loader():
    kind = loader(kind=1)
    loaders._install(kind, Watching("own", 2))
    assert list(kind()) == ["own", "batches"]


def test_nothing_is_saved_but_copies_are_made(tmp_path):
    def save(thing, file):
        (file.write if hasattr(file, "write") else (tmp_path / file).write_text)(b"new" if hasattr(file, "write") else "new")

    torch = types.SimpleNamespace(save=save, serialization=types.SimpleNamespace(save=save))
    best, buffer = tmp_path / "best.pt", io.BytesIO()
    best.write_text("of a real run")
    writes.install(torch)
    torch.save({}, best)
    torch.serialization.save({}, str(best))
    with open(best, "ab") as file:
        torch.save({}, file)
    assert best.read_text() == "of a real run"
    torch.save({}, buffer)
    assert buffer.getvalue() == b"new"

    class Model:
        def save_pretrained(self, folder):
            raise OSError(folder)

    writes._silence(types.SimpleNamespace(Model=Model), [("Model", "save_pretrained"), ("Other", "save_pretrained")])
    assert Model().save_pretrained("x") is None


def test_functions_whose_result_is_as_large_as_values_say():
    called, noted = [], []

    def functions(*names):
        return types.SimpleNamespace(**{name: lambda *args, name=name, **kwargs: called.append(name) for name in names})

    names = (*reads._SHAPES, "repeat_interleave", "bincount")
    torch = functions(*names)
    torch.Tensor, torch.nn = functions(*names), types.SimpleNamespace(functional=functions("one_hot"))
    reads._shapes(torch, types.SimpleNamespace(note=lambda tensor, what, shape: noted.append(what)), lambda value: value == "on the device")
    there = "on the device"
    torch.nonzero(there)
    torch.nonzero(input=there)
    torch.bincount(input=there)
    torch.repeat_interleave(input=there, repeats=there)
    torch.repeat_interleave(there)
    torch.repeat_interleave(repeats=there)
    torch.nn.functional.one_hot(tensor=there)
    torch.Tensor.unique(there)
    assert noted == called == ["nonzero"] * 2 + ["bincount"] + ["repeat_interleave"] * 3 + ["one_hot", "unique"]
    torch.repeat_interleave(there, 2, dim=0)
    torch.repeat_interleave(input=there, repeats=2)
    torch.repeat_interleave(there, there, output_size=7)
    torch.bincount(input=there, minlength=5)
    torch.nn.functional.one_hot(there, 5)
    torch.nonzero("on the host")
    assert len(noted) == 8
    assert len(called) == 14


def test_an_answer_is_as_much_as_its_kind_of_number_holds():
    class Kind:
        is_floating_point = is_complex = False

        def __init__(self, most):
            self.most = most

    class Tensor:
        def __init__(self, dtype, device="cuda"):
            self.dtype, self.device = dtype, types.SimpleNamespace(type=device)

        def cpu(self):
            return Tensor(self.dtype, "cpu")

    torch = types.SimpleNamespace(Tensor=Tensor, bool=Kind(None), iinfo=lambda dtype: types.SimpleNamespace(max=dtype.most),
                                  full_like=lambda result, value: value, compiler=types.SimpleNamespace(is_compiling=lambda: False))
    reads._copied(torch, types.SimpleNamespace(note=lambda *_: None), lambda value: value.device.type == "cuda", "cpu", 4096)
    assert [Tensor(dtype).cpu() for dtype in (Kind(255), Kind(127), Kind(2**63 - 1), torch.bool)] == [255, 127, 4096, 4096]


def test_arguments_keep_their_kinds():
    class Arguments:
        def to_dict(self):
            return {"gradient_checkpointing_kwargs": {"use_reentrant": False}, "fsdp": ["full_shard"], "hub_token": "secret", "lr": 1e-4,
                    "kind": MIB.__class__}

    assert trainer._plain(Arguments()) == {"gradient_checkpointing_kwargs": {"use_reentrant": False}, "fsdp": ["full_shard"], "lr": 1e-4,
                                           "kind": "<class 'int'>"}


def test_what_belongs_to_models_is_found_again_without_looking_everywhere(monkeypatch):
    class Parameter:
        pass

    class Module:
        def __init__(self):
            self._parameters = {"weight": Parameter()}

    class Linear(Module):
        pass

    torch = types.SimpleNamespace(nn=types.SimpleNamespace(Parameter=Parameter, Module=Module, Linear=Linear))
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.delitem(sys.modules, "gapless.fit.inside.owners", raising=False)
    owners = importlib.import_module("gapless.fit.inside.owners")
    monkeypatch.delitem(sys.modules, "gapless.fit.inside.owners")
    things, first, alone = owners.Things(), Linear(), Parameter()
    looks = []
    objects = owners.gc.get_objects
    monkeypatch.setattr(owners, "gc", types.SimpleNamespace(get_objects=lambda: looks.append(1) or objects()))
    things.look()
    assert {id(thing) for _, thing in things} == {id(first), id(first._parameters["weight"]), id(alone)}
    assert [kind for kind, thing in things if thing is first] == [owners._LINEAR]
    first._parameters["weight"], second = Parameter(), Module()
    # What has taken a parameter's place is known by its module; the old one is gone. A module of its own is found when it is looked for.
    things.look()
    assert {id(thing) for _, thing in things} == {id(first), id(first._parameters["weight"]), id(alone), id(second), id(second._parameters["weight"])}
    first._parameters["weight"], third = Parameter(), Module()
    things.look()
    assert len(looks) == 2
    assert {id(thing) for _, thing in things} == {id(first), id(first._parameters["weight"]), id(alone), id(second), id(second._parameters["weight"])}
    things.look()
    assert len(looks) == 3
    assert id(third) in {id(thing) for _, thing in things}
