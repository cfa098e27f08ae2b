"""The types of a chain's author that mean more than their text: a quote, a mention, a diagram, a table.

Each is a `str`. What a strict schema makes of it, and what becomes of the model's answer, is on the page
docs/reference/chain-types.md.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar

from jobchain.chains.fields import Name, filled
from jobchain.markdown import table

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

MAX_QUOTE_LENGTH = 5_000

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


class Mermaid(str):
    """A diagram in Mermaid's language. A model answers with its nodes and edges; `code` writes it with `flowchart`."""

    __slots__ = ()

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, handler: "GetCoreSchemaHandler") -> "CoreSchema":
        from jobchain.chains.diagram_answer import DiagramAnswer  # noqa: PLC0415  # only a worker needs it

        return _written_schema(cls, DiagramAnswer, handler)


class Table(str):
    """A table in Markdown. A model answers with its cells; `code` writes it with `Table.of`."""

    __slots__ = ()

    @classmethod
    def of(cls, header: Sequence[str], rows: Iterable[Sequence[str]]) -> "Table":
        """The table with one line for each row. All texts are escaped, the header's too."""
        return cls(table(header, rows))

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, handler: "GetCoreSchemaHandler") -> "CoreSchema":
        from jobchain.chains.table_answer import TableAnswer  # noqa: PLC0415  # only a worker needs it

        return _written_schema(cls, TableAnswer, handler)


class Form(NamedTuple):
    """A note on a type: how a result of it is shown, where the type alone does not say it."""

    name: str


class SameAs(NamedTuple):
    """A note on a part of a result: it repeats the part of this name in another form, for other readers."""

    part: str


class PayloadField(NamedTuple):
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
