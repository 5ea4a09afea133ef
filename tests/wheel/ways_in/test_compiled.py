# SPDX-License-Identifier: Apache-2.0
"""The library compiled on the user's machine, by the real compiler for the real PyTorch: with install(), and with `gapless run`.

Compiling takes a minute or two of one processor, so this is left to tests/run --full.
"""

import os
import shutil
import sys

import pytest
from conftest import WARNING, warnings_of

pytestmark = pytest.mark.skipif(not os.environ.get("GAPLESS_TEST_FULL"), reason="left to tests/run --full")

USE = """
import gapless, torch
tensor = torch.ones(1000, device='cuda')
print(gapless.is_installed(), torch.cuda.memory_allocated(), len(torch.cuda.memory_stats()))
"""


@pytest.fixture
def bare(copied_libraries, tmp_path_factory):
    """A Device without a library for any PyTorch, and a cache of its own."""
    for file in copied_libraries.libraries.glob("libgapless_torch*"):
        file.unlink()
    compiler = "ccache g++" if shutil.which("ccache") else "g++"
    copied_libraries.own = {"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache")), "CXX": compiler,
                            "CCACHE_DIR": os.environ.get("CCACHE_DIR", os.path.expanduser("~/.cache/ccache"))}
    return copied_libraries


def test_it_is_compiled_at_the_first_use(bare):
    first = bare.python("import gapless; gapless.install(strict=True)" + USE, environment=bare.own, timeout=1500)
    assert (first.returncode, first.stdout.split()) == (0, ["True", "4096", "122"]), first.stderr
    assert ["compil" in line for line in warnings_of(first)] == [True, True]

    again = bare.python("import gapless; gapless.install(strict=True)" + USE, environment=bare.own)
    assert (again.returncode, warnings_of(again)) == (0, []), again.stderr

    # The preload does not compile; `gapless run` does, and tells it.
    alone = bare.python("import torch; torch.ones(1, device='cuda')", preload=True, environment=bare.own)
    assert [WARNING in line and "there is no" in line for line in warnings_of(alone)] == [True]
    run = bare.run([sys.executable, "-m", "gapless", "run", "--", sys.executable, "-c", USE], environment=bare.own)
    assert (run.returncode, run.stdout.split(), warnings_of(run)) == (0, ["True", "4096", "122"], []), run.stderr
