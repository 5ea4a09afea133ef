# SPDX-License-Identifier: Apache-2.0
"""The control of test_spike.py: PyTorch's own allocators die in the room in which elastic steps finish."""

import os
import pathlib
import subprocess
import sys

import pytest
from spike import SPIKE

HERE = pathlib.Path(__file__).parent
FULL = bool(os.environ.get("GAPLESS_TEST_FULL"))


@pytest.mark.parametrize("settings", ["expandable_segments:False", *(["expandable_segments:True"] if FULL else [])])
def test_the_plain_loop_ends_at_the_long_batch(settings):
    environment = {**os.environ, "PYTORCH_ALLOC_CONF": settings, "PYTORCH_CUDA_ALLOC_CONF": settings}
    command = [os.environ["GAPLESS_SIM_COMMAND"], "--", sys.executable, str(HERE / "natives_program.py")]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, timeout=500, check=True)
    assert f"allocator native, steps {SPIKE}" in done.stdout
