"""What a chain is made of: a payload, and steps that each turn it and earlier outputs into one question."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.resources import files
from itertools import accumulate, chain
from typing import Annotated, Any, Generic, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, JsonValue, StringConstraints, model_validator

from jobchain.llm import ModelRequest
from jobchain.text import is_blank

MAX_TEXT_LENGTH = 100_000
MAX_LINE_LENGTH = 1_000
MAX_NAME_LENGTH = 60

# DynamoDB's largest item has 400 KB.
_MAX_JOINED_BYTES = 200_000

Outputs = Mapping[str, JsonValue]
"""The outputs of the steps so far, by the steps' names."""

P = TypeVar("P", bound="Payload")


def without_nul(text: str) -> str:
    """`text`, or ValueError where it holds a NUL."""
    if "\0" in text:
        raise ValueError("holds a NUL character: remove it")
    return text


def not_blank(text: str) -> str:
    """`text`, or ValueError where nobody sees anything of it."""
    if is_blank(text):
        raise ValueError("is empty: it has only characters that nobody sees")
    return text


Text = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_TEXT_LENGTH),
    AfterValidator(without_nul),
    AfterValidator(not_blank),
]
"""A text that a chain works on: 1 to `MAX_TEXT_LENGTH` characters after trimming, some of them visible."""


def _filled(text: str) -> str:
    folded = " ".join(text.split())
    if not folded:
        raise ValueError("is empty: write something here")
    return folded


def entries(least: int, most: int) -> AfterValidator:
    """Checks that an answer's list has `least` to `most` entries."""

    def check(found: list[Any]) -> list[Any]:
        if not least <= len(found) <= most:
            raise ValueError(f"has {len(found)} entries: give {least} to {most}")
        return found

    return AfterValidator(check)


def _short(text: str) -> str:
    if len(text) > MAX_LINE_LENGTH:
        raise ValueError(f"has {len(text)} characters: give at most {MAX_LINE_LENGTH}")
    return text


def _named(text: str) -> str:
    if len(text) <= MAX_NAME_LENGTH:
        return text
    start = text[: MAX_NAME_LENGTH - 1]
    return (text[:MAX_NAME_LENGTH].rpartition(" ")[0] or start).rstrip(" ,;:") + "…"


# Lengths are checked by validators, which the schema does not show: not every provider's strict mode takes
# keywords such as minLength and maxItems.
Filled = Annotated[str, AfterValidator(_filled)]
"""A text of an answer: not blank, white space folded."""

Line = Annotated[Filled, AfterValidator(_short)]
"""A text of an answer that stands in a list: no longer than `MAX_LINE_LENGTH` characters."""

Name = Annotated[Filled, AfterValidator(_named)]
"""A few words of an answer that name something. Longer ones are cut at a word to `MAX_NAME_LENGTH` characters, as a
name that is too long is no reason to call the model again."""


_MOST_UNKNOWN = 20


class Sent(BaseModel):
    """Base of what callers send. Unknown fields are refused, each by its name; of more than 20, their number alone."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _count_fields(cls, value: Any) -> Any:
        # Before they are looked at: an error for each of 400,000 fields takes seconds.
        if isinstance(value, dict) and len(value) > len(cls.model_fields) + _MOST_UNKNOWN:
            raise ValueError(f"has {len(value)} fields: give only {', '.join(cls.model_fields)}")
        return value


class Payload(Sent):
    """Base of every chain's payload."""

    model_config = ConfigDict(frozen=True)


class Answer(BaseModel):
    """Base of every answer's schema: strict, as OpenAI's structured outputs ask for it.

    https://platform.openai.com/docs/guides/structured-outputs
    """

    # Built when a worker first needs it: the api knows every chain, and reads no answer.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True)

    @classmethod
    def __pydantic_on_complete__(cls) -> None:
        """Build the answers inside this one too.

        Pydantic would build each of them when it is first dumped. A worker does that in threads, and builds are not
        thread-safe.
        """
        for field in cls.model_fields.values():
            for answer in _answers_in(field.annotation):
                answer.model_rebuild()


def _answers_in(annotation: Any) -> Iterator[type[Answer]]:
    """The answers that a field's type names, such as that of a list's entries."""
    if isinstance(annotation, type) and issubclass(annotation, Answer):
        yield annotation
    for argument in get_args(annotation):
        yield from _answers_in(argument)


@dataclass(frozen=True, slots=True)
class Given(Generic[P]):
    """What a step works on."""

    payload: P
    outputs: Mapping[str, Any]


@dataclass(frozen=True)
class Prompt:
    """The instructions of a step, a file under `prompts/`, named `<chain>/<step>.md`."""

    path: str

    @cached_property
    def text(self) -> str:
        """The file's content, read when a worker first needs it."""
        return files(__package__).joinpath("prompts", self.path).read_text(encoding="utf-8").strip()


@dataclass(frozen=True)
class Step:
    """One model call of a chain.

    It runs once the steps that it `needs` have; steps that don't need each other run at the same time. `write_input`
    makes the material from what is given; `read_answer` makes the output from an answer that fits the schema `answer`.
    `show` makes of the output what callers read in `result`; without it that is the output, by the step's name. All
    three are pure.
    """

    name: str
    prompt: Prompt
    answer: type[Answer]
    write_input: Callable[[Given[Any]], str]
    read_answer: Callable[[Any, Given[Any]], JsonValue]
    needs: tuple[str, ...] = ()
    show: Callable[[Any], dict[str, JsonValue]] | None = None
    long: "LongText | None" = None

    @cached_property
    def prompt_version(self) -> str:
        """A hash of the prompt's text, by which a stored output tells which prompt it came from."""
        return hashlib.sha256(self.prompt.text.encode()).hexdigest()[:12]

    def request(self, given: Given[Any]) -> ModelRequest:
        """The question to ask."""
        return ModelRequest(self.prompt.text, self.write_input(given), self.answer)

    def shown(self, output: JsonValue) -> dict[str, JsonValue]:
        """What of the output callers read in `result`."""
        return self.show(output) if self.show else {self.name: output}


@dataclass(frozen=True)
class LongText:
    """How a step does with a text that is too long for one call: each part by `prompt` first, then what they gave.

    `text` finds the text in the payload, `label` is what it is fenced as. The parts are answered with the schema
    `answer`, or the step's own. `merge` makes one output of theirs: the prompt of a call, or a pure function.
    """

    text: Callable[[Any], str]
    label: str
    prompt: Prompt
    merge: Prompt | Callable[[list[Any]], JsonValue]
    answer: type[Answer] | None = None


@dataclass(frozen=True)
class Cut:
    """No model call: how a long text is cut, as the places where its parts begin and end.

    It is stored like a step, so that a job that goes on later goes on with the same parts.
    """

    name: str
    text: str
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Join:
    """No model call: one output of the outputs of a text's parts."""

    name: str
    needs: tuple[str, ...]
    join: Callable[[list[Any]], JsonValue]

    def output(self, outputs: Outputs) -> JsonValue:
        """The step's output."""
        return self.join([outputs[name] for name in self.needs])


@dataclass(frozen=True)
class Chain:
    """A recipe: what it takes, and its steps, in the order in which they are shown."""

    name: str
    description: str
    payload: type[Payload]
    steps: tuple[Step, ...]

    def plan(self, payload: Payload, outputs: Outputs, max_input_tokens: int) -> list[Step | Cut | Join]:
        """What a job comes to, given what it has so far: a step whose text is long is preceded by its parts."""
        return [part for step in self.steps for part in _planned(step, payload, outputs, max_input_tokens)]

    def result(self, outputs: Outputs) -> dict[str, JsonValue]:
        """What callers read of a job's outputs."""
        shown: dict[str, JsonValue] = {}
        for step in self.steps:
            if step.name in outputs:
                shown |= _shown(step, outputs[step.name])
        return shown


CUT_SUFFIX = ".parts"
"""How the name of a `Cut` ends."""


def _shown(step: Step, output: JsonValue) -> dict[str, JsonValue]:
    try:
        return step.shown(output)
    except (KeyError, TypeError, ValueError):
        # An earlier version of the chain stored it in another shape.
        return {step.name: output}


def _planned(step: Step, payload: Payload, outputs: Outputs, max_input_tokens: int) -> list[Step | Cut | Join]:
    if step.name in outputs:
        # What it took stays in the plan, so that later steps keep their places.
        return [*(replace(step, name=name) for name in outputs if name.startswith(f"{step.name}.")), step]
    if step.long is None:
        return [step]
    cut = Cut(f"{step.name}{CUT_SUFFIX}", step.long.text(payload))
    if cut.name not in outputs:
        # A token is at least one byte: what is no longer than this needs no counting.
        if len(cut.text.encode()) <= max_input_tokens:
            return [step]
        return [cut, replace(step, needs=(*step.needs, cut.name))]
    bounds: Any = outputs[cut.name]
    if len(bounds) == 1:
        return [cut, step]
    parts = [
        _part(step, step.long, f"{step.name}.part{number:02}", cut.text[start:end])
        for number, (start, end) in enumerate(bounds, start=1)
    ]
    names = tuple(part.name for part in parts)
    if isinstance(step.long.merge, Prompt):
        return [cut, *parts, *_merges(step, step.long.merge, names, outputs, max_input_tokens)]
    return [cut, *parts, Join(step.name, names, step.long.merge)]


def _part(step: Step, long: LongText, name: str, text: str) -> Step:
    """The step that works on one part of a text."""
    answer = long.answer or step.answer
    return replace(
        step, name=name, prompt=long.prompt, answer=answer, write_input=lambda _: fence(long.label, text), long=None
    )


def _merges(step: Step, prompt: Prompt, names: tuple[str, ...], outputs: Outputs, max_input_tokens: int) -> list[Step]:
    """The steps that make one output of the parts' outputs: of neighbours first, where all are too long for a call."""
    groups = [names]
    if all(name in outputs for name in names):
        groups = _groups(names, outputs, max_input_tokens)
    if len(groups) == 1:
        return [_merged(step, prompt, step.name, names)]
    # Named for the parts that they stand for, so that a name never means anything else.
    found = {_range(step, group): group for group in groups}
    between = [_merged(step, prompt, name, group) for name, group in found.items() if len(group) > 1]
    return [*between, *_merges(step, prompt, tuple(found), outputs, max_input_tokens)]


def _groups(names: tuple[str, ...], outputs: Outputs, max_input_tokens: int) -> list[tuple[str, ...]]:
    """Neighbours whose outputs fit in one call, by their bytes; at least two each, so that there are ever fewer."""
    groups: list[tuple[str, ...]] = []
    room = 0
    for name in names:
        size = len(_as_text(outputs[name]).encode())
        if groups and (len(groups[-1]) == 1 or size <= room):
            groups[-1] = (*groups[-1], name)
            room -= size
        else:
            groups.append((name,))
            room = max_input_tokens - size
    return groups


def _range(step: Step, group: tuple[str, ...]) -> str:
    """The name of what stands for a group of parts, such as `summary.part03-05`."""
    if len(group) == 1:
        return group[0]
    prefix = f"{step.name}.part"
    first, last = (name.removeprefix(prefix) for name in (group[0], group[-1]))
    return f"{prefix}{first.partition('-')[0]}-{last.rpartition('-')[2]}"


def _merged(step: Step, prompt: Prompt, name: str, parts: tuple[str, ...]) -> Step:
    """The step that makes one output of the parts' outputs."""

    def write_input(given: Given[Any]) -> str:
        return "\n\n".join(fence("part", _as_text(given.outputs[name])) for name in parts)

    return replace(step, name=name, prompt=prompt, needs=parts, write_input=write_input, long=None)


def _as_text(output: JsonValue) -> str:
    return output if isinstance(output, str) else json.dumps(output, ensure_ascii=False, indent=1)


def joined(lists: Iterable[Iterable[Any]], text: Callable[[Any], str]) -> list[Any]:
    """The entries of several lists in order, once each by their `text`, as many as one item of the table can hold."""
    found: dict[str, Any] = {}
    for entry in chain.from_iterable(lists):
        found.setdefault(text(entry).casefold(), entry)
    sizes = accumulate(len(json.dumps(entry, ensure_ascii=False).encode()) for entry in found.values())
    return [entry for entry, size in zip(found.values(), sizes, strict=True) if size <= _MAX_JOINED_BYTES]


def fence(label: str, text: str) -> str:
    """`text` marked off as data for a prompt.

    The marks carry a hash of the text, which the text can't hold itself, so that it can't close its own fence.
    """
    mark = hashlib.sha256(text.encode()).hexdigest()[:12]
    return f"<<<{label} {mark}>>>\n{text}\n<<<end {mark}>>>"
