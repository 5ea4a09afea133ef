# SPDX-License-Identifier: Apache-2.0
"""The exception that gapless raises is what each trainer takes for out of memory. The rules are those of the named sources."""

import gapless
import pytest
import torch

RULES = {
    # huggingface/accelerate utils/memory.py should_reduce_batch_size
    "accelerate": lambda e: isinstance(e, RuntimeError) and len(e.args) == 1 and " out of memory." in e.args[0],
    # pytorch-lightning pytorch/utilities/memory.py is_cuda_out_of_memory
    "lightning": lambda e: isinstance(e, RuntimeError) and len(e.args) == 1 and "CUDA" in e.args[0] and "out of memory" in e.args[0],
    # BlackHC/toma torch_cuda_memory.py
    "toma": lambda e: isinstance(e, RuntimeError) and len(e.args) == 1 and "CUDA out of memory." in e.args[0],
    # mosaicml/composer trainer.py _is_cuda_oom
    "composer": lambda e: "CUDA out of memory" in str(e) or "CUDA error: out of memory" in str(e),
    # fairseq trainer.py
    "fairseq": lambda e: "out of memory" in str(e),
    # rapidsai/crossfit memory_curve_utils.py
    "crossfit": lambda e: "out of memory" in str(e) or "out_of_memory" in str(e),
    # NeMo's OOMptimizer, Ultralytics
    "type": lambda e: type(e) is torch.cuda.OutOfMemoryError,
}


@pytest.fixture(scope="module", params=["real", "injected"])
def error(request):
    torch.zeros(1, device="cuda")
    from gapless import _device

    if request.param == "injected":
        _device.of(0).set_option("inject_oom", "[count:1]")
    size = 1 << (46 if request.param == "real" else 20)
    with pytest.raises(torch.OutOfMemoryError) as caught:
        torch.empty(size, dtype=torch.uint8, device="cuda")
    _device.of(0).set_option("inject_oom", "off")
    verdict = gapless.last_oom(0)["verdict"]
    assert (verdict == "injected") == (request.param == "injected")
    return caught.value


@pytest.mark.parametrize("trainer", RULES)
def test_rules(error, trainer):
    assert RULES[trainer](error)


def test_lightning_itself(error):
    memory = pytest.importorskip("lightning.pytorch.utilities.memory")
    assert memory.is_cuda_out_of_memory(error)
    assert memory.is_oom_error(error)


def test_accelerate_itself(error):
    memory = pytest.importorskip("accelerate.utils.memory")
    assert memory.should_reduce_batch_size(error)
