"""What a chain is made of: a payload, and steps. A step turns the payload and earlier outputs into one request."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, chain, count
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, JsonValue

from jobchain.chains.call_options import NO_OPTIONS, CallOptions
from jobchain.chains.prefix import Prefix
from jobchain.chains.values import PayloadValue, Value
from jobchain.llm import ModelRequest
from jobchain.overrides import OVERRIDES
from jobchain.text import dump

_MAX_MERGED_BYTES = 200_000

# The marks of a fence. A text of any length that can be sent holds fewer than a million numbers.
_MARK_CHARACTERS = 12
_NUMBER_CHARACTERS = 6

MAX_OUTPUT_BYTES = 350_000
"""The most bytes of an output: an item of the table has 400 KB at most, its other attributes included.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html"""


class OutputTooLarge(Exception):
    """A chain's own code gives more than can be stored."""


Outputs = Mapping[str, JsonValue]
"""The outputs of the completed steps, by the names under which they are stored."""

P = TypeVar("P", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class StepContext(Generic[P]):
    """What a step works on: the job's payload, and the outputs of earlier steps by their names."""

    payload: P
    outputs: Mapping[str, Any]


@dataclass(frozen=True)
class Prompt:
    """The instructions of a step: a text, or a file. `note` is what is added to what the chain's author wrote."""

    written: str | Path
    note: str = ""

    @cached_property
    def text(self) -> str:
        """The whole prompt. A file is read when a worker first needs it."""
        written = self.written.read_text(encoding="utf-8") if isinstance(self.written, Path) else self.written
        return "\n\n".join(filter(None, (written.strip(), self.note)))


@dataclass(frozen=True)
class Step:
    """One model call of a chain.

    It runs once the steps that it `needs` are completed; steps that don't need each other run at the same time.
    `write_input` writes the material of the request. `read_answer` makes the output from an answer that fits the schema
    `answer`. `show` makes from the output the fields that callers read in `result`; without it, the output is the one
    field, under the step's name. All three are pure. `values` are what they read, `payload_values` what of the payload.
    `prefix` is how the material begins, where that of another step begins in the same way. Later steps read the output
    as `output_type`.
    """

    name: str
    prompt: Prompt
    answer: type[BaseModel]
    write_input: Callable[[StepContext[Any]], str]
    read_answer: Callable[[Any, StepContext[Any]], JsonValue]
    needs: tuple[str, ...] = ()
    show: Callable[[Any], dict[str, JsonValue]] | None = None
    long: "LongText | None" = None
    options: CallOptions = NO_OPTIONS
    values: tuple[Value, ...] = ()
    payload_values: tuple[PayloadValue, ...] = ()
    prefix: Prefix | None = None
    output_type: Any = JsonValue

    @cached_property
    def prompt_version(self) -> str:
        """A hash of the prompt's text. A stored output names the prompt it came from by it."""
        return hashlib.sha256(self.prompt.text.encode()).hexdigest()[:12]

    @property
    def max_output_tokens(self) -> int | None:
        """The room for the answer; None for the room of the settings."""
        return self.options.max_output_tokens

    def with_options(self, options: CallOptions) -> "Step":
        """The step, called in another way."""
        return replace(self, options=options)

    def prepare(self) -> None:
        """Builds the answer's schema, and what the step reads. Pydantic builds both at first use, and two threads must
        not do that at the same time.
        """
        self.answer.model_rebuild()
        _prepare(self.values)

    def request(self, context: StepContext[Any]) -> ModelRequest:
        """The request to the model."""
        options = self.options
        return ModelRequest(
            self.prompt.text,
            self.write_input(context),
            self.answer,
            options.max_output_tokens,
            model=options.model,
            effort=options.effort,
            temperature=options.temperature,
            prefix=self.prefix.of(context) if self.prefix else None,
            step=self.name,
        )

    def shown(self, output: JsonValue) -> dict[str, JsonValue]:
        """The fields of `result` that the output becomes."""
        return self.show(output) if self.show else {self.name: output}


@dataclass(frozen=True)
class LongText:
    """How a step handles a text that is too long for one call: one call for each part, then a merge of their outputs.

    `text` finds the text in the payload, `label` is the label of its fence. `prompt` is for one part, whose answer has
    the schema `answer`, or the step's own, and the room `max_output_tokens`, or the step's own. `merge` makes one
    output of the parts' outputs: the prompt of a call, or a pure function. `shared` writes what each of these calls
    reads besides. `part_note` and `merge_note` are what each prompt needs beside a text that is written for the whole.
    `answers` are as in `Prefix`, of the steps whose prompts begin with the same parts.
    """

    text: Callable[[Any], str]
    label: str
    prompt: Prompt
    merge: Prompt | Callable[[list[Any]], JsonValue]
    answer: type[BaseModel] | None = None
    max_output_tokens: int | None = None
    shared: Callable[[StepContext[Any]], str] | None = None
    answers: tuple[tuple[str, type[BaseModel]], ...] = ()
    part_note: str = ""
    merge_note: str = ""


@dataclass(frozen=True)
class CodeStep:
    """A step of the chain's own code: a pure function of the payload and earlier outputs, without a model call."""

    name: str
    compute: Callable[[StepContext[Any]], JsonValue]
    needs: tuple[str, ...] = ()
    show: Callable[[Any], dict[str, JsonValue]] | None = None
    values: tuple[Value, ...] = ()
    output_type: Any = JsonValue

    def prepare(self) -> None:
        """Builds what the step reads, in one thread."""
        _prepare(self.values)

    def output(self, context: StepContext[Any]) -> JsonValue:
        """The step's output. Raises OutputTooLarge, TypeError where it is no JSON, and what the chain's code raises."""
        output = self.compute(context)
        size = len(dump(output).encode())
        if size > MAX_OUTPUT_BYTES:
            raise OutputTooLarge(f"the step {self.name} gives {size} bytes: the most is {MAX_OUTPUT_BYTES}")
        return output

    def shown(self, output: JsonValue) -> dict[str, JsonValue]:
        """The fields of `result` that the output becomes."""
        return self.show(output) if self.show else {self.name: output}


@dataclass(frozen=True)
class SplitStep:
    """Splits a long text, without a model call: the output is where each part begins and ends.

    It is stored as each step is, so that a job continues with the same parts.
    """

    name: str
    text: str
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class MergeStep:
    """Makes one output of the outputs of a text's parts, without a model call."""

    name: str
    needs: tuple[str, ...]
    merge: Callable[[list[Any]], JsonValue]

    def output(self, outputs: Outputs) -> JsonValue:
        """The step's output."""
        return self.merge([outputs[name] for name in self.needs])


@dataclass(frozen=True)
class Chain:
    """A named graph of steps, with a schema for its payload. Callers see the steps in this order.

    `overrides` is what a job may set in place of the chain.
    """

    name: str
    description: str
    payload: type[BaseModel]
    steps: Sequence[Step | CodeStep]
    show_as: Callable[[], Sequence[Mapping[str, JsonValue]]] = tuple
    overrides: Collection[str] = OVERRIDES

    @cached_property
    def view(self) -> Sequence[Mapping[str, JsonValue]]:
        """How to show the parts of the result, by their types: see `jobchain.chains.result_view`."""
        return self.show_as()

    @property
    def calls(self) -> tuple[Step, ...]:
        """The steps that call the model."""
        return tuple(step for step in self.steps if isinstance(step, Step))

    @property
    def widest(self) -> int:
        """The most of its steps that can run at the same time."""
        depths: dict[str, int] = {}
        for step in self.steps:
            depths[step.name] = 1 + max((depths[name] for name in step.needs), default=0)
        return max(Counter(depths.values()).values())

    def result(self, outputs: Outputs) -> dict[str, JsonValue]:
        """The result that callers read, made from a job's outputs."""
        shown: dict[str, JsonValue] = {}
        for step in self.steps:
            if step.name in outputs:
                shown |= _shown(step, outputs[step.name])
        return shown


def _prepare(values: Iterable[Value]) -> None:
    for value in values:
        value.prepare()


def _shown(step: Step | CodeStep, output: JsonValue) -> dict[str, JsonValue]:
    try:
        return step.shown(output)
    except (KeyError, TypeError, ValueError):
        # An earlier version of the chain stored an output of another shape.
        return {step.name: output}


def merge_lists(lists: Iterable[Iterable[Any]], text: Callable[[Any], str]) -> list[Any]:
    """The entries of several lists in order, without repeated `text`, as many as one item of the table can hold."""
    found: dict[str, Any] = {}
    for entry in chain.from_iterable(lists):
        found.setdefault(text(entry).casefold(), entry)
    sizes = accumulate(len(json.dumps(entry, ensure_ascii=False).encode()) for entry in found.values())
    return [entry for entry, size in zip(found.values(), sizes, strict=True) if size <= _MAX_MERGED_BYTES]


def fence(label: str, text: str) -> str:
    """`text` between two marks, which tell a model that it is data.

    The marks do not occur in the text, in whichever case, so no text can close its own fence. They depend on the text
    alone, so that the same text makes the same prompt, which a provider can cache.
    """
    mark = unused_mark(hashlib.sha256(text.encode()).hexdigest()[:_MARK_CHARACTERS], text)
    return f"<<<{label} {mark}>>>\n{text}\n<<<end {mark}>>>"


def unused_mark(digest: str, text: str) -> str:
    """`digest`; where `text` holds that, with the first number that does not follow it there.

    A text that holds a part of its own hash can be found, in minutes. It can't hold all numbers.
    """
    text = text.lower()
    if digest not in text:
        return digest
    # A lookahead finds each place, also where two overlap.
    taken = set(re.findall(f"(?={digest}-([0-9]{{{_NUMBER_CHARACTERS}}}))", text))
    numbers = (f"{number:0{_NUMBER_CHARACTERS}}" for number in count())
    return f"{digest}-{next(number for number in numbers if number not in taken)}"
