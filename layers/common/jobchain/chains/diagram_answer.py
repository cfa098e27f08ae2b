"""What a model answers for a diagram: its nodes and edges, of which code writes the text."""

from typing import Annotated, Literal

from pydantic import Field

from jobchain.chains.fields import Answer, Filled, entries
from jobchain.mermaid import flowchart

_MOST_NODES = 50
_MOST_EDGES = 100


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
    """What a model answers for a `Mermaid`: the nodes and edges. Code writes the diagram, so that it can be drawn."""

    nodes: Annotated[list[DiagramNode], entries(1, _MOST_NODES)]
    edges: Annotated[list[DiagramEdge], entries(0, _MOST_EDGES)]

    @property
    def text(self) -> str:
        """The diagram in Mermaid's language."""
        return flowchart(
            [(node.id, node.label) for node in self.nodes],
            [(edge.source, edge.target, edge.label) for edge in self.edges],
            {node.id: node.kind for node in reversed(self.nodes)},
        )
