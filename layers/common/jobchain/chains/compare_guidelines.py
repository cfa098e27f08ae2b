"""Compares two guidelines: what both ask for, what only one asks for, and where they contradict each other."""

from collections.abc import Callable, Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, Field, JsonValue, StringConstraints

from jobchain.chains.chain import Chain, LongText, Prompt, Step, StepContext, fence, merge_lists
from jobchain.chains.fields import Answer, Line, Payload, Text, entries, not_blank, without_nul
from jobchain.markdown import table
from jobchain.mermaid import flowchart

_MOST = 50
# Of each kind, so that the diagram can still be read; Mermaid itself draws up to 500 arrows.
_MOST_DRAWN = 10

Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=80),
    AfterValidator(without_nul),
    AfterValidator(not_blank),
]
"""A caller's name for a text."""


class ComparePayload(Payload):
    """What the chain takes."""

    first: Text
    second: Text
    first_name: Name = "First"
    second_name: Name = "Second"


class ObligationsAnswer(Answer):
    """The answer of the steps that read one text each."""

    obligations: Annotated[list[Line], entries(0, _MOST)] = Field(description="One sentence each, in order.")


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


def _merge_obligations(parts: list[list[str]]) -> JsonValue:
    return merge_lists(parts, str)[:_MOST]


def _list_of(step: str, context: StepContext[ComparePayload]) -> str:
    return fence(step, "\n".join(f"- {obligation}" for obligation in context.outputs[step]))


def _both_lists(context: StepContext[ComparePayload]) -> str:
    return f"{_list_of('first', context)}\n\n{_list_of('second', context)}"


def _read_comparison(answer: ComparisonAnswer, context: StepContext[ComparePayload]) -> JsonValue:
    payload = context.payload
    return {
        "comparison": answer.model_dump(),
        "table": table(("", payload.first_name, payload.second_name), _rows(answer)),
        "diagram": _diagram(answer, payload),
    }


def _rows(answer: ComparisonAnswer) -> Iterator[tuple[str, str, str]]:
    """One row for each obligation; differences come first."""
    yield from ((found.explanation, found.first, found.second) for found in answer.contradictions)
    yield from ((obligation, "✓", "–") for obligation in answer.only_first)
    yield from ((obligation, "–", "✓") for obligation in answer.only_second)
    yield from ((obligation, "✓", "✓") for obligation in answer.both)


def _diagram(answer: ComparisonAnswer, payload: ComparePayload) -> str:
    """The two texts, with arrows to what each asks for."""
    nodes = [("first", payload.first_name), ("second", payload.second_name)]
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
    return flowchart(nodes, edges)


def _obligations(name: str, text: Callable[[Any], str]) -> Step:
    return Step(
        name=name,
        prompt=Prompt("compare_guidelines/obligations.md"),
        answer=ObligationsAnswer,
        write_input=lambda context: fence("document", text(context.payload)),
        read_answer=lambda answer, _context: list(answer.obligations),
        max_output_tokens=5_000,
        long=LongText(
            text=text,
            label="document",
            prompt=Prompt("compare_guidelines/obligations_part.md"),
            merge=_merge_obligations,
        ),
    )


COMPARE_GUIDELINES = Chain(
    name="compare_guidelines",
    description="Compares two guidelines: what both ask for, what only one does, and what contradicts each other.",
    payload=ComparePayload,
    steps=(
        _obligations("first", lambda payload: payload.first),
        _obligations("second", lambda payload: payload.second),
        Step(
            name="comparison",
            prompt=Prompt("compare_guidelines/comparison.md"),
            answer=ComparisonAnswer,
            write_input=_both_lists,
            read_answer=_read_comparison,
            needs=("first", "second"),
            max_output_tokens=10_000,
            show=dict,
        ),
    ),
)
