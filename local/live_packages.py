"""The modules of folders as `make dev` runs them: copies, which a change replaces only where its chains can be used.

A function reads a module at any moment, also while its author writes it. So functions run a copy, and a changed package
is checked before it becomes the copy.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from local.chain_packages import Prepared

Check = Callable[[Sequence[str]], Mapping[str, str]]
"""Why chains can't be used, by their names, with modules in these folders."""

_Times = Mapping[Path, int]


class _Package(NamedTuple):
    """A package: the modules that its chains are in, and the names of its chains."""

    modules: tuple[Path, ...]
    chains: frozenset[str]

    def times(self) -> dict[Path, int]:
        """When each of its files was changed, in nanoseconds since 1970."""
        found = {}
        for module in self.modules:
            for path in [module, *module.rglob("*")]:
                with suppress(FileNotFoundError):  # an editor's temporary file that has just gone
                    if path.is_file() and "__pycache__" not in path.parts:
                        found[path] = path.stat().st_mtime_ns
        return found


class LivePackages:
    """The copies, in a folder of their own, each package's in a folder of its name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._staged = folder.with_name(f"{folder.name}.new")
        self._packages: dict[str, _Package] = {}
        self._taken: dict[str, _Times] = {}
        self._last: dict[str, _Times] = {}

    def put(self, prepared: Prepared) -> tuple[Path, ...]:
        """Makes the copies of the packages that are new or have other modules; the others stay. Gives all copies."""
        before, self._packages = self._packages, _packages(prepared)
        for name, package in self._packages.items():
            if before.get(name) != package:
                self._taken[name] = self._last[name] = package.times()
                _copy(package, self._folder / name)
        return tuple(
            self._folder / name / module.name for name, each in self._packages.items() for module in each.modules
        )

    def take_changes(self, check: Check) -> list[str]:
        """Replaces the copies of changed packages whose chains can be used; says what it did, and what is wrong."""
        said: list[str] = []
        for name, package in self._packages.items():
            times = package.times()
            gone = not (self._taken[name].keys() <= times.keys())
            settled, self._last[name] = times == self._last[name], times
            # While an editor saves, a file may be away for a moment.
            if times != self._taken[name] and (settled or not gone):
                self._taken[name] = times
                said += self._taken_over(name, package, check)
        return said

    def originals(self, text: str) -> str:
        """The text with the files of the packages in place of their copies."""
        for name, package in self._packages.items():
            for module in package.modules:
                for copies in (self._staged, self._folder):
                    text = text.replace(str(copies / name / module.name), str(module))
        return text

    def _taken_over(self, name: str, package: _Package, check: Check) -> list[str]:
        _copy(package, self._staged / name)
        try:
            folders = [str((self._staged if each == name else self._folder) / each) for each in self._packages]
            found = check(folders)
            faults = [f"warning: {self.originals(fault)}" for chain, fault in found.items() if chain in package.chains]
            if faults and self._works(package, check):
                return [f"{name} has changed and can't be used. The version before goes on:", *faults]
            _copy(package, self._folder / name)
            return [f"{name} has changed, and can't be used:", *faults] if faults else [f"{name} has changed: loaded."]
        finally:
            shutil.rmtree(self._staged, ignore_errors=True)

    def _works(self, package: _Package, check: Check) -> bool:
        """Whether the copy can be used."""
        faults = check([str(self._folder / each) for each in self._packages])
        return not package.chains & faults.keys()


def _packages(prepared: Prepared) -> dict[str, _Package]:
    """The packages of the modules, by their names."""
    found: dict[str, _Package] = {}
    by_stem = {module.stem: module for module in prepared.modules}
    for chain in prepared.chains.values():
        module = by_stem.get(chain.reference.partition(":")[0].partition(".")[0])
        if module:
            known = found.get(chain.package, _Package((), frozenset()))
            modules = known.modules if module in known.modules else (*known.modules, module)
            found[chain.package] = _Package(modules, known.chains | {chain.name})
    return found


def _copy(package: _Package, folder: Path) -> None:
    """Puts the modules into the folder, each at once: a function may import it at any moment."""
    folder.mkdir(parents=True, exist_ok=True)
    for module in package.modules:
        to, new, old = (folder / f"{module.name}{end}" for end in ("", ".new", ".old"))
        if module.is_dir():
            for left in (new, old):
                shutil.rmtree(left, ignore_errors=True)
            # An editor's lock is a link to nothing, such as Emacs' `.#chain.py`.
            shutil.copytree(module, new, ignore=shutil.ignore_patterns("__pycache__"), ignore_dangling_symlinks=True)
            if to.exists():
                to.rename(old)
            new.rename(to)
            shutil.rmtree(old, ignore_errors=True)
        else:
            shutil.copy2(module, new)
            new.replace(to)
