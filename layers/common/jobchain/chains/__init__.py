"""The registry: every chain that a caller can name. A chain is loaded when it is first looked up."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobchain.chains.authoring import Chain as DeclaredChain
    from jobchain.chains.chain import Chain


class Registry(Mapping[str, "Chain"]):
    """Chains by their names. Each is in a module, as its `chain`."""

    def __init__(self, modules: Mapping[str, str]) -> None:
        """`modules` are the modules' names, by the names of the chains."""
        self._modules = modules
        self._loaded: dict[str, Chain] = {}

    def __getitem__(self, name: str) -> "Chain":
        if name not in self._loaded:
            declared: DeclaredChain = import_module(self._modules[name]).chain
            self._loaded[name] = declared.loaded
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)

    def __contains__(self, name: object) -> bool:
        return name in self._modules


CHAINS: Mapping[str, "Chain"] = Registry(
    {
        "guideline_checklist": "jobchain.chains.guideline_checklist",
        "extract_actions": "jobchain.chains.extract_actions",
        "compare_guidelines": "jobchain.chains.compare_guidelines",
    }
)

if TYPE_CHECKING:
    DEFAULT_CHAIN: Chain
    """The chain of the short form of a request, `{"input_text": …}`."""


def __getattr__(name: str) -> Any:
    if name == "DEFAULT_CHAIN":
        return CHAINS["guideline_checklist"]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
