# SPDX-License-Identifier: Apache-2.0
"""Trainers that survive running out of memory in programs that say nothing of it: `gapless run --elastic`, or GAPLESS_ELASTIC=1.

Nothing is imported before the program does so. What cannot be cut safely stays as it is, and a line says why.
"""

import functools
import os
import sys

from .fit.inside import imports

KEY = "GAPLESS_ELASTIC"
ENTRY = "gapless._automatic"
_LIGHTNING = ("lightning.pytorch", "pytorch_lightning")
_said: set[str] = set()
_begun = False


def wanted(environment=os.environ) -> bool:
    # Another observer (gapless fit) must see what does not fit.
    another = environment.get("GAPLESS_OBSERVER") not in (None, "", ENTRY)
    return not another and environment.get(KEY, "0").lower() not in ("", "0", "false", "off", "no")


def begin() -> None:
    """At the start of Python, or from gapless.install(). Trainers that were imported before are changed at once. May be called again."""
    global _begun
    if _begun or (KEY in os.environ and not wanted()):
        return
    _begun = True
    imports.when_imported("transformers.trainer", _guarded(_transformers))
    imports.when_imported("accelerate.utils.memory", _guarded(_accelerate))
    for name in _LIGHTNING:
        imports.when_imported(f"{name}.trainer.trainer", _guarded(_lightning))


def _say(text: str) -> None:
    """Once a process; loaders' workers and later trainers of a kind say nothing new."""
    if text not in _said:
        _said.add(text)
        print(f"gapless: {text}", file=sys.stderr, flush=True)


def _guarded(change):
    """An import that fails because of us would be worse than a trainer without us."""

    def then(module) -> None:
        try:
            change(module)
        except Exception as error:
            _say(f"{module.__name__} stays as it is, it is not what was expected: {error!r}")

    return then


def _before(kind, names, attach) -> None:
    """`attach(trainer, *arguments)` before the methods of a class; an error of it is told and forgotten."""
    for name in names:
        original = getattr(kind, name)

        def method(self, *args, _original=original, **kwargs):
            if getattr(self, "gapless", None) is None and not getattr(self, "_gapless_left", False):
                self._gapless_left = True  # one try a trainer
                try:
                    attach(self, *args, **kwargs)
                except Exception as error:
                    _say(f"{type(self).__name__} stays as it is: {error!r}")
            return _original(self, *args, **kwargs)

        setattr(kind, name, functools.wraps(original)(method))


# ---- transformers


def _transformers(module) -> None:
    _before(module.Trainer, ("train", "evaluate", "predict"), lambda trainer, *_, **__: _attach_transformers(module.Trainer, trainer))


def _attach_transformers(kind, trainer) -> None:
    from ._huggingface import _TrainerSteps, refusal

    name = f"transformers' {type(trainer).__name__}"
    why = refusal(trainer)
    if why is None and _own(trainer, kind, "training_step"):
        why = "it has a training_step of its own; gapless.elastic_trainer(trainer) in the program says that it may be called for parts"
    if why is not None:
        return _say(f"{name} stays as it is: {why}")
    # Outputs of another kind than the Trainer's may not be joined sample by sample.
    evaluation = not _own(trainer, kind, "prediction_step")
    _TrainerSteps(trainer, None, None, evaluation=evaluation)
    _say(f"{name}: a batch that does not fit is done in smaller pieces; batch size, schedule and step count stay ({KEY})"
         + ("" if evaluation else "; its evaluation stays as it is, it has a prediction_step of its own"))


def _own(trainer, kind, name: str) -> bool:
    """Whether the method is not the library's."""
    return getattr(getattr(trainer, name), "__func__", None) is not getattr(kind, name)


# ---- accelerate


def _accelerate(module) -> None:
    from . import _accelerate as ours

    original = module.find_executable_batch_size
    replaced = functools.wraps(original)(functools.partial(ours.decorate, original=original, say=_say))
    # What was imported from it by name, by accelerate itself.
    for name in ("accelerate.utils.memory", "accelerate.utils", "accelerate"):
        one = sys.modules.get(name)
        if one is not None and getattr(one, "find_executable_batch_size", None) is original:
            one.find_executable_batch_size = replaced


# ---- Lightning


def _lightning(module) -> None:
    _before(module.Trainer, ("fit", "validate", "test", "predict"), _attach_lightning)


def _attach_lightning(trainer, model=None, *_, **__) -> None:
    from ._lightning import LightningSteps, Measured, refusal

    name = f"Lightning's {type(trainer).__name__}"
    why = refusal(trainer)
    if why is not None:
        return _say(f"{name} stays as it is: {why}")
    LightningSteps(trainer, Measured, None)
    if getattr(model, "automatic_optimization", True) is False:
        return _say(f"{name}: its training stays as it is, the module optimizes by hand; evaluation batches are cut where they do not fit ({KEY})")
    _say(f"{name}: a batch that does not fit is done in smaller pieces where the loss is measured to be a mean or a sum over "
         f"its samples; batch size, schedule and step count stay ({KEY})")
