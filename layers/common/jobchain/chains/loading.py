"""Finds chains and loads them: by name, of the deployment or of an installed package, or by module and attribute."""

from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from jobchain.chains.authoring import Chain as DeclaredChain
    from jobchain.chains.chain import Chain

T = TypeVar("T")

GROUP = "jobchain.chains"
"""The group of entry points in which a package names its chains: `name = "package.module:attribute"`."""

DEPLOYMENT = "jobchain_deployment"
"""The module that says which chains a deployment runs. A build writes it: no start has to read what is installed."""


class CannotLoad(Exception):
    """A chain can't be loaded: says which, why, and what to do. A mistake of its author is the `__cause__`."""


class ChainSource(NamedTuple):
    """Where a chain is: `reference` is `package.module:attribute`, `package` the installed package that has it."""

    name: str
    reference: str
    package: str


class Deployment(NamedTuple):
    """The chains of a deployment by their names, and the name of the default one, empty for none."""

    chains: Mapping[str, ChainSource]
    default: str


def deployment() -> Deployment:
    """What this deployment runs. Where no build has written it, all chains of the installed packages.

    Raises CannotLoad if two installed packages have a chain of one name.
    """
    try:
        written: Any = import_module(DEPLOYMENT)
    except ModuleNotFoundError as error:
        if error.name != DEPLOYMENT:
            raise
        return Deployment(installed(), "")
    chains = {name: ChainSource(name, *where) for name, where in written.CHAINS.items()}
    return Deployment(chains, written.DEFAULT_CHAIN)


def installed() -> Mapping[str, ChainSource]:
    """The chains of all installed packages, by their names. Raises CannotLoad if two have a chain of one name."""
    from importlib.metadata import entry_points  # noqa: PLC0415  # no function needs it

    points = entry_points(group=GROUP)
    return by_name(ChainSource(each.name, each.value, each.dist.name if each.dist else "") for each in points)


def by_name(sources: Any) -> Mapping[str, ChainSource]:
    """The chains by their names. Raises CannotLoad if two packages have a chain of one name."""
    found: dict[str, ChainSource] = {}
    for source in sources:
        other = found.setdefault(source.name, source)
        if other != source:
            raise CannotLoad(
                f"the packages {other.package} and {source.package} both have a chain {source.name}: "
                "rename one of them, or leave one of the packages out"
            )
    return found


def load(which: str) -> "DeclaredChain":
    """The chain of a name, or of a reference `package.module:attribute`, as its author declared it.

    A name is looked up in the deployment, then in the installed packages. Raises CannotLoad.
    """
    if ":" in which:
        return _attribute(which)
    source = deployment().chains.get(which) or installed().get(which)
    if source is None:
        known = ", ".join({**deployment().chains, **installed()}) or "none"
        raise CannotLoad(f"there is no chain {which}: use one of {known}, or package.module:attribute")
    return load_source(source)


def load_module(name: str) -> "dict[str, DeclaredChain]":
    """All chains of a module, by the names of its variables. Raises CannotLoad."""
    chains = _chains_of(_tried(f"{name} can't be imported", lambda: import_module(name)))
    if not chains:
        raise CannotLoad(f"{name} has no chain: make one there with jobchain.Chain")
    return chains


def load_source(source: ChainSource) -> "DeclaredChain":
    """The chain of a package. Raises CannotLoad that names both."""
    try:
        found = _attribute(source.reference)
    except CannotLoad as error:
        raise CannotLoad(f"the chain {source.name} of the package {source.package}: {error}") from error.__cause__
    if found.name != source.name:
        raise CannotLoad(
            f"the package {source.package} calls the chain {source.reference} {source.name}, and it calls itself "
            f"{found.name}: use one name"
        )
    return found


def loaded(source: ChainSource) -> "Chain":
    """The chain as the API shows it: its steps are built when they are looked at. Raises CannotLoad."""
    declared = load_source(source)
    return _tried(f"the chain {source.name} of the package {source.package}", lambda: declared.loaded)


def compiled(source: ChainSource) -> "Chain":
    """The chain as the worker runs it. Raises CannotLoad."""
    declared = load_source(source)
    return _tried(f"the chain {source.name} of the package {source.package}", lambda: declared.compiled)


def _attribute(reference: str) -> "DeclaredChain":
    """The chain at `package.module:attribute`. Raises CannotLoad."""
    name, _, attribute = reference.partition(":")
    module = _tried(f"{name} can't be imported", lambda: import_module(name))
    found = getattr(module, attribute, None)
    chains = _chains_of(module)
    if attribute not in chains:
        known = " or ".join(f"{name}:{each}" for each in chains) or "a module with a jobchain.Chain"
        what = "there is no" if found is None else "no chain is"
        raise CannotLoad(f"{what} {reference}: use {known}")
    return chains[attribute]


def _chains_of(module: ModuleType) -> "dict[str, DeclaredChain]":
    from jobchain.chains.authoring import Chain as DeclaredChain  # noqa: PLC0415  # only where a chain is loaded

    return {name: value for name, value in vars(module).items() if isinstance(value, DeclaredChain)}


def _tried(what: str, run: Callable[[], T]) -> T:
    """What `run` gives. An author's code may raise anything: it is a CannotLoad that begins with `what`."""
    try:
        return run()
    except (Exception, SystemExit) as error:  # it belongs to another package, and is told with its name
        raise CannotLoad(f"{what}: {type(error).__name__}: {error}") from error
