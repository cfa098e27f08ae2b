"""Jobchain: GPT chains as background jobs. What every function shares, and what the authors of chains import."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobchain.chains.author_types import (
        Checklist,
        Heading,
        Mention,
        Mermaid,
        PayloadField,
        Quote,
        SameAs,
        Table,
    )
    from jobchain.chains.authoring import Chain, check
    from jobchain.chains.fields import Line, Name, Text
    from jobchain.chains.long_texts import Long, ask_again, concatenate
    from jobchain.chains.mistakes import ChainError
    from jobchain.mermaid import flowchart

# Loaded when it is first used: a function that runs no chain does not wait for it.
_MODULES = {
    "jobchain.chains.author_types": (
        *("Checklist", "Heading", "Mention", "Mermaid", "PayloadField", "Quote", "SameAs", "Table"),
    ),
    "jobchain.chains.authoring": ("Chain", "check"),
    "jobchain.chains.fields": ("Line", "Name", "Text"),
    "jobchain.chains.long_texts": ("Long", "ask_again", "concatenate"),
    "jobchain.chains.mistakes": ("ChainError",),
    "jobchain.mermaid": ("flowchart",),
}

__all__ = [
    "Chain",
    "ChainError",
    "Checklist",
    "Heading",
    "Line",
    "Long",
    "Mention",
    "Mermaid",
    "Name",
    "PayloadField",
    "Quote",
    "SameAs",
    "Table",
    "Text",
    "ask_again",
    "check",
    "concatenate",
    "flowchart",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module  # noqa: PLC0415  # only an author's module needs it

    module = next((module for module, names in _MODULES.items() if name in names), None)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(module), name)
