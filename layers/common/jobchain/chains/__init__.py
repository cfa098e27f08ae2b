"""The registry: every chain that a caller can name. A chain is loaded when it is first looked up."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING

from jobchain.chains.loading import CannotLoad, ChainSource, Deployment, compiled, deployment, loaded

if TYPE_CHECKING:
    from jobchain.chains.chain import Chain


class Unusable(KeyError):
    """The deployment has a chain of this name that can't be used, and the error says why. `get` gives None for it."""

    def __str__(self) -> str:
        return str(self.args[0])


class Registry(Mapping[str, "Chain"]):
    """Chains by their names. One that can't be loaded is in the registry, and is told with its reason."""

    def __init__(self, find: Callable[[], Deployment]) -> None:
        """`find` is called at the first look: it may have to read what is installed, and may raise CannotLoad."""
        self._find = find
        self._loaded: dict[str, Chain] = {}
        self._faults: dict[str, str] = {}

    def __getitem__(self, name: str) -> "Chain":
        if name not in self._loaded:
            self._loaded[name] = self._tried(loaded, name)
        return self._loaded[name]

    def _tried(self, load: "Callable[[ChainSource], Chain]", name: str) -> "Chain":
        if name in self._faults:
            raise Unusable(self._faults[name])
        try:
            return load(self._sources[name])
        except CannotLoad as error:
            self._faults[name] = str(error)
            raise Unusable(str(error)) from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)

    def __contains__(self, name: object) -> bool:
        return name in self._sources

    def compiled(self) -> "dict[str, Chain]":
        """All chains that can be used, with their steps built; `faults` says why others can't."""
        found = {}
        for name in self:
            with suppress(Unusable):
                found[name] = self._tried(compiled, name)
        return found

    @cached_property
    def _deployment(self) -> Deployment:
        return self._find()

    @property
    def _sources(self) -> Mapping[str, ChainSource]:
        return self._deployment.chains

    @property
    def default(self) -> str:
        """The name of the chain of the short form of a request, `{"input_text": …}`; empty for none."""
        return self._deployment.default

    @property
    def faults(self) -> Mapping[str, str]:
        """Why chains can't be loaded, by their names, as far as any was looked up."""
        return self._faults


CHAINS = Registry(deployment)
