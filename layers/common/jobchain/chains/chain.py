"""What a chain is made of: a payload, and steps that each turn it and earlier outputs into one question."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, JsonValue, StringConstraints

from jobchain.llm import ModelRequest

MAX_TEXT_LENGTH = 100_000

Outputs = Mapping[str, JsonValue]
"""The outputs of the steps so far, by the steps' names."""

P = TypeVar("P", bound="Payload")


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("holds a NUL character: remove it")
    return text


Text = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_TEXT_LENGTH),
    AfterValidator(_without_nul),
]
"""A text that a chain works on: 1 to `MAX_TEXT_LENGTH` characters after trimming."""


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


# Lengths are checked by validators, which the schema does not show: not every provider's strict mode takes
# keywords such as minLength and maxItems.
Filled = Annotated[str, AfterValidator(_filled)]
"""A text of an answer: not blank, white space folded."""


class Payload(BaseModel):
    """Base of every chain's payload."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Answer(BaseModel):
    """Base of every answer's schema: strict, as OpenAI's structured outputs ask for it.

    https://platform.openai.com/docs/guides/structured-outputs
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


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

    `write_input` makes the material from what is given; `read_answer` makes the output from an answer that fits
    the schema `answer`. Both are pure.
    """

    name: str
    prompt: Prompt
    answer: type[Answer]
    write_input: Callable[[Given[Any]], str]
    read_answer: Callable[[Any], JsonValue]

    @cached_property
    def prompt_version(self) -> str:
        """A hash of the prompt's text, by which a stored output tells which prompt it came from."""
        return hashlib.sha256(self.prompt.text.encode()).hexdigest()[:12]

    def request(self, payload: Payload, outputs: Outputs) -> ModelRequest:
        """The question to ask."""
        return ModelRequest(self.prompt.text, self.write_input(Given(payload, outputs)), self.answer)


@dataclass(frozen=True)
class Chain:
    """A recipe: what it takes, and its steps in their order."""

    name: str
    description: str
    payload: type[Payload]
    steps: tuple[Step, ...]


def fence(label: str, text: str) -> str:
    """`text` marked off as data for a prompt.

    The marks carry a hash of the text, which the text can't hold itself, so that it can't close its own fence.
    """
    mark = hashlib.sha256(text.encode()).hexdigest()[:12]
    return f"<<<{label} {mark}>>>\n{text}\n<<<end {mark}>>>"
