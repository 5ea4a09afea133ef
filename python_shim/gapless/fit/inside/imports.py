# SPDX-License-Identifier: Apache-2.0
"""Calls at the moment a module has been imported, whenever the program does so."""

import importlib.abc
import sys


class _Loader(importlib.abc.Loader):
    def __init__(self, loader, then) -> None:
        self._loader, self._then = loader, then

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        self._loader.exec_module(module)
        self._then(module)

    def __getattr__(self, name):
        return getattr(self._loader, name)


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self) -> None:
        self.wanted: dict[str, list] = {}  # what to call, in this order

    def find_spec(self, name, path, target=None):
        if name not in self.wanted:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if spec.loader is not None:
                    # Who only asks where it is does not import it.
                    spec.loader = _Loader(spec.loader, lambda module: [one(module) for one in self.wanted.pop(name, ())])
                return spec
        return None


_finder = _Finder()


def when_imported(name: str, then) -> None:
    """`then(module)` once `name` has been imported; at once if it is there already."""
    if name in sys.modules:
        then(sys.modules[name])
        return
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    _finder.wanted.setdefault(name, []).append(then)
