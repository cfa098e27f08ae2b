"""The model of a step's answer, whose schema the provider gets."""

from collections.abc import Callable
from typing import Annotated, Any, get_origin

from pydantic import AfterValidator, BaseModel, Field, create_model
from pydantic.fields import FieldInfo

from jobchain.chains.answer_types import is_object, unwrapped
from jobchain.chains.author_types import Mermaid, Table
from jobchain.chains.fields import Answer, Entries, paragraphs


def answer_of(name: str, annotation: Any, field: str | None = None) -> tuple[type[BaseModel], Callable[[Any], Any]]:
    """The model's answer for a step's type, and what makes the step's value of it.

    The root of a schema is an object: any other type is in the one field of a model, called as the step is.
    """
    bare, notes = unwrapped(annotation)
    if bare in (Mermaid, Table):
        return _content(bare), lambda answer: bare(answer.text)
    if is_object(bare):
        return bare, lambda answer: answer
    field = field or name
    kept = (*notes, AfterValidator(paragraphs)) if bare is str else notes
    held = Annotated[(bare, *kept)] if kept else bare
    fields: dict[str, Any] = {field: (held, Field())}
    answer = create_model(f"{camel(name)}Answer", __base__=Answer, __module__=__name__, **fields)
    return answer, lambda answer: getattr(answer, field)


def _content(written: type[str]) -> type[Answer]:
    """What a model answers in place of a type that code writes."""
    if written is Mermaid:
        from jobchain.chains.diagram_answer import DiagramAnswer  # noqa: PLC0415  # not every chain needs it

        return DiagramAnswer
    from jobchain.chains.table_answer import TableAnswer  # noqa: PLC0415  # not every chain needs it

    return TableAnswer


def relaxed(annotation: Any) -> Any:
    """The type of a part's answer: a part of a text may have nothing to give."""
    bare, notes = unwrapped(annotation)
    if get_origin(bare) is not list or not notes:
        return annotation
    return Annotated[(bare, *map(_without_least, notes))]


def _without_least(note: Any) -> Any:
    if isinstance(note, Entries):
        return Entries(0, note.most)
    if isinstance(note, FieldInfo) and any(hasattr(each, "min_length") for each in note.metadata):
        most = [each.max_length for each in note.metadata if hasattr(each, "max_length")]
        return Field(max_length=most[0] if most else None, description=note.description)
    return note


def camel(name: str) -> str:
    """A name of a chain or step as that of a class."""
    return "".join(word.capitalize() for word in name.split("_"))
