"""What the parameters of a step's function are: fields of the payload, earlier steps, or the whole payload."""

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple, get_type_hints

from pydantic import BaseModel, JsonValue

from jobchain.chains.answer_types import unwrapped
from jobchain.chains.author_types import PayloadField
from jobchain.chains.chain import StepContext
from jobchain.chains.mistakes import ChainError, Mistake, Place
from jobchain.chains.outputs import reader, stored

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY)

_ANYTHING = (Any, JsonValue)
# Outputs of these types are the same as they are stored.
_AS_STORED = (str, int, float, bool, list[str], list[int], *_ANYTHING)


class Parameter(NamedTuple):
    """A parameter of a function, with the name of the payload's field that it may be."""

    name: str
    annotation: Any
    default: Any = inspect.Parameter.empty

    @property
    def is_required(self) -> bool:
        """Whether it has no default."""
        return self.default is inspect.Parameter.empty

    @property
    def field(self) -> str:
        """The payload's field that it is, where no step has its name."""
        return self.payload_field or self.name

    @property
    def payload_field(self) -> str | None:
        """The payload's field that its type names."""
        _, notes = unwrapped(self.annotation)
        return next((note.name for note in notes if isinstance(note, PayloadField)), None)


class Signature(NamedTuple):
    """What a function takes and gives, with its types."""

    parameters: tuple[Parameter, ...]
    returns: Any

    @classmethod
    def of(cls, function: Callable[..., Any], what: str) -> "Signature":
        """The function's signature; `what` it is called in errors. Raises ChainError, and NameError for a type that is
        not defined yet.
        """
        place = Place.of(function)
        if inspect.iscoroutinefunction(function):
            raise ChainError(Mistake(place, f"{what} is async, and nothing awaits it: write def, without async"))
        found = inspect.signature(function)
        for name, parameter in found.parameters.items():
            if parameter.kind in _VARIADIC:
                raise ChainError(Mistake(place, f"{what} takes {name} by place, or any number: name each parameter"))
            if parameter.annotation is inspect.Parameter.empty:
                raise ChainError(
                    Mistake(place, f"the parameter {name} of {what} has no type: add one, as in {name}: Text")
                )
        if found.return_annotation is inspect.Signature.empty:
            raise ChainError(Mistake(place, f"{what} does not say what it gives: add the type, as in -> str"))
        hints = get_type_hints(function, include_extras=True)
        parameters = (Parameter(name, hints[name], each.default) for name, each in found.parameters.items())
        return cls(tuple(parameters), hints["return"])


@dataclass
class Reader:
    """Reads an output with its type. What it takes to do so is built by `prepare`, in one thread."""

    annotation: Any
    checks: bool = False
    """Whether the output is checked even where it is the same as it is stored."""
    _read: Callable[[JsonValue], Any] | None = field(default=None, init=False)

    def prepare(self) -> None:
        """Builds it, where that is not done."""
        if self._read is None and unwrapped(self.annotation)[0] not in (_ANYTHING if self.checks else _AS_STORED):
            self._read = reader(self.annotation)

    def read(self, output: JsonValue) -> Any:
        """The output with its type."""
        self.prepare()
        return self._read(output) if self._read else output


class Argument(NamedTuple):
    """The value of a parameter: the payload's `field`, the output of `step`, or the whole payload without both."""

    name: str
    field: str | None = None
    step: str | None = None
    reader: Reader | None = None

    def prepare(self) -> None:
        """See `jobchain.chains.values.Value`."""
        if self.reader:
            self.reader.prepare()

    def typed(self, context: StepContext[Any]) -> Any:
        """The value with its type, for the chain's own code."""
        if self.step is not None:
            output = context.outputs[self.step]
            return self.reader.read(output) if self.reader else output
        return context.payload if self.field is None else getattr(context.payload, self.field)

    def text(self, context: StepContext[Any]) -> str:
        """The value as a model reads it; empty for None."""
        if self.step is not None:
            return as_text(context.outputs[self.step])
        return as_text(stored(self.typed(context), ()))


class Arguments(NamedTuple):
    """The values of a function's parameters."""

    each: tuple[Argument, ...]

    def typed(self, context: StepContext[Any]) -> dict[str, Any]:
        """The values with their types, by the parameters' names."""
        return {argument.name: argument.typed(context) for argument in self.each}

    def texts(self, context: StepContext[Any]) -> Iterator[tuple[str, str]]:
        """The values as a model reads them, those without a text left out."""
        for argument in self.each:
            if text := argument.text(context):
                yield argument.name, text

    @property
    def needs(self) -> tuple[str, ...]:
        """The steps that they come from."""
        return tuple(argument.step for argument in self.each if argument.step is not None)

    @property
    def fields(self) -> tuple[str, ...]:
        """The payload's fields that they come from."""
        return tuple(argument.field for argument in self.each if argument.field is not None)


NO_ARGUMENTS = Arguments(())


def as_text(value: JsonValue) -> str:
    """A value as a model reads it: a text as it is, a list of texts with a dash each, anything else as JSON."""
    match value:
        case None:
            return ""
        case str():
            return value
        case [str(), *_] if all(isinstance(entry, str) for entry in value):
            return "\n".join(f"- {entry}" for entry in value)
    return json.dumps(value, ensure_ascii=False, indent=1)


def payload_texts(payload: BaseModel, fields: tuple[str, ...]) -> list[str]:
    """The texts in which quotes are looked for: those of the payload's `fields`, or all where none of them is one."""
    values = dict(payload)
    return [values[name] for name in fields if isinstance(values[name], str)] or [
        value for value in values.values() if isinstance(value, str)
    ]


def same_type(one: Any, other: Any) -> bool:
    """Whether a parameter of the type `one` takes an output of the type `other`, whatever the notes on them."""
    one, other = _bare(one), _bare(other)
    if one in (Any, JsonValue) or one == other:
        return True
    return isinstance(one, type) and isinstance(other, type) and issubclass(other, one) and not issubclass(other, Enum)


def _bare(annotation: Any) -> Any:
    bare, _ = unwrapped(annotation)
    if hasattr(bare, "__args__") and getattr(bare, "__origin__", None) is list:
        return list[_bare(bare.__args__[0])]  # type: ignore[misc]  # an alias made at run time
    return bare


def outputs_of(value: Any, texts: list[str]) -> JsonValue:
    """What is stored of what a chain's own code gives."""
    if isinstance(value, Mapping):
        return {str(name): outputs_of(each, texts) for name, each in value.items()}
    if isinstance(value, list):
        return [outputs_of(each, texts) for each in value]
    return stored(value, texts)
