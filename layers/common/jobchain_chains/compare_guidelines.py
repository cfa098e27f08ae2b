"""Compares two guidelines: what both ask for, what only one does, and what contradicts each other."""

from collections.abc import Iterator
from typing import Annotated, Any, TypedDict

from pydantic import AfterValidator, Field, StringConstraints

from jobchain.chains.author_types import Mermaid, PayloadField, SameAs, Table
from jobchain.chains.authoring import Chain
from jobchain.chains.chain import merge_lists
from jobchain.chains.fields import Answer, Line, Text, entries, not_blank, without_nul
from jobchain.chains.long_texts import Long
from jobchain.mermaid import flowchart

_PROMPTS = "prompts/compare_guidelines"
_MOST = 50
# Of each kind, so that the diagram can still be read; Mermaid itself draws up to 500 arrows.
_MOST_DRAWN = 10

TextName = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=80),
    AfterValidator(without_nul),
    AfterValidator(not_blank),
]
"""A caller's name for a text."""

Obligations = Annotated[list[Line], entries(0, _MOST), Field(description="One sentence each, in order.")]


class Contradiction(Answer):
    """Two obligations that can't both be kept."""

    first: Line = Field(description="The obligation of the first list.")
    second: Line = Field(description="The obligation of the second list.")
    explanation: Line = Field(description="Why both can't be kept, in one sentence.")


class ComparisonAnswer(Answer):
    """The comparison step's answer."""

    both: Annotated[list[Line], entries(0, _MOST)] = Field(description="What both lists ask for.")
    only_first: Annotated[list[Line], entries(0, _MOST)] = Field(description="What only the first list asks for.")
    only_second: Annotated[list[Line], entries(0, _MOST)] = Field(description="What only the second list asks for.")
    contradictions: Annotated[list[Contradiction], entries(0, _MOST)]


class Compared(TypedDict):
    """The comparison, as it is stored and in the result."""

    comparison: Annotated[ComparisonAnswer, SameAs("table")]
    table: Table
    diagram: Mermaid


chain = Chain("compare_guidelines", effort="low")


def _merge(parts: list[list[str]]) -> list[str]:
    return merge_lists(parts, str)[:_MOST]


_read = chain.ask(
    prompt=f"{_PROMPTS}/obligations.md",
    max_output_tokens=5_000,
    long=Long(part=f"{_PROMPTS}/obligations_part.md", merge=_merge),
)


@_read
def first(document: Annotated[Text, PayloadField("first")]) -> Obligations:
    """What the first guideline asks for."""


@_read
def second(document: Annotated[Text, PayloadField("second")]) -> Obligations:
    """What the second guideline asks for."""


def _first(first: list[Line], first_name: TextName = "First") -> str:
    return _named(first_name, first)


def _second(second: list[Line], second_name: TextName = "Second") -> str:
    return _named(second_name, second)


def _named(name: str, obligations: list[str]) -> str:
    return "\n".join([f"# {name}", "", *(f"- {each}" for each in obligations)]) if obligations else ""


def _then(answer: ComparisonAnswer, first_name: TextName = "First", second_name: TextName = "Second") -> Compared:
    return {
        "comparison": answer,
        "table": Table.of(("", first_name, second_name), _rows(answer)),
        "diagram": Mermaid(_diagram(answer, first_name, second_name)),
    }


def _show(compared: Any) -> Compared:
    return {"comparison": compared["comparison"], "table": compared["table"], "diagram": compared["diagram"]}


@chain.ask(
    prompt=f"{_PROMPTS}/comparison.md",
    max_output_tokens=10_000,
    material={"first": _first, "second": _second},
    then=_then,
    show=_show,
)
def comparison(first: list[Line], second: list[Line]) -> ComparisonAnswer:
    """What both ask for, what one does, and what contradicts each other."""


def _rows(answer: ComparisonAnswer) -> Iterator[tuple[str, str, str]]:
    """One row for each obligation; differences come first."""
    yield from ((found.explanation, found.first, found.second) for found in answer.contradictions)
    yield from ((obligation, "✓", "–") for obligation in answer.only_first)
    yield from ((obligation, "–", "✓") for obligation in answer.only_second)
    yield from ((obligation, "✓", "✓") for obligation in answer.both)


def _diagram(answer: ComparisonAnswer, first_name: str, second_name: str) -> str:
    """The two texts, with arrows to what each asks for."""
    nodes = [("first", first_name), ("second", second_name)]
    edges: list[tuple[str, str, str]] = []

    def draw(kind: str, obligations: list[str], *texts: str) -> None:
        hidden = len(obligations) - _MOST_DRAWN
        labels = [*obligations[:_MOST_DRAWN], *([f"… (+{hidden})"] if hidden > 0 else [])]
        nodes.extend((f"{kind} {number}", label) for number, label in enumerate(labels))
        edges.extend((text, f"{kind} {number}", "") for number in range(len(labels)) for text in texts)

    draw("both", answer.both, "first", "second")
    draw("only first", answer.only_first, "first")
    draw("only second", answer.only_second, "second")
    draw("its", [found.first for found in answer.contradictions], "first")
    draw("theirs", [found.second for found in answer.contradictions], "second")
    drawn = min(len(answer.contradictions), _MOST_DRAWN)
    edges.extend((f"its {number}", f"theirs {number}", "≠") for number in range(drawn))
    # Up to forty boxes are side by side: from the top down, none of them could be read.
    return flowchart(nodes, edges, direction="LR")
