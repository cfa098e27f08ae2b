"""Summarizes a guideline, makes a checklist of it and a diagram of that."""

from typing import Annotated, Any, Literal, TypedDict

from pydantic import Field

from jobchain.chains.author_types import Checklist, Heading, Mermaid, PayloadField, Quote, SameAs
from jobchain.chains.authoring import Chain
from jobchain.chains.chain import merge_lists
from jobchain.chains.fields import Answer, Line, Text, entries
from jobchain.chains.long_texts import Long

_PROMPTS = "prompts/guideline_checklist"
_MOST_ITEMS = 50
_STRENGTH = {"must": 0, "should": 1, "may": 2}

Guideline = Annotated[Text, PayloadField("guidelines")]


class ChecklistItem(Answer):
    """A thing to do. The source comes first, so that the item is made of it and not the other way round."""

    source: Quote = Field(description="The sentence of the document that asks for it, word for word.")
    text: Line = Field(description="One sentence that says what to do.")
    category: Heading = Field(description="What it is about, in one to three words.")
    priority: Literal["must", "should", "may"] = Field(description="How strictly the document asks for it.")


class ShownChecklist(TypedDict):
    """The checklist in the result: the texts alone, and the items."""

    checklist: Annotated[list[Line], SameAs("checklist_items")]
    checklist_items: Checklist[ChecklistItem]


Items = Annotated[list[ChecklistItem], entries(1, _MOST_ITEMS), Field(description="In the document's order.")]

chain = Chain("guideline_checklist", effort="low")


@chain.ask(
    prompt=f"{_PROMPTS}/summary.md",
    max_output_tokens=3_000,
    long=Long(part=f"{_PROMPTS}/summary_part.md", merge=f"{_PROMPTS}/summary_merge.md"),
)
def summary(document: Guideline) -> Annotated[str, Field(description="The summary, in plain sentences.")]:
    """What the guideline asks for, in short."""


def _merge(parts: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The items of all parts in order; of more than `_MOST_ITEMS`, the strictest ones."""
    items = merge_lists(parts, lambda item: item["text"])
    strictest = sorted(range(len(items)), key=lambda place: _STRENGTH[items[place]["priority"]])[:_MOST_ITEMS]
    return [items[place] for place in sorted(strictest)]


def _show(items: list[Any]) -> ShownChecklist:
    """The items by category, in the order in which these first appear, and the strictest of each first."""
    places = {category: place for place, category in enumerate(dict.fromkeys(item["category"] for item in items))}
    ordered = sorted(items, key=lambda item: (places[item["category"]], _STRENGTH[item["priority"]]))
    return {"checklist": [item["text"] for item in ordered], "checklist_items": ordered}


@chain.ask(
    prompt=f"{_PROMPTS}/checklist.md",
    max_output_tokens=10_000,
    show=_show,
    long=Long(part=f"{_PROMPTS}/checklist_part.md", merge=_merge, shared=(), max_output_tokens=8_000),
)
def checklist(document: Guideline, summary: str) -> Items:
    """What the guideline asks for, item by item."""


def _grouped(checklist: list[ChecklistItem], summary: str) -> str:
    """The items under their categories, in the order in which these first appear."""
    groups: dict[str, list[str]] = {}
    for item in checklist:
        groups.setdefault(item.category, []).append(f"- {item.text}")
    if not groups:  # The text asks for nothing: the diagram shows its summary.
        return f"- {summary}"
    return "\n\n".join("\n".join([f"## {name}", *items]) for name, items in groups.items())


@chain.ask(prompt=f"{_PROMPTS}/diagram.md", max_output_tokens=6_000, material={"checklist": _grouped})
def diagram(checklist: list[ChecklistItem]) -> Mermaid:
    """The checklist as a flowchart."""
