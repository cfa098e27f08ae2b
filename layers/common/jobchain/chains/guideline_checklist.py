"""A guideline becomes a summary, a checklist of the summary, and a diagram of the checklist."""

from typing import Annotated

from pydantic import Field, JsonValue

from jobchain.chains.chain import Answer, Chain, Filled, Given, Payload, Prompt, Step, Text, entries, fence
from jobchain.mermaid import flowchart


class GuidelinePayload(Payload):
    """What the chain takes."""

    guidelines: Text


class SummaryAnswer(Answer):
    """The summary step's answer."""

    summary: Filled = Field(description="The summary, in plain sentences.")


class ChecklistAnswer(Answer):
    """The checklist step's answer."""

    items: Annotated[list[Filled], entries(1, 50)] = Field(description="One thing to do each, in order.")


class DiagramNode(Answer):
    """A box of the diagram."""

    id: str = Field(description="A short name, unique among the nodes.")
    label: Filled = Field(description="What the box says, in a few words.")


class DiagramEdge(Answer):
    """An arrow of the diagram."""

    source: str = Field(description="The id of the node that the arrow leaves.")
    target: str = Field(description="The id of the node that the arrow enters.")
    label: str = Field(description="What the arrow says; empty for nothing.")


class DiagramAnswer(Answer):
    """The diagram step's answer."""

    nodes: Annotated[list[DiagramNode], entries(1, 50)]
    edges: Annotated[list[DiagramEdge], entries(0, 100)]


def _document(given: Given[GuidelinePayload]) -> str:
    return fence("document", given.payload.guidelines)


def _summary(given: Given[GuidelinePayload]) -> str:
    return fence("summary", given.outputs["summary"])


def _checklist(given: Given[GuidelinePayload]) -> str:
    return fence("checklist", "\n".join(f"- {item}" for item in given.outputs["checklist"]))


def _read_checklist(answer: ChecklistAnswer) -> JsonValue:
    return list(answer.items)


def _read_diagram(answer: DiagramAnswer) -> JsonValue:
    return flowchart(
        [(node.id, node.label) for node in answer.nodes],
        [(edge.source, edge.target, edge.label) for edge in answer.edges],
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
            read_answer=lambda answer: answer.summary,
        ),
        Step(
            name="checklist",
            prompt=Prompt("guideline_checklist/checklist.md"),
            answer=ChecklistAnswer,
            write_input=_summary,
            read_answer=_read_checklist,
        ),
        Step(
            name="diagram",
            prompt=Prompt("guideline_checklist/diagram.md"),
            answer=DiagramAnswer,
            write_input=_checklist,
            read_answer=_read_diagram,
        ),
    ),
)
