"""A step as its author declared it: the function, and how it is run."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_type_hints

from jobchain.chains.answer_types import faults_of, unwrapped
from jobchain.chains.approving import ApprovalOptions
from jobchain.chains.call_options import NO_OPTIONS, CallOptions
from jobchain.chains.long_texts import Long, Merge
from jobchain.chains.mistakes import ChainError, Mistake, Place
from jobchain.chains.parameters import Signature
from jobchain.chains.prompts import prompt_of
from jobchain.overrides import EFFORTS

MIN_ROOM = 16
"""The least room for an answer that OpenAI takes."""

MAX_TEMPERATURE = 2

# A name is a part of a sort key, a field of a result, and a part of a schema's name.
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")

Material = Mapping[str, Callable[..., str]]
"""What the model reads: the label of each text, and the function that writes it. Its parameters are needs, too."""

Then = Callable[..., Any]
"""Makes a step's output of the model's answer, its first argument. Its other parameters are needs, too."""

Show = Callable[[Any], Mapping[str, Any]]
"""Makes of a stored output the parts of the result. It gives a TypedDict, which names each part and its type."""


@dataclass(eq=False)
class Declared:
    """A step; with `asks`, of a call of the model, and with `approval`, one that a person decides."""

    function: Callable[..., Any]
    asks: bool
    prompt: str | None = None
    options: CallOptions = NO_OPTIONS
    long: Long | Merge | None = None
    material: Material | None = None
    then: Then | None = None
    show: Show | None = None
    approval: ApprovalOptions | None = None

    @property
    def name(self) -> str:
        """The step's name."""
        return self.function.__name__

    @property
    def place(self) -> Place:
        """Where the function is."""
        return Place.of(self.function)

    def mistake(self, what: str) -> Mistake:
        """A mistake at the function."""
        return Mistake(self.place, what)

    @cached_property
    def signature(self) -> Signature:
        """What the function takes and gives. Raises ChainError, NameError."""
        return Signature.of(self.function, f"the step {self.name}")

    @cached_property
    def then_signature(self) -> Signature | None:
        """The signature of `then` without the answer. Raises ChainError, NameError."""
        if self.then is None:
            return None
        signature = Signature.of(self.then, f"then= of the step {self.name}")
        return Signature(signature.parameters[1:], signature.returns)

    @cached_property
    def written(self) -> Mapping[str, Signature]:
        """The signatures of the functions of `material`, by their labels. Raises ChainError, NameError."""
        material = self.material or {}
        return {label: Signature.of(each, f"the material {label} of {self.name}") for label, each in material.items()}

    @property
    def output(self) -> Any:
        """The type of the step's output. Raises NameError."""
        return (self.then_signature or self.signature).returns

    def check(self) -> None:
        """Raises ChainError for what is wrong with the step itself, NameError for a type that is not defined yet."""
        mistakes = [self.mistake(what) for what in self._faults()]
        if mistakes:
            raise ChainError(*mistakes)

    def _faults(self) -> Iterator[str]:
        if not _NAME.fullmatch(self.name):
            yield f"{self.name} can't be the name of a step: use up to 40 small letters, digits and underscores"
        yield from option_faults(self.options, f"the step {self.name}")
        if self.asks:
            prompt_of(self.function, self.prompt)
            if not self.signature.parameters:
                yield f"the step {self.name} has nothing to work on: give it a parameter, such as document: Text"
        yield from (f"the answer of {self.name}: {fault}" for fault in self._type_faults())
        if self.then and self.long:
            yield f"the step {self.name} has then= and long=: make what then= does a step of its own, with @chain.code"
        _ = self.then_signature, self.written
        if self.approval:
            yield from self.approval.faults(self.name)
            if not self.signature.parameters:
                yield f"the step {self.name} has nothing to show: give it a parameter, such as summary: str"
        if self.show and not _parts_of(self.show):
            yield f"show= of the step {self.name} does not name what it shows: have it give a TypedDict"

    def _type_faults(self) -> Iterator[str]:
        """What is wrong with the type of a model's answer; code may give whatever can be stored."""
        return faults_of(self.signature.returns) if self.asks else iter(())

    @property
    def shown(self) -> Mapping[str, Any]:
        """The parts of the result that the step gives, with their types. Raises NameError."""
        return _parts_of(self.show) if self.show else {self.name: self.output}


def _parts_of(show: Show) -> Mapping[str, Any]:
    returns, _ = unwrapped(get_type_hints(show, include_extras=True).get("return"))
    return get_type_hints(returns, include_extras=True) if hasattr(returns, "__required_keys__") else {}


def option_faults(options: CallOptions, whose: str) -> Iterator[str]:
    """What is wrong with the options of a call."""
    if options.model is not None and not options.model.strip():
        yield f"the model of {whose} has no name: name it, or leave it out for the deployment's"
    if options.fallback_model is not None and not options.fallback_model.strip():
        yield f"the fallback_model of {whose} has no name: name it, or leave it out"
    if options.fallback_model is not None and options.fallback_model == options.model:
        yield f"the fallback_model of {whose} is its model: name another one"
    if options.effort is not None and options.effort not in EFFORTS:
        yield f"the effort of {whose} is {options.effort!r}: use one of {', '.join(EFFORTS)}"
    if options.max_output_tokens is not None and options.max_output_tokens < MIN_ROOM:
        yield f"max_output_tokens of {whose} is {options.max_output_tokens}: use {MIN_ROOM} or more"
    if options.temperature is not None and not 0 <= options.temperature <= MAX_TEMPERATURE:
        yield f"the temperature of {whose} is {options.temperature:g}: use 0 to {MAX_TEMPERATURE}"
