"""The graph of a chain's steps: which step needs which, and what is left for the payload."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic import BaseModel

from jobchain.chains.answer_types import unwrapped
from jobchain.chains.declared import Declared
from jobchain.chains.mistakes import Mistake
from jobchain.chains.parameters import NO_ARGUMENTS, Argument, Arguments, Parameter, Reader, Signature, same_type

# How alike a parameter and a step's name are where one is the other's misspelling: 1 is the same.
_ALIKE = 0.85
_OTHER_LETTERS = 3


class Needs(NamedTuple):
    """What the functions of a step read: its own, `then`, and those of `material` by their labels."""

    own: Arguments
    then: Arguments
    material: Mapping[str, Arguments]

    @property
    def all(self) -> Arguments:
        """All of them."""
        return Arguments(tuple(each for part in (self.own, self.then, *self.material.values()) for each in part.each))


@dataclass
class Graph:
    """The steps, and the fields of the payload that their parameters come to. Mistakes are collected."""

    steps: Mapping[str, Declared]
    payload: type[BaseModel] | None

    def __post_init__(self) -> None:
        self.fields: dict[str, Parameter] = {}
        self.takers: dict[str, Declared] = {}
        """The first step that takes each of the fields."""
        self.mistakes: list[Mistake] = []
        self._above: list[str] = []

    def needs(self) -> dict[str, "Needs"]:
        """The needs of each step, in the order of the steps."""
        found: dict[str, Needs] = {}
        for name, step in self.steps.items():
            found[name] = Needs(
                self._arguments(step, step.signature),
                self._arguments(step, step.then_signature) if step.then_signature else NO_ARGUMENTS,
                {label: self._arguments(step, signature) for label, signature in step.written.items()},
            )
            self._above.append(name)
        return found

    def _arguments(self, step: Declared, signature: Signature) -> Arguments:
        return Arguments(tuple(self._argument(step, each) for each in signature.parameters))

    def _argument(self, step: Declared, parameter: Parameter) -> Argument:
        if parameter.payload_field is None and parameter.name in self.steps:
            return self._of_step(step, parameter)
        bare, _ = unwrapped(parameter.annotation)
        if self.payload is not None and bare is self.payload:
            if step.asks and not step.material:
                self._wrong(step, f"{step.name} reads the whole payload: name its fields, or write it with material=")
            return Argument(parameter.name)
        self._take_field(step, parameter)
        return Argument(parameter.name, field=parameter.field)

    def _of_step(self, step: Declared, parameter: Parameter) -> Argument:
        needed = self.steps[parameter.name]
        if parameter.name not in self._above:
            self._wrong(step, self._order(step, parameter.name))
        elif not same_type(parameter.annotation, needed.output):
            given, wanted = type_name(needed.output), type_name(parameter.annotation)
            self._wrong(
                step, f"{step.name} needs {needed.name} as {wanted}, which gives {given}: write {needed.name}: {given}"
            )
        return Argument(parameter.name, step=parameter.name, reader=Reader(needed.output))

    def _order(self, step: Declared, needed: str) -> str:
        if cycle := self._cycle(step.name, needed):
            names = " → ".join(cycle)
            return f"the steps need each other: {names}. Take one of these parameters away, or merge the steps"
        return f"the step {step.name} needs {needed}, which is below it: move {needed} above {step.name}"

    def _cycle(self, start: str, needed: str) -> list[str]:
        """The way from a step over one that it needs back to itself."""
        ways = [[start, needed]]
        while ways:
            way = ways.pop()
            if way[-1] == start:
                return way
            following = [each.name for each in self.steps[way[-1]].signature.parameters if each.name in self.steps]
            ways.extend([*way, name] for name in following if name == start or name not in way)
        return []

    def _take_field(self, step: Declared, parameter: Parameter) -> None:
        name = parameter.field
        if self.payload is not None:
            if name not in self.payload.model_fields:
                known = ", ".join(self.payload.model_fields)
                self._wrong(
                    step,
                    f"{step.name} needs {name}: no step above it and no field of the payload is called so ({known})",
                )
            return
        if hint := self._unclear(parameter):
            self._wrong(step, f"{step.name} {hint}")
            return
        self.takers.setdefault(name, step)
        known_field = self.fields.setdefault(name, parameter)
        if known_field.annotation != parameter.annotation and _typed(known_field) != _typed(parameter):
            self._wrong(
                step, f"the payload's field {name} has another type in {step.name} than above: write the same one"
            )
        elif known_field.is_required != parameter.is_required and known_field.is_required:
            self.fields[name] = known_field._replace(default=parameter.default)

    def _unclear(self, parameter: Parameter) -> str:
        """What is wrong with a parameter that is neither a step nor a field as it should be."""
        if parameter.payload_field is not None:
            return ""
        name = parameter.name
        needs = f"needs {name}, and no step above it is called so"
        if close := next((each for each in self.steps if _alike(name, each)), None):
            return f"{needs}: do you mean {close}?"
        if parameter.annotation is not str:
            return ""
        if parameter.is_required:
            names = ", ".join(self._above) or "none"
            return f"{needs}: use one of the steps above ({names}), or {name}: Text for a text of the payload"
        return (
            f"takes {name} with a default, so that it is a field of the payload: say how long its text may be, as in "
            f"{name}: Line = {parameter.default!r}, or Text for more than a line"
        )

    def _wrong(self, step: Declared, what: str) -> None:
        self.mistakes.append(step.mistake(what))


def _alike(one: str, other: str) -> bool:
    """Whether one name is probably the other's misspelling."""
    if len(set(one) ^ set(other)) > _OTHER_LETTERS:
        return False
    from difflib import SequenceMatcher  # noqa: PLC0415  # few names get here

    return SequenceMatcher(None, one, other).ratio() >= _ALIKE


def _typed(parameter: Parameter) -> Any:
    return unwrapped(parameter.annotation)[0]


def type_name(annotation: Any) -> str:
    """A type as an author writes it."""
    bare, _ = unwrapped(annotation)
    arguments: Sequence[Any] = getattr(bare, "__args__", ())
    if getattr(bare, "__origin__", None) is list:
        return f"list[{', '.join(map(type_name, arguments))}]"
    return getattr(bare, "__name__", str(bare)) if not arguments else str(bare)
