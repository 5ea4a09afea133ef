# SPDX-License-Identifier: Apache-2.0
"""Runs in a process that sees the device. Which allocator it is to have is said by the caller, and checked here first."""

import gc
import os
import subprocess
import sys

import gapless
import pytest
import torch

EXPECTED = os.environ["GAPLESS_EXPECTED_ALLOCATOR"]
GIB = 1 << 30
MIB = 1 << 20


def pytest_sessionstart(session):
    torch.cuda.init()
    found = "gapless" if gapless.is_installed() else "native"
    if found != EXPECTED:
        pytest.exit(f"the allocator of this process is {found}, {EXPECTED} was expected", returncode=3)


@pytest.fixture(autouse=True)
def clean_device():
    """Each case begins with nothing live and nothing cached."""
    gc.collect()
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    torch.cuda.reset_accumulated_memory_stats()
    yield
    gc.collect()


@pytest.fixture
def on_gapless():
    return EXPECTED == "gapless"


@pytest.fixture
def child():
    """Runs Python source in a fresh process like this one (same device, same way in), returns the CompletedProcess."""

    def run(source, **environment):
        return subprocess.run([sys.executable, "-c", source], env={**os.environ, **environment}, capture_output=True, text=True,
                              timeout=300, check=False)

    return run
