"""The registry: every chain that a caller can name. A chain is loaded when it is first looked up."""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from jobchain.chains.loading import CannotLoad, ChainSource, Deployment, compiled, deployment

if TYPE_CHECKING:
    from jobchain.chains.chain import Chain


class Unusable(KeyError):  # as the other errors here
    """The deployment has a chain of this name that can't be loaded, for this `reason`. So `get` gives None for it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Registry(Mapping[str, "Chain"]):
    """Chains by their names. One that can't be loaded is in the registry, and is told with its reason."""

    def __init__(self, find: Callable[[], Deployment]) -> None:
        """`find` is called at the first look: it may have to read what is installed, and may raise CannotLoad."""
        self._find = find
        self._loaded: dict[str, Chain] = {}
        self._faults: dict[str, str] = {}

    def __getitem__(self, name: str) -> "Chain":
        if name in self._faults:
            raise Unusable(self._faults[name])
        if name not in self._loaded:
            try:
                self._loaded[name] = compiled(self._sources[name])
            except CannotLoad as error:
                self._faults[name] = str(error)
                raise Unusable(str(error)) from error
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)

    def __contains__(self, name: object) -> bool:
        return name in self._sources

    def usable(self) -> "dict[str, Chain]":
        """All chains that can be loaded; `faults` says why others can't."""
        return {name: chain for name in self if (chain := self.get(name)) is not None}

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
