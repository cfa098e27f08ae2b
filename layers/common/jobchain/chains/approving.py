"""A step that a person decides: what it shows is what the chain's author writes, its output what was approved."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

from pydantic import JsonValue, ValidationError

from jobchain.approvals import MAX_SHOWN_BYTES, Default
from jobchain.chains.chain import CodeStep, OutputTooLarge, StepContext
from jobchain.text import dump

MIN_DEADLINE = timedelta(minutes=1)
MAX_DEADLINE = timedelta(days=7)
DEADLINE_SECONDS = int(MAX_DEADLINE.total_seconds())
"""How long a step waits that names no deadline."""

MAX_TITLE = 100
"""The most characters of a title."""

_DEFAULTS = ("approve", "reject")


class ApprovalOptions(NamedTuple):
    """How a step waits: its title, for how many seconds, and what is decided then. Without a title it has its name."""

    title: str | None = None
    deadline_seconds: int = DEADLINE_SECONDS
    on_deadline: Default = "reject"

    def faults(self, name: str) -> Iterator[str]:
        """What is wrong with them; `name` is that of the step."""
        if self.title is not None and not 0 < len(self.title.strip()) <= MAX_TITLE:
            yield f"title= of the step {name} has {len(self.title.strip())} characters: give 1 to {MAX_TITLE}"
        least, most = int(MIN_DEADLINE.total_seconds()), int(MAX_DEADLINE.total_seconds())
        seconds: object = self.deadline_seconds
        if not isinstance(seconds, int) or isinstance(seconds, bool) or not least <= seconds <= most:
            yield f"deadline_seconds= of the step {name} is {seconds!r}: use a whole number from {least} to {most}"
        if self.on_deadline not in _DEFAULTS:
            yield f"on_deadline= of the step {name} is {self.on_deadline!r}: use {' or '.join(map(repr, _DEFAULTS))}"


DEFAULT_OPTIONS = ApprovalOptions()


class EditDoesNotFit(ValueError):
    """An edit that has another type than the step's value: says where, and what is wrong."""


@dataclass(frozen=True)
class ApprovalStep(CodeStep):
    """A step that waits for a person: `compute` gives what is shown, and the step's output once it is approved.

    `read` makes what is stored of an edit, and raises pydantic's ValidationError for one of another type.
    """

    options: ApprovalOptions = DEFAULT_OPTIONS
    read: Callable[[JsonValue, StepContext[Any]], JsonValue] = lambda value, _: value

    @property
    def title(self) -> str:
        """What the step is called where a person decides it."""
        return (self.options.title or "").strip() or self.name.replace("_", " ").capitalize()

    def output(self, context: StepContext[Any]) -> JsonValue:
        """What is shown. Raises OutputTooLarge, TypeError where it is no JSON, and what the chain's code raises."""
        return self._limited(self.compute(context))

    def edited(self, value: JsonValue, context: StepContext[Any]) -> JsonValue:
        """The step's output, if a person gives this value. Raises EditDoesNotFit."""
        self.prepare()
        try:
            # Before it is read: a fault of each of millions of values takes minutes.
            self._limited(value)
            return _finite(self._limited(self.read(value, context)))
        except ValidationError as error:
            fault = error.errors(include_input=False)[0]
            place = ".".join(map(str, fault["loc"]))
            why = fault["msg"].removeprefix("Value error, ")
            raise EditDoesNotFit(f"{place}: {why}" if place else why) from None
        except OutputTooLarge as error:
            raise EditDoesNotFit(str(error)) from None

    def _limited(self, value: JsonValue) -> JsonValue:
        size = len(dump(value).encode())
        if size > MAX_SHOWN_BYTES:
            raise OutputTooLarge(f"the step {self.name} has a value of {size} bytes: the most is {MAX_SHOWN_BYTES}")
        return value


def _finite(value: JsonValue) -> JsonValue:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        raise EditDoesNotFit("a number is infinite or NaN, which JSON does not have: give another") from None
    return value


def approval_of(step: CodeStep, options: ApprovalOptions, read: Callable[..., JsonValue]) -> ApprovalStep:
    """The step of code as one that a person decides."""
    return ApprovalStep(
        step.name, step.compute, step.needs, step.show, step.values, step.output_type, options=options, read=read
    )
