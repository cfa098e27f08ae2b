"""The types of a chain's author that mean more than their text: a quote, a mention, a diagram, a table.

Each is a `str`. What a strict schema makes of it, and what becomes of the model's answer, is on the page
docs/reference/chain-types.md.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import Field

from jobchain.chains.fields import Answer, Filled, Name, entries, filled
from jobchain.markdown import table
from jobchain.mermaid import flowchart

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

MAX_QUOTE_LENGTH = 5_000

_MOST_NODES = 50
_MOST_EDGES = 100
_MOST_ROWS = 200

T = TypeVar("T")


class Quote(str):
    """A passage of a text that the step reads, word for word: a field of a model.

    The result has a field `<name>_found` beside it, which says whether the texts of the payload contain the quote. A
    `code` step reads the same in `found`, which is None where that is not known.
    """

    found: bool | None = None

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: "GetCoreSchemaHandler") -> "CoreSchema":
        return _text_schema(cls, _quoted)


class Mention(str):
    """A name, a date or the like, in the words of a text that the step reads: an optional field of a model.

    It becomes None where the texts of the payload do not contain all of its words: a model must not guess it.
    """

    __slots__ = ()

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: "GetCoreSchemaHandler") -> "CoreSchema":
        return _text_schema(cls, filled)


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


class Diagram(Answer):
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


class Mermaid(str):
    """A diagram in Mermaid's language. A model answers with its nodes and edges; `code` writes it with `flowchart`."""

    __slots__ = ()

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, handler: "GetCoreSchemaHandler") -> "CoreSchema":
        return _written_schema(cls, Diagram, handler)


class TableContent(Answer):
    """What a model answers for a `Table`: the cells. Code writes the table, and escapes every text in it."""

    header: Annotated[list[str], entries(1, 20)]
    rows: Annotated[list[list[str]], entries(0, _MOST_ROWS)] = Field(
        description="As many cells each as the header has."
    )

    @property
    def text(self) -> str:
        """The table as Markdown. A row that is too short gets empty cells."""
        width = len(self.header)
        return table(self.header, [[*row, *[""] * width][:width] for row in self.rows])


class Table(str):
    """A table in Markdown. A model answers with its cells; `code` writes it with `Table.of`."""

    __slots__ = ()

    @classmethod
    def of(cls, header: Sequence[str], rows: Iterable[Sequence[str]]) -> "Table":
        """The table with one line for each row. All texts are escaped, the header's too."""
        return cls(table(header, rows))

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, handler: "GetCoreSchemaHandler") -> "CoreSchema":
        return _written_schema(cls, TableContent, handler)


@dataclass(frozen=True, slots=True)
class Form:
    """A note on a type: how a result of it is shown, where the type alone does not say it."""

    name: str


@dataclass(frozen=True, slots=True)
class SameAs:
    """A note on a part of a result: it repeats the part of this name in another form, for other readers."""

    part: str


@dataclass(frozen=True, slots=True)
class PayloadField:
    """A note on a parameter: it is the payload's field of this name, whatever parameter and steps are called."""

    name: str


Checklist = Annotated[list[T], Form("checklist")]
"""A list of models whose entries a reader ticks off: `Checklist[Item]`."""

Heading = Annotated[Name, Form("heading")]
"""A few words of an answer under which the entries of a list are grouped when they are shown."""


def _quoted(text: str) -> str:
    folded = filled(text)
    if len(folded) > MAX_QUOTE_LENGTH:
        raise ValueError(f"has {len(folded)} characters: quote at most {MAX_QUOTE_LENGTH}")
    return folded


def _text_schema(cls: type[str], checked: Any) -> "CoreSchema":
    from pydantic_core import core_schema  # noqa: PLC0415  # only a worker needs it

    return core_schema.no_info_after_validator_function(lambda text: cls(checked(text)), core_schema.str_schema())


def _written_schema(cls: type[str], content: type[Any], handler: "GetCoreSchemaHandler") -> "CoreSchema":
    """A model writes the `content`, of which code makes the text; a stored text is taken as it is."""
    from pydantic_core import core_schema  # noqa: PLC0415  # only a worker needs it

    written = core_schema.no_info_after_validator_function(
        lambda answer: cls(answer.text), handler.generate_schema(content)
    )
    stored = core_schema.no_info_after_validator_function(cls, core_schema.str_schema())
    return core_schema.json_or_python_schema(written, core_schema.union_schema([stored, written]))
