# SPDX-License-Identifier: Apache-2.0
"""transformers: arguments that the plan replaces, and evaluation when enough training has been seen."""

import functools

from . import imports


def override(module, plan: dict) -> None:
    """TrainingArguments takes what the plan says instead of what the program says."""
    kind = module.TrainingArguments
    original = kind.__post_init__
    changed = plan.get("arguments") or {}

    @functools.wraps(original)
    def post_init(self):
        # Here and not in __init__: classes derived from it (SFTConfig) have an __init__ of their own.
        for name, value in changed.items():
            setattr(self, name, value)
        original(self)

    kind.__post_init__ = post_init


def install(observer) -> None:
    imports.when_imported("transformers.trainer", lambda module: _install(module, observer))


def _install(module, observer) -> None:
    trainer_type = module.Trainer
    train, evaluation_loop, init = trainer_type.train, trainer_type.evaluation_loop, trainer_type.__init__

    @functools.wraps(init)
    def begin(self, *args, **kwargs):
        init(self, *args, **kwargs)
        self.add_callback(_callback(module, observer, self))

    @functools.wraps(train)
    def start(self, *args, **kwargs):
        arguments = self.args
        observer.facts |= {
            "trainer": True, "batch": arguments.per_device_train_batch_size, "loader": True,
            "evaluation_batch": arguments.per_device_eval_batch_size,
            "evaluation_expected": self.eval_dataset is not None and str(arguments.eval_strategy) not in ("no", "IntervalStrategy.NO"),
            "arguments": _plain(arguments)}
        if observer.plan.get("stop_at_arguments"):
            observer.finish("arguments")
        # Epochs of a small data set may be over before enough has been seen, or go on long after.
        arguments.max_steps = observer.planned + observer.plan["patience"]
        # What it writes at its end is no business of ours.
        arguments.save_strategy = type(arguments.save_strategy)("no")
        return train(self, *args, **kwargs)

    @functools.wraps(evaluation_loop)
    def evaluate(self, *args, **kwargs):
        observer.in_evaluation += 1
        try:
            return evaluation_loop(self, *args, **kwargs)
        finally:
            observer.in_evaluation -= 1

    trainer_type.__init__, trainer_type.train, trainer_type.evaluation_loop = begin, start, evaluate


def _plain(arguments) -> dict:
    """The arguments as JSON would hold them."""
    return {name: _as_json(value) for name, value in arguments.to_dict().items() if not name.endswith("_token")}


def _as_json(value):
    if isinstance(value, (str, int, float, bool, type(None))):
        return value
    if isinstance(value, dict):
        return {str(key): _as_json(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_json(one) for one in value]
    return str(value)


def _callback(module, observer, trainer):
    class Evaluation(module.TrainerCallback):
        """Asks for an evaluation once the planned steps are done."""

        def on_step_end(self, args, state, control, **kwargs):
            if observer.facts["evaluation_expected"] and observer.evaluated_at is None and observer.steps >= observer.planned:
                control.should_evaluate = True
            return control

    return Evaluation()
