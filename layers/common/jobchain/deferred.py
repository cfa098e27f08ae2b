"""Has packages executed only when something asks for their content, so that a start need not wait for it.

The `__init__` of a library often imports all that the library has, of which a function uses a part. Submodules can be
imported without the package around them being executed.
"""

import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from threading import RLock
from types import ModuleType
from typing import Any

Places = Mapping[str, Mapping[str, str]]
"""Packages, each with the names that are used of it and the modules that define those."""

# Of all packages, as one may ask for another's content.
_executing = RLock()


class _Deferred(ModuleType):
    """A package that has not been executed."""

    _places: Mapping[str, str]

    def __getattr__(self, name: str) -> Any:
        # The import system and others look for names such as __wrapped__ and __warningregistry__.
        if name.startswith("__"):
            raise AttributeError(name)
        place = self._places.get(name)
        if place and hasattr(module := import_module(place), name):
            return getattr(module, name)
        if PathFinder.find_spec(f"{self.__name__}.{name}", self.__path__):
            return import_module(f"{self.__name__}.{name}")
        _execute(self)
        return getattr(self, name)


def _execute(package: ModuleType) -> None:
    spec = package.__spec__
    with _executing:
        if type(package) is not ModuleType and spec and spec.loader:
            package.__class__ = ModuleType
            spec.loader.exec_module(package)


def defer(packages: Places) -> None:
    """Defers packages, each after the one that it is a part of; what is imported already stays as it is.

    For a name that is in no place, or not there any more, the whole package is executed: that is slower, and fails as
    little as without this.
    """
    for name, places in packages.items():
        if name in sys.modules:
            continue
        parent, _, own = name.rpartition(".")
        if parent in packages and parent not in sys.modules:
            continue  # it is not installed, as where a chain's author needs no SDK
        around = import_module(parent) if parent else None
        spec = PathFinder.find_spec(name, around.__path__ if around else None)
        if spec is None:
            continue  # a version without this package has nothing to defer
        package = module_from_spec(spec)
        package.__class__ = _Deferred
        package.__dict__["_places"] = places
        sys.modules[name] = package
        if around:
            setattr(around, own, package)
