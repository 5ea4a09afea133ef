# SPDX-License-Identifier: Apache-2.0
"""Python imports this at its start when its folder is in PYTHONPATH: that is how `gapless fit` gets into a program without changing
it. It loads the observer and then the sitecustomize that would have been found without it."""

import importlib
import importlib.util
import os
import pathlib
import sys

_HERE = pathlib.Path(__file__).resolve().parent


def _begin() -> None:
    package = _HERE.parents[2]
    if "gapless" not in sys.modules:
        # By its file: the folder above it need not be in sys.path, and would change the order of other imports.
        spec = importlib.util.spec_from_file_location("gapless", package / "__init__.py", submodule_search_locations=[str(package)])
        sys.modules["gapless"] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    importlib.import_module(os.environ["GAPLESS_OBSERVER"]).begin()


if os.environ.get("GAPLESS_OBSERVER"):
    try:
        _begin()
    except Exception as error:  # the program runs all the same, and gapless fit says that nothing was seen
        sys.stderr.write(f"gapless: the observer could not start: {error!r}\n")

sys.path[:] = [entry for entry in sys.path if pathlib.Path(entry or ".").resolve() != _HERE]
if "sitecustomize" in sys.modules and getattr(sys.modules["sitecustomize"], "__file__", "") == __file__:
    del sys.modules["sitecustomize"]
    try:
        importlib.import_module("sitecustomize")
    except ImportError:
        sys.modules["sitecustomize"] = sys.modules.get("sitecustomize", type(sys)("sitecustomize"))
