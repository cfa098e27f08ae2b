"""The Responses API. https://platform.openai.com/docs/api-reference/responses"""

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from jobchain.llm import FailedAnswer, ModelAnswer, ModelRequest, SharedPrefix, UnusableAnswer
from jobchain_worker import prompt_cache
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


def _apart(request: ModelRequest) -> dict[str, Any]:
    return {"instructions": request.instructions, "input": request.input}


def _together(request: ModelRequest, prefix: SharedPrefix) -> dict[str, Any]:
    """The text that is prefix first. The top-level instructions can't have a breakpoint, and are the same for all."""
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": prompt_cache.with_breakpoint("input_text", prefix.text)},
        {"role": "developer", "content": prompt_cache.instructions(request, prefix)},
    ]
    if rest := prompt_cache.rest(request, prefix):
        messages.append({"role": "user", "content": rest})
    return {"instructions": prompt_cache.FIRST, "input": messages}


class Responses:
    """OpenAI and Azure have it."""

    path = "/responses"

    def __init__(self, *, caches: bool = False) -> None:
        """`caches` for a server that knows cache breakpoints."""
        self._caches = caches
        self._spared = Spared()

    def body(self, model: str, request: ModelRequest, max_tokens: int) -> dict[str, Any]:
        """See `Dialect`. The server is asked not to store the texts."""
        prefix = request.prefix if self._caches else None
        asked = _apart(request) if prefix is None else _together(request, prefix)
        answer = schema(request.answer) if prefix is None else prompt_cache.joint_format(prefix)
        return {
            "model": model,
            **asked,
            "text": {"format": {"type": "json_schema", **answer}},
            "max_output_tokens": max_tokens,
            "store": False,
            **({"reasoning": {"effort": request.effort}} if request.effort else {}),
            **({} if request.temperature is None else {"temperature": request.temperature}),
            **(prompt_cache.parameters(request) if self._caches else {}),
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
