"""How both forms of the baseline call the model: one call a step, with OpenAI's library as it is."""

from functools import cache
from typing import Any

import openai
from pydantic import BaseModel, JsonValue

from jobchain.chains.chain import Step, StepContext

MODEL = "gpt-6-luna"

TRANSIENT = (openai.APIConnectionError, openai.RateLimitError, openai.InternalServerError)
"""What a later call may not meet. The library itself has tried twice again by then."""


@cache
def client() -> openai.OpenAI:
    """Made in the process that first needs it. It reads OPENAI_API_KEY and OPENAI_BASE_URL; threads may share it."""
    return openai.OpenAI()


@cache
def _schema(answer: type[BaseModel]) -> dict[str, Any]:
    """An answer's JSON Schema, made once."""
    return answer.model_json_schema()


def ask(step: Step, context: StepContext[Any]) -> tuple[JsonValue, dict[str, Any]]:
    """The step's output by one call of the model, and what the call used: its tokens, by kind."""
    request = step.request(context)
    form: Any = {
        "type": "json_schema",
        "name": request.answer.__name__,
        "schema": _schema(request.answer),
        "strict": True,
    }
    response = client().responses.create(
        model=MODEL,
        instructions=request.instructions,
        input=request.input,
        text={"format": form},
        store=False,
    )
    usage = response.usage.model_dump() if response.usage else {}
    return step.read_answer(step.answer.model_validate_json(response.output_text), context), usage
