"""How to show a chain's result: the form of each part, worked out from its type.

The forms: `text` (with paragraphs), `line`, `number`, `flag`, `choice`, `list` (of texts), `records` (a list of
models), `record` (a model), `checklist` (records that a reader ticks off), `diagram` (Mermaid), `table` (Markdown), and
`value` for anything else. The fields of records have forms too, and besides those `heading`, under which entries are
grouped, and `quote`, whose field `found` says whether the text contains it.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, JsonValue

from jobchain.chains.answer_types import is_object, members, unwrapped
from jobchain.chains.author_types import Form, Mention, Mermaid, Quote, SameAs, Table
from jobchain.chains.outputs import FOUND

_FORMS: Mapping[type, str] = {
    Mermaid: "diagram",
    Table: "table",
    Quote: "quote",
    Mention: "line",
    bool: "flag",
    int: "number",
    float: "number",
}


def view_of(parts: Mapping[str, Any]) -> tuple[Mapping[str, JsonValue], ...]:
    """The parts of a result, by their types. `same_as` names a part that says the same in a fuller form."""
    return tuple({"name": name, **_form(annotation), **_twin(annotation)} for name, annotation in parts.items())


def _form(annotation: Any, plain: str = "text") -> dict[str, JsonValue]:
    bare, notes = unwrapped(annotation)
    named = next((note.name for note in notes if isinstance(note, Form)), None)
    (bare, *others) = [member for member in members(bare) if member is not type(None)] or [str]
    bare, inner = unwrapped(bare)
    named = named or next((note.name for note in inner if isinstance(note, Form)), None)
    if others:
        return {"form": "value"}
    if get_origin(bare) is list:
        entry, _ = unwrapped(get_args(bare)[0])
        if is_object(entry):
            return {"form": named or "records", "fields": _fields(entry)}
        return {"form": named or "list"}
    if get_origin(bare) is Literal or (isinstance(bare, type) and issubclass(bare, Enum)):
        return {"form": "choice"}
    if is_object(bare):
        return {"form": "record", "fields": _fields(bare)}
    if named:
        return {"form": named}
    found = next((form for kind, form in _FORMS.items() if isinstance(bare, type) and issubclass(bare, kind)), None)
    if found:
        return {"form": found}
    return {"form": plain if isinstance(bare, type) and issubclass(bare, str) else "value"}


def _fields(model: type[BaseModel]) -> list[JsonValue]:
    fields: list[JsonValue] = []
    for name, info in model.model_fields.items():
        # Pydantic keeps the notes apart from the type.
        annotation = info.annotation
        form = next((note.name for note in info.metadata if isinstance(note, Form)), None)
        shown = {"form": form} if form else _form(annotation, plain="line")
        found = {"found": f"{name}{FOUND}"} if shown["form"] == "quote" else {}
        fields.append({"name": name, **shown, **found})
    return fields


def _twin(annotation: Any) -> dict[str, JsonValue]:
    _, notes = unwrapped(annotation)
    part = next((note.part for note in notes if isinstance(note, SameAs)), None)
    return {"same_as": part} if part else {}
