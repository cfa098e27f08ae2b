"""Reads a model's answer: checks it against the step's schema, and makes the step's output from it."""

from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue, ValidationError

from jobchain.chains.chain import Step, StepContext
from jobchain.text import dump

_MAX_ANSWER_CHARACTERS = 100_000

# An item of the table has 400 KB at most, its other attributes included:
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
_MAX_OUTPUT_BYTES = 350_000

_MOST_FAULTS = 5


@dataclass(frozen=True, slots=True)
class Output:
    """The step's output, made from an answer that fits."""

    value: JsonValue


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is wrong with an answer, in words that the model gets with the next call."""

    text: str


def read_answer(step: Step, text: str, context: StepContext[Any]) -> Output | Complaint:
    """The output that the step makes from an answer's text, or what is wrong with the text."""
    if len(text) > _MAX_ANSWER_CHARACTERS:
        return Complaint(f"it has more than {_MAX_ANSWER_CHARACTERS} characters: be shorter")
    try:
        answer = step.answer.model_validate_json(text)
    except ValidationError as error:
        return Complaint(_faults(error))
    output = step.read_answer(answer, context)
    if len(dump(output).encode()) > _MAX_OUTPUT_BYTES:
        return Complaint("what it comes to is too long to be kept: be shorter")
    return Output(output)


def _faults(error: ValidationError) -> str:
    faults = error.errors(include_input=False, include_url=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'it'}: {fault['msg']}" for fault in faults[:_MOST_FAULTS])
