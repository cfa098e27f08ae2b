"""The registry: every chain that a caller can name."""

from collections.abc import Iterator, Mapping
from importlib import import_module

from jobchain.chains.chain import Chain
from jobchain.chains.guideline_checklist import GUIDELINE_CHECKLIST

DEFAULT_CHAIN = GUIDELINE_CHECKLIST
"""The chain of the short form of a request, `{"input_text": …}`."""

_NAMES = (DEFAULT_CHAIN.name, "extract_actions", "compare_guidelines")


class _Chains(Mapping[str, Chain]):
    """Chains by name. A chain is imported when it is first asked for: the module of its name defines it."""

    def __getitem__(self, name: str) -> Chain:
        if name not in _NAMES:
            raise KeyError(name)
        chain: Chain = getattr(import_module(f"{__name__}.{name}"), name.upper())
        return chain

    def __iter__(self) -> Iterator[str]:
        return iter(_NAMES)

    def __len__(self) -> int:
        return len(_NAMES)


CHAINS: Mapping[str, Chain] = _Chains()
"""Every chain by its name."""
