"""Which types an answer may have, so that the strict mode of every provider takes its schema.

https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, ForwardRef, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from jobchain.chains.author_types import Mention, Mermaid, Quote, Table

# OpenAI's limits: levels of objects in each other, and all values of all enums.
MAX_LEVELS = 10
MAX_CHOICES = 1_000

SPECIAL = (Quote, Mention, Mermaid, Table)

_PLAIN = (str, int, float, bool, NoneType, date, datetime, *SPECIAL)
_SUPPORTED = "str, int, float, bool, date, Literal, an Enum, list, Optional, a pydantic model, Quote, Mermaid or Table"

_INSTEAD = {
    dict: "a dict has no fixed fields: use a list of models with a field for the key",
    set: "no strict mode knows sets: use a list",
    frozenset: "no strict mode knows sets: use a list",
    tuple: "no strict mode knows tuples: use a list, or a model with a field for each place",
}


def faults_of(annotation: Any) -> Iterator[str]:
    """What is wrong with the type of an answer, in words."""
    yield from _Walk().faults(annotation, "it", ())


def is_object(annotation: Any) -> bool:
    """Whether the schema of the type is an object, as the root of an answer has to be."""
    bare, _ = unwrapped(annotation)
    return isinstance(bare, type) and issubclass(bare, BaseModel) and not bare.__pydantic_root_model__


def unwrapped(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """The type without its notes, and the notes."""
    if get_origin(annotation) is Annotated:
        bare, *notes = get_args(annotation)
        return bare, tuple(notes)
    return annotation, ()


def members(annotation: Any) -> tuple[Any, ...]:
    """The types of a union; the type alone where it is none."""
    bare, _ = unwrapped(annotation)
    return get_args(bare) if get_origin(bare) in (Union, UnionType) else (bare,)


def holds(annotation: Any, wanted: type) -> bool:
    """Whether the type is `wanted`, or an optional or a list of it."""
    bare, _ = unwrapped(annotation)
    if get_origin(bare) in (Union, UnionType, list):
        return any(holds(argument, wanted) for argument in get_args(bare))
    return isinstance(bare, type) and issubclass(bare, wanted)


@dataclass
class _Walk:
    choices: int = 0
    levels: dict[type, int] = field(default_factory=dict)
    """How many objects each model was in where it was looked at: of several places, the deepest."""

    def faults(self, annotation: Any, where: str, above: tuple[type, ...]) -> Iterator[str]:
        bare, _ = unwrapped(annotation)
        origin = get_origin(bare)
        if origin in (Union, UnionType):
            for member in get_args(bare):
                yield from self.faults(member, where, above)
        elif origin is list:
            yield from self.faults(get_args(bare)[0], f"an entry of {where}", above)
        elif origin is Literal:
            yield from self._count(len(get_args(bare)), where)
        elif isinstance(bare, type) and issubclass(bare, Enum):
            yield from self._count(len(bare), where)
        elif bare in _PLAIN or bare is None:
            if bare in (Quote, Mention) and not above:
                yield f"{where} is a {bare.__name__}: make it a field of a model"
        elif is_object(bare):
            yield from self._faults_of_model(bare, where, above)
        else:
            yield self._refused(bare, origin, where)

    def _faults_of_model(self, model: type[BaseModel], where: str, above: tuple[type, ...]) -> Iterator[str]:
        if model in above:
            yield f"the model {model.__name__} holds itself, which not every strict mode takes: use a flat list"
            return
        if len(above) == MAX_LEVELS:
            yield _too_many(where)
            return
        if model in self.levels:
            yield from self._too_deep(model, where, above)
            return
        self.levels[model] = len(above)
        if not model.model_fields:
            yield f"the model {model.__name__} has no field: give it one"
        for name, info in model.model_fields.items():
            place = f"{model.__name__}.{name}"
            if info.alias or info.validation_alias or info.serialization_alias:
                yield f"{place} has an alias: name the field itself so"
            if holds(info.annotation, Mention) and set(members(info.annotation)) != {Mention, NoneType}:
                yield f"{place} is None where the text does not have it: write Mention | None"
            yield from self.faults(_resolved(info.annotation, model), place, (*above, model))

    def _too_deep(self, model: type[BaseModel], where: str, above: tuple[type, ...]) -> Iterator[str]:
        """The model's inner models that are in too many objects here, though not where it was met before."""
        if len(above) == MAX_LEVELS:
            yield _too_many(where)
        elif len(above) > self.levels.get(model, -1):
            self.levels[model] = len(above)
            for name, info in model.model_fields.items():
                for inner in _models(_resolved(info.annotation, model)):
                    if inner not in (*above, model):
                        yield from self._too_deep(inner, f"{model.__name__}.{name}", (*above, model))

    def _count(self, number: int, where: str) -> Iterator[str]:
        self.choices += number
        if self.choices - number <= MAX_CHOICES < self.choices:
            yield f"{where} and the choices before it are more than {MAX_CHOICES}: use a str"

    @staticmethod
    def _refused(bare: Any, origin: Any, where: str) -> str:
        kind = origin if origin is not None else bare
        if bare is list:
            return f"{where} is a list of anything: name the type of its entries, as in list[str]"
        if isinstance(bare, str | ForwardRef):
            return f"{where} has the type {bare!r}, which is not defined in its module"
        instead = _INSTEAD.get(kind, f"use {_SUPPORTED}")
        return f"{where} is a {getattr(kind, '__name__', kind)}: {instead}"


def _too_many(where: str) -> str:
    return f"{where} is an object in {MAX_LEVELS} others: nest fewer models"


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that a type names."""
    bare, _ = unwrapped(annotation)
    if get_origin(bare) in (Union, UnionType, list):
        for argument in get_args(bare):
            yield from _models(argument)
    elif is_object(bare):
        yield bare


def _resolved(annotation: Any, model: type[BaseModel]) -> Any:
    """The type of a field, where it names the model that it belongs to."""
    if isinstance(annotation, ForwardRef) and annotation.__forward_arg__ == model.__name__:
        return model
    return annotation
