"""Turns a guideline into a summary, a checklist with its sources, and a diagram of the checklist."""

from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue

from jobchain.chains.chain import Chain, LongText, Prompt, Step, StepContext, fence, merge_lists
from jobchain.chains.fields import Answer, Filled, Line, Name, Payload, Text, entries
from jobchain.chains.quotes import original
from jobchain.mermaid import flowchart

_MOST_ITEMS = 50
_STRENGTH = {"must": 0, "should": 1, "may": 2}


class GuidelinePayload(Payload):
    """What the chain takes."""

    guidelines: Text


class SummaryAnswer(Answer):
    """The summary step's answer."""

    summary: Filled = Field(description="The summary, in plain sentences.")


class ChecklistItem(Answer):
    """A thing to do. The source comes first, so that the item is made of it and not the other way round."""

    source: Filled = Field(description="The sentence of the document that asks for it, word for word.")
    text: Line = Field(description="One sentence that says what to do.")
    category: Name = Field(description="What it is about, in one to three words.")
    priority: Literal["must", "should", "may"] = Field(description="How strictly the document asks for it.")


class ChecklistAnswer(Answer):
    """The checklist step's answer."""

    items: Annotated[list[ChecklistItem], entries(1, _MOST_ITEMS)] = Field(description="In the document's order.")


class ChecklistPartAnswer(Answer):
    """The answer for a part of a long text, which need not ask for anything."""

    items: Annotated[list[ChecklistItem], entries(0, _MOST_ITEMS)] = Field(description="In the document's order.")


class DiagramNode(Answer):
    """A box of the diagram."""

    id: str = Field(description="A short name, unique among the nodes.")
    label: Filled = Field(description="What the box says, in a few words.")
    kind: Literal["topic", "step", "decision"] = Field(
        description="A category; an item; or a condition, which edges labelled yes and no leave."
    )


class DiagramEdge(Answer):
    """An arrow of the diagram."""

    source: str = Field(description="The id of the node that the arrow leaves.")
    target: str = Field(description="The id of the node that the arrow enters.")
    label: str = Field(description="What the arrow says; empty for nothing.")


class DiagramAnswer(Answer):
    """The diagram step's answer."""

    nodes: Annotated[list[DiagramNode], entries(1, 50)]
    edges: Annotated[list[DiagramEdge], entries(0, 100)]


def _document(context: StepContext[GuidelinePayload]) -> str:
    return fence("document", context.payload.guidelines)


def _document_and_summary(context: StepContext[GuidelinePayload]) -> str:
    return f"{_document(context)}\n\n{fence('summary', context.outputs['summary'])}"


def _checklist(context: StepContext[GuidelinePayload]) -> str:
    """The items under their categories, in the order in which these first appear."""
    groups: dict[str, list[str]] = {}
    for item in context.outputs["checklist"]:
        groups.setdefault(item["category"], []).append(f"- {item['text']}")
    if not groups:  # The text asks for nothing: the diagram shows its summary.
        return fence("checklist", f"- {context.outputs['summary']}")
    return fence("checklist", "\n\n".join("\n".join([f"## {name}", *items]) for name, items in groups.items()))


def _read_checklist(answer: ChecklistAnswer | ChecklistPartAnswer, context: StepContext[GuidelinePayload]) -> JsonValue:
    text = original(context.payload.guidelines)
    return [item.model_dump() | {"source_found": text.holds(item.source)} for item in answer.items]


def _merge_checklists(parts: list[list[dict[str, Any]]]) -> JsonValue:
    """The items of all parts in order; of more than `_MOST_ITEMS`, the strictest ones."""
    items = merge_lists(parts, lambda item: item["text"])
    strictest = sorted(range(len(items)), key=lambda place: _STRENGTH[items[place]["priority"]])[:_MOST_ITEMS]
    return [items[place] for place in sorted(strictest)]


def _show_checklist(items: list[dict[str, Any]]) -> dict[str, JsonValue]:
    return {"checklist": [item["text"] for item in items], "checklist_items": [*items]}


def _read_diagram(answer: DiagramAnswer, _context: StepContext[GuidelinePayload]) -> JsonValue:
    return flowchart(
        [(node.id, node.label) for node in answer.nodes],
        [(edge.source, edge.target, edge.label) for edge in answer.edges],
        {node.id: node.kind for node in reversed(answer.nodes)},
    )


GUIDELINE_CHECKLIST = Chain(
    name="guideline_checklist",
    description="Summarizes a guideline, makes a checklist of it and a diagram of that.",
    payload=GuidelinePayload,
    steps=(
        Step(
            name="summary",
            prompt=Prompt("guideline_checklist/summary.md"),
            answer=SummaryAnswer,
            write_input=_document,
            read_answer=lambda answer, _context: answer.summary,
            max_output_tokens=3_000,
            long=LongText(
                text=lambda payload: payload.guidelines,
                label="document",
                prompt=Prompt("guideline_checklist/summary_part.md"),
                merge=Prompt("guideline_checklist/summary_merge.md"),
            ),
        ),
        Step(
            name="checklist",
            prompt=Prompt("guideline_checklist/checklist.md"),
            answer=ChecklistAnswer,
            write_input=_document_and_summary,
            read_answer=_read_checklist,
            needs=("summary",),
            max_output_tokens=10_000,
            show=_show_checklist,
            long=LongText(
                text=lambda payload: payload.guidelines,
                label="document",
                prompt=Prompt("guideline_checklist/checklist_part.md"),
                merge=_merge_checklists,
                answer=ChecklistPartAnswer,
                max_output_tokens=8_000,
            ),
        ),
        Step(
            name="diagram",
            prompt=Prompt("guideline_checklist/diagram.md"),
            answer=DiagramAnswer,
            write_input=_checklist,
            read_answer=_read_diagram,
            needs=("checklist",),
            max_output_tokens=6_000,
        ),
    ),
)
