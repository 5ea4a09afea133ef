# SPDX-License-Identifier: Apache-2.0
"""Follows a training program from inside: which phase it is in, how large its batches are, when enough has been seen.

A step ends with the optimizer's. What the program is told to do differently (batch sizes, arguments, where an epoch ends) is the
plan: JSON in the file that GAPLESS_FIT_PLAN names. The result goes to the file that the plan names.
"""

import atexit
import json
import os
import pathlib
import sys
import time
import weakref

from . import imports, shapes

_observer = None


def begin() -> None:
    """At the start of Python. Nothing is imported before the program does so."""
    plan = json.loads(pathlib.Path(os.environ["GAPLESS_FIT_PLAN"]).read_text(encoding="utf-8"))
    imports.when_imported("torch", lambda module: _torch(module, plan))
    if plan.get("arguments"):
        from . import trainer

        imports.when_imported("transformers.training_args", lambda module: trainer.override(module, plan))


def _torch(_module, plan: dict) -> None:
    global _observer
    _observer = Observer(plan)
    _observer.install()


class Observer:
    """One a process. Hooks run on the program's own threads."""

    def __init__(self, plan: dict) -> None:
        self.plan = plan
        self.facts: dict = {"trainer": False, "loader": False, "evaluation_expected": None, "arguments": {}, "lengths": None}
        self.steps = 0  # of the optimizer that ended
        self.backwards = 0
        self.accumulation: int | None = None  # backward passes of the first step
        self.in_backward = 0
        self.in_evaluation = 0  # of the Trainer
        self.depth = 0
        self.evaluates = False  # the phase is evaluation
        self.evaluated_at: int | None = None  # steps done when the first evaluation was seen
        self.evaluations = 0
        self.optimizers: list = []
        self.trained: set | None = None  # ids of what they train
        self.modes: list = []  # [(model, mode)] in the order of train() and eval()
        self.done = False
        self.reads = None

    # ---- into the program

    def install(self) -> None:
        import torch
        from torch.optim import optimizer as optimizers

        from . import loaders, reads, trainer, writes
        from .recorder import Recorder

        self.recorder = Recorder()
        self.recorder.on_oom = lambda: self.finish("oom")
        torch.cuda._lazy_call(self.recorder.start)
        optimizers.register_optimizer_step_pre_hook(self._before_optimizer)
        optimizers.register_optimizer_step_post_hook(self._after_optimizer)
        self._wrap_backward(torch)
        self._wrap_train(torch)
        self._wrap_call(torch)
        self._wrap_memory(torch)
        self.reads = reads.install(self)
        loaders.install(self)
        trainer.install(self)
        writes.install(torch)
        atexit.register(self.finish, "ended")
        self.progress("started")

    def _wrap_backward(self, torch) -> None:
        run = torch.autograd.backward

        def backward(*args, **kwargs):
            self.recorder.mark("backward")
            self.in_backward += 1
            try:
                return run(*args, **kwargs)
            finally:
                self.in_backward -= 1
                self.backwards += 1
                self.recorder.mark("backward_end")

        torch.autograd.backward = backward

    def _wrap_train(self, torch) -> None:
        run = torch.nn.Module.train
        inside = False  # of a call for the modules that it has

        def train(module, mode=True):
            nonlocal inside
            if inside:
                return run(module, mode)
            inside = True
            try:
                return run(module, mode)
            finally:
                inside = False
                self.modes = [one for one in self.modes if one[0]() not in (None, module)] + [(weakref.ref(module), bool(mode))]

        torch.nn.Module.train = train

    def _trains_now(self) -> bool:
        """The last mode that was set for a model that an optimizer trains: that of a reference model says nothing."""
        for module, mode in reversed(self.modes):
            if (found := module()) is not None and self._trains(found):
                return mode
        return True

    def _wrap_call(self, torch) -> None:
        run = torch.nn.Module.__call__
        compiling = torch.compiler.is_compiling

        def call(module, *args, **kwargs):
            # Recomputing, for gradient checkpointing, is part of the backward pass.
            if self.depth or self.in_backward or self.done or compiling():
                return run(module, *args, **kwargs)
            self._before_module(module, args, kwargs)
            self.depth = 1
            try:
                return run(module, *args, **kwargs)
            finally:
                self.depth = 0

        torch.nn.Module.__call__ = call

    def _wrap_memory(self, torch) -> None:
        """Notes that the program asks how much memory there is: it may choose its sizes by that."""
        run = torch.cuda.mem_get_info

        def asked(*args, **kwargs):
            self.facts["asked_memory"] = True
            return run(*args, **kwargs)

        torch.cuda.mem_get_info = torch.cuda.memory.mem_get_info = asked

    # ---- what is seen

    def evaluating(self) -> bool:
        """Whether what runs now is evaluation, as far as that can be told before a backward pass has come or not."""
        import torch

        if self.in_evaluation or not torch.is_grad_enabled():
            return True
        return self.backwards > 0 and not self._trains_now()

    def _before_module(self, module, args, kwargs) -> None:
        import torch

        grad = torch.is_grad_enabled()
        trains = self._trains(module)
        if self.in_evaluation or (not grad and not module.training and trains):
            self.evaluates = True
            self._saw_evaluation()
            self.recorder.mark("evaluation")
        elif not trains and (self.evaluates and not grad or next(module.parameters(), None) is None):
            # A loss, a metric, a frozen network that judges: part of whatever goes on.
            return
        else:
            self.evaluates = False
            samples, width = shapes.of([args, kwargs])
            self.recorder.mark("forward", grad=grad, samples=samples, width=width, trains=trains)

    def _trains(self, module) -> bool:
        """Whether an optimizer has parameters of the module; before the first optimizer's step, whether it could."""
        if self.optimizers:
            if self.trained is None:
                self.trained = {id(p) for one in self.optimizers for group in one.param_groups for p in group["params"]}
            return any(id(parameter) in self.trained for parameter in module.parameters())
        return any(parameter.requires_grad for parameter in module.parameters())

    def saw_batch(self, samples: int, width: int, evaluation: bool) -> None:
        """A loader gives a batch."""
        self.evaluates = self.evaluates and evaluation
        self.recorder.mark("batch", samples=samples, width=width, evaluation=evaluation)

    def _saw_evaluation(self) -> None:
        if self.evaluated_at is None and self.steps > 0:
            self.evaluated_at = self.steps
        self.evaluations += 1

    def _before_optimizer(self, optimizer, args, kwargs) -> None:
        if not any(optimizer is other for other in self.optimizers):
            self.optimizers.append(optimizer)
            self.trained = None
        if self.accumulation is None:
            self.accumulation = max(1, self.backwards)
        self.recorder.look_up_owners(self.optimizers, whole=True)
        self.recorder.mark("optimizer")

    def _after_optimizer(self, optimizer, args, kwargs) -> None:
        # A GAN has two optimizers: a step of all is one of the first.
        if optimizer is not self.optimizers[0]:
            return
        self.steps += 1
        self.recorder.look_up_owners(self.optimizers, whole=False)
        self.recorder.mark("step", number=self.steps, reserved=self.recorder.reserved())
        self.progress(f"step {self.steps}")
        if self.enough():
            self.finish("enough")

    # ---- when to stop

    @property
    def planned(self) -> int:
        """Training steps before the first evaluation is forced."""
        return max(self.plan["steps"], len(self.plan["sizes"]))

    def enough(self) -> bool:
        if self.steps < self.planned:
            return False
        if self.evaluated_at is not None:
            # One more: memory that evaluation left behind meets the next step.
            return self.steps > self.evaluated_at
        if self.facts["evaluation_expected"] is False:
            return True
        # Evaluation comes every few steps in some loops, and never in others.
        return self.steps >= self.planned + self.plan["patience"]

    def progress(self, text: str) -> None:
        if path := self.plan.get("progress"):
            with open(path, "a", encoding="utf-8") as out:
                out.write(text + "\n")

    def finish(self, why: str) -> None:
        """Writes the result and ends the process, unless it is ending by itself."""
        if self.done or "torch" not in sys.modules:
            return
        from . import owners

        self.done = True
        result = {"why": why, "time": time.time(), "steps": self.steps, "accumulation": self.accumulation,
                  "evaluations": self.evaluations, "evaluated_at": self.evaluated_at, "facts": self.facts,
                  "reads": self.reads.found() if self.reads else [], "world_size": int(os.environ.get("WORLD_SIZE", "1")),
                  "environment": _environment(), "optimizers": [type(one).__name__ for one in self.optimizers], "models": owners.models(self.recorder.things, self.optimizers),
                  **self.recorder.result()}
        if why == "ended" and not result["events"]:
            return  # a launcher, or a child that did not use the device
        path = pathlib.Path(f"{self.plan['result']}.{os.getpid()}")
        temporary = path.with_name(path.name + ".part")  # the program's processes each have one
        temporary.write_text(json.dumps(result), encoding="utf-8")
        temporary.rename(path)
        if why != "ended":
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)


def _environment() -> dict:
    """What of it concerns memory, as it is now: programs set it too."""
    return {name: value for name, value in os.environ.items() if name.startswith(("PYTORCH_", "ACCELERATE_MIXED", "GAPLESS_CONF"))}
