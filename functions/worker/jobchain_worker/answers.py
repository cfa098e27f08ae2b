"""Reads a model's answer: checks it against the step's schema, and makes the step's output from it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, JsonValue, ValidationError

from jobchain.chains.chain import MAX_OUTPUT_BYTES, Step, StepContext
from jobchain.text import dump
from jobchain_worker.unwrapping import objects_in

_MAX_ANSWER_CHARACTERS = 100_000

_MAX_FAULTS = 5

# Any other part of a place is text of the answer, which can have any length.
_FIELD = re.compile(r"[A-Za-z0-9_]{1,60}")


@dataclass(frozen=True, slots=True)
class Output:
    """The step's output, made from an answer that fits."""

    value: JsonValue


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is wrong with an answer, in words that the model gets with the next call.

    The words are for the model and the job's caller, not for a log: a field's name may be of the model's making.
    """

    text: str = field(repr=False)


def read_answer(step: Step, text: str, context: StepContext[Any]) -> Output | Complaint:
    """The output that the step makes from an answer's text, or what is wrong with the text."""
    if len(text) > _MAX_ANSWER_CHARACTERS:
        return Complaint(f"it has more than {_MAX_ANSWER_CHARACTERS} characters: be shorter")
    answer = _parsed(step, text)
    if isinstance(answer, Complaint):
        return answer
    output = step.read_answer(answer, context)
    if len(dump(output).encode()) > MAX_OUTPUT_BYTES:
        return Complaint("what it comes to is too long to be kept: be shorter")
    return Output(output)


def _parsed(step: Step, text: str) -> BaseModel | Complaint:
    """The answer that a text is, or that it holds beside something else: exactly one JSON object that fits."""
    parsed = _validated(step, text)
    if isinstance(parsed, BaseModel):
        return parsed
    objects = objects_in(text)
    found = [_validated(step, each) for each in objects if each != text]
    fitting = [answer for answer in found if isinstance(answer, BaseModel)]
    if len(fitting) == 1:
        return fitting[0]
    if len(fitting) > 1:
        return Complaint(f"it holds {len(fitting)} JSON objects that fit: give one, and nothing else")
    # What is wrong with the only object helps more than that the text around it is no JSON.
    return found[0] if len(found) == 1 else parsed


def _validated(step: Step, text: str) -> BaseModel | Complaint:
    try:
        return step.answer.model_validate_json(text, extra="forbid")
    except ValidationError as error:
        return Complaint(_faults(error))


def _faults(error: ValidationError) -> str:
    faults = error.errors(include_input=False, include_url=False, include_context=False)
    return "; ".join(f"{_place(fault['loc'])}: {fault['msg']}" for fault in faults[:_MAX_FAULTS])


def _place(path: Sequence[int | str]) -> str:
    parts = map(str, path)
    return ".".join(part if _FIELD.fullmatch(part) else "(another field)" for part in parts) or "it"
