# SPDX-License-Identifier: Apache-2.0
"""Starts processes on the simulated device, from outside of it."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

LIBRARIES = pathlib.Path(os.environ.get("GAPLESS_LIBRARY_DIR", ""))
SIM = os.environ.get("GAPLESS_SIM_COMMAND", "gapless-sim")
WARNING = "gapless: not installed, PyTorch's own allocator stays: "


class Device:
    """Commands on the simulated device."""

    def __init__(self, libraries=LIBRARIES):
        self.libraries = pathlib.Path(libraries)

    @property
    def preload(self):
        return self.libraries / "libgapless_preload.so"

    def run(self, command, *, preload=False, environment=None, sim=True, sim_options=(), sim_config="",
            timeout=300):
        """Runs `command`; the CompletedProcess has text. `preload`: with this folder's libgapless_preload.so, without the help
        of gapless-sim, as a user sets it. `sim_config`: what gapless-sim has no option for."""
        variables = {key: value for key, value in os.environ.items() if not key.startswith("PYTORCH_")}
        variables["GAPLESS_LIBRARY_DIR"] = str(self.libraries)
        variables.update(environment or {})
        command = [str(word) for word in command]
        if preload:
            # Set inside of the simulation, which has a preload of its own.
            command = ["env", f"GAPLESS_TEST_PRELOAD={self.preload}", "sh", "-c",
                       'LD_PRELOAD="$LD_PRELOAD:$GAPLESS_TEST_PRELOAD" exec "$@"', "sh", *command]
        if sim_config:
            command = ["sh", "-c", f'GAPLESS_SIM="$GAPLESS_SIM,{sim_config}" exec "$@"', "sh", *command]
        if sim:
            command = [SIM, *sim_options, "--", *command]
        return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=timeout, check=False)

    def python(self, source, *arguments, flags=(), **options):
        return self.run([sys.executable, *flags, "-c", source, *arguments], **options)


@pytest.fixture
def device():
    return Device()


@pytest.fixture
def copied_libraries(tmp_path):
    """A Device whose libraries are a copy, to be damaged."""
    for library in LIBRARIES.glob("libgapless*.so*"):
        shutil.copy2(library, tmp_path, follow_symlinks=True)
    return Device(tmp_path)


def warnings_of(done):
    return [line for line in done.stderr.splitlines() if line.startswith("gapless:")]
