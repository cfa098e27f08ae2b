"""What is stored of an answer, and how a later step gets it back with its types."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from enum import Enum
from functools import cache
from typing import Any

from pydantic import BaseModel, JsonValue

from jobchain.chains.answer_types import holds
from jobchain.chains.author_types import Mention, Quote

FOUND = "_found"
"""What the name of a quote's field and the name of the field that says whether it was found differ by."""


def stored(value: Any, texts: Sequence[str]) -> JsonValue:
    """The value as JSON. Quotes are marked, and mentions dropped, by whether one of the payload's `texts` has them."""
    from jobchain.chains.quotes import original  # noqa: PLC0415  # only a worker needs it

    if isinstance(value, BaseModel):
        return _stored_model(value, texts)
    if isinstance(value, list):
        return [stored(entry, texts) for entry in value]
    if isinstance(value, Mention):
        return str(value) if any(original(text).has_words_of(value) for text in texts) else None
    if isinstance(value, Enum):
        return stored(value.value, texts)
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, str) else value


def _stored_model(value: BaseModel, texts: Sequence[str]) -> JsonValue:
    fields = {name: getattr(value, name) for name in type(value).model_fields}
    found = {f"{name}{FOUND}": _found(fields[name], texts) for name in quotes_of(type(value))}
    return {**{name: stored(field, texts) for name, field in fields.items()}, **found}


def _found(quote: Any, texts: Sequence[str]) -> JsonValue:
    from jobchain.chains.quotes import original  # noqa: PLC0415  # only a worker needs it

    if isinstance(quote, list):
        return [_found(each, texts) for each in quote]
    return None if quote is None else any(original(text).holds(quote) for text in texts)


@cache
def quotes_of(model: type[BaseModel]) -> tuple[str, ...]:
    """The names of the model's fields that hold quotes."""
    return tuple(name for name, info in model.model_fields.items() if holds(info.annotation, Quote))


def marked(value: Any, output: JsonValue) -> Any:
    """`value`, with what `output`, from which it was made, says of its quotes."""
    if isinstance(value, BaseModel) and isinstance(output, Mapping):
        for name in quotes_of(type(value)):
            _mark(getattr(value, name), output.get(f"{name}{FOUND}"))
        for name in type(value).model_fields:
            marked(getattr(value, name), output.get(name))
    elif isinstance(value, list) and isinstance(output, list):
        for entry, part in zip(value, output, strict=True):
            marked(entry, part)
    return value


def _mark(quote: Any, found: Any) -> None:
    if isinstance(quote, Quote):
        quote.found = found
    elif isinstance(quote, list):
        for each, whether in zip(quote, found or [], strict=False):
            _mark(each, whether)


def reader(annotation: Any) -> Callable[[JsonValue], Any]:
    """What makes of a stored output a value of the type. It takes a while to make, and is made in one thread."""
    from pydantic import TypeAdapter  # noqa: PLC0415  # only a worker needs it

    adapter: TypeAdapter[Any] = TypeAdapter(annotation)
    # The marks of quotes, and fields that another version of the chain stored, are no fields of this one.
    return lambda output: marked(adapter.validate_python(output, extra="ignore"), output)
