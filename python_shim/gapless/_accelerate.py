# SPDX-License-Identifier: Apache-2.0
"""accelerate: its decorator, with a better next size."""

import functools
import gc

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from . import _device, _oom_errors
from ._sizing import own_label

# The batch of the step that is measured where an attempt failed before anything had run. Of one sample kernels differ. Of others,
# activations may have sizes of parameters by chance, and nothing tells whether they grow. Recorded steps of twenty models after an
# attempt of 64: from 3, DistilBERT of 128 tokens (384 rows, half its width) 14 of 54 too large, Swin too small; from 2 none of 1,178
# too large. But where two samples have as many tokens as the model is wide (test_spike.py), from 2 the size was far too large.
_MEASURED = 3
# From here on a suggestion rests on a step that ran.
_SURE = 0.5


class _Measured(BaseException):
    """Ends a run that was only to be measured. Not an Exception: the function's own handlers are not meant. `size`: the batch to go
    on with; 0: the forecast has none."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


def find_executable_batch_size(function=None, starting_batch_size: int = 128, reduce_batch_size_fn=None):
    """accelerate.utils.find_executable_batch_size with a better next size: `function(batch_size, ...)` is called again after an
    out of memory, with the batch that gapless's record suggests; where it suggests none, with nine tenths, as accelerate does.
    Steps of optimizers are the steps that gapless learns from. Where memory runs out before the first of them, the function is
    called once with a batch of 3 and ended after its first step: with that and the failure the forecast knows the size to go on
    with. That step really trains: what outlives the call (a model made outside, files) has it. It is left out for functions
    without an optimizer, and where there are several ranks.
    `reduce_batch_size_fn`, if given, decides instead."""
    if function is None:
        return functools.partial(find_executable_batch_size, starting_batch_size=starting_batch_size,
                                 reduce_batch_size_fn=reduce_batch_size_fn)
    return _decorated(function, starting_batch_size, reduce_batch_size_fn)


def decorate(function=None, starting_batch_size: int = 128, reduce_batch_size_fn=None, *, original, say):
    """The same in a program that did not ask for it by name: the function is never called with a batch to measure, only again with a
    smaller one, as `original`, accelerate's, would; `say` is told which."""
    if function is None:
        return functools.partial(decorate, starting_batch_size=starting_batch_size, reduce_batch_size_fn=reduce_batch_size_fn,
                                 original=original, say=say)
    if reduce_batch_size_fn is not None:
        return original(function, starting_batch_size, reduce_batch_size_fn)  # it decides
    return _decorated(function, starting_batch_size, None, measures=False, say=say)


def _decorated(function, starting_batch_size: int, reduce_batch_size_fn, *, measures=True, say=lambda text: None):
    from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

    batch_size, label = starting_batch_size, own_label("executable")

    def attempt(device, failed, args, kwargs):
        """(True, the function's result), or (False, the error). `failed`: only to measure, for a batch below that; else 0."""
        device.mark_step(label, batch_size)

        def after_step(*_) -> None:
            device.mark_step(label, batch_size)
            if failed:
                raise _Measured(_better(device, batch_size, failed))

        hook = register_optimizer_step_post_hook(after_step)
        try:
            return True, function(batch_size, *args, **kwargs)
        except Exception as raised:
            # Of a run that is only ours, another error may be due to its batch: an accumulation larger than it, say.
            if not should_reduce_batch_size(raised) and not failed:
                raise
            return False, raised
        except _Measured as raised:
            return False, raised
        finally:
            hook.remove()

    @functools.wraps(function)
    def decorated(*args, **kwargs):
        nonlocal batch_size
        failed, may_measure = 0, reduce_batch_size_fn is None
        while True:
            if batch_size == 0:
                raise RuntimeError("No executable batch size found, reached zero.")
            device = _device.of(torch.cuda.current_device()) if torch.cuda.is_available() else _device.NoDevice()
            before = device.last_oom()
            sequence = before["sequence"] if before else 0
            done, result = attempt(device, failed, args, kwargs)
            if done:
                return result
            measured = failed and not should_reduce_batch_size(result)
            size = result.size if isinstance(result, _Measured) else 0
            record = device.last_oom()
            said = record["suggestion"] if record and record["sequence"] > sequence else None
            sure = said and said["units"] and said["confidence"] >= _SURE
            # Asked while the attempt's objects are there: its optimizer is one of them.
            measure = measures and may_measure and said and not sure and batch_size > 2 * _MEASURED and _trains()
            _oom_errors.let_go(result)
            result = None
            clear_device_cache(garbage_collection=True)
            if measured:
                batch_size, failed = size or int(failed * 0.9), 0
                continue
            if measure:
                batch_size, failed, may_measure = _MEASURED, batch_size, False
                continue
            failed = 0
            before_it = batch_size
            if reduce_batch_size_fn is not None:
                batch_size = reduce_batch_size_fn()
            elif sure:
                batch_size = min(said["units"], batch_size - 1)
            else:
                batch_size = min(said["units"] if said and said["units"] else batch_size, int(batch_size * 0.9))
            say(f"find_executable_batch_size: {before_it} ran out of memory; {batch_size} next")

    return decorated


def _better(device, batch_size: int, failed: int) -> int:
    """A batch that the forecast prefers to the one measured, below one that failed; 0: none."""
    prediction = device.forecast(failed)
    if prediction is None or prediction.suggestion.confidence < _SURE:
        return 0
    units = min(prediction.suggestion.units, failed - 1)
    return units if units > batch_size else 0


def _trains() -> bool:
    """Whether there is an optimizer whose step would have come. Of one process: several would have to agree."""
    dist = torch.distributed
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        return False
    # By type: isinstance would ask proxies of what has gone.
    return any(issubclass(type(one), torch.optim.Optimizer) for one in gc.get_objects())
