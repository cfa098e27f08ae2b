"""The Responses API. https://platform.openai.com/docs/api-reference/responses"""

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from jobchain.llm import FailedAnswer, ModelAnswer, ModelRequest, UnusableAnswer
from jobchain_worker.dialects import CUT_OFF, REFUSED, Part, Spared, billing, declined, failed, schema, text_answer
from jobchain_worker.fault_errors import FILTERED
from jobchain_worker.reported_usage import RESPONSES_USAGE
from jobchain_worker.response_errors import error_in, failure, unknown_form
from jobchain_worker.responses_stream import ResponsesStream


class _Content(Part):
    type: str
    text: str = ""
    refusal: str | None = None


class _Item(Part):
    type: str
    content: list[_Content] | None = None
    arguments: str | None = None


class _Incomplete(Part):
    reason: str | None = None


class _Response(Part):
    status: str
    output: list[_Item]
    incomplete_details: _Incomplete | None = None


class Responses:
    """OpenAI and Azure have it."""

    path = "/responses"

    def __init__(self) -> None:
        self._spared = Spared()

    def body(self, model: str, request: ModelRequest, max_tokens: int) -> dict[str, Any]:
        """See `Dialect`. The server is asked not to store the texts."""
        return {
            "model": model,
            "instructions": request.instructions,
            "input": request.input,
            "text": {"format": {"type": "json_schema", **schema(request.answer)}},
            "max_output_tokens": max_tokens,
            "store": False,
            **({"reasoning": {"effort": request.effort}} if request.effort else {}),
            **({} if request.temperature is None else {"temperature": request.temperature}),
            **self._spared.sent,
        }

    def avoid(self, parameter: str | None) -> bool:
        """See `Dialect`."""
        return self._spared.avoid(parameter)

    def assembler(self) -> ResponsesStream:
        """See `Dialect`."""
        return ResponsesStream()

    def read(self, response: object, model: str, texts: Sequence[str] = ()) -> ModelAnswer:
        """See `Dialect`."""
        model, usage = billing(response, model, RESPONSES_USAGE)
        if error := error_in(response, "output", texts):
            return failed(model, usage, error)
        try:
            reply = _Response.model_validate(response)
        except ValidationError:
            return failed(model, usage, unknown_form(response))
        parts = [part for item in reply.output if item.type == "message" for part in item.content or []]
        text = "".join(part.text for part in parts if part.type == "output_text")
        if reply.status in ("failed", "cancelled"):
            return FailedAnswer(model, usage, failure(response, text, texts))
        if reply.status == "incomplete":
            if reply.incomplete_details and reply.incomplete_details.reason == "content_filter":
                return declined(model, usage, FILTERED, text)
            return UnusableAnswer(model, usage, CUT_OFF, text=text, cut_off=True)
        if any(part.type == "refusal" for part in parts):
            return declined(model, usage, REFUSED, "".join(part.refusal or part.text for part in parts))
        calls = [item.arguments for item in reply.output if item.type == "function_call" and item.arguments]
        return text_answer(model, usage, text, calls)
