"""The two APIs of OpenAI-compatible servers: Responses and Chat Completions.

Each dialect turns a request into the body of a call, and a response into an answer. It validates responses, as the SDK
does not.
"""

from functools import cache
from typing import Annotated, Any, Literal, Protocol

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from jobchain.errors import ModelError, PermanentModelError, TransientModelError
from jobchain.llm import AnswerText, FailedAnswer, ModelAnswer, ModelRequest, UnusableAnswer
from jobchain.spending import Usage

Api = Literal["responses", "chat"]
"""The name of an API, as the setting OPENAI_API holds it."""

FILTERED = ("content_filtered", "the provider's content filter stopped the text or the answer")
_REFUSED = ("model_refused", "the model declined to work on this text")
_CUT_OFF = "it was cut off: be shorter"
_EMPTY = "it was empty"

# Codes of a failed response after which another try may succeed.
_TRANSIENT_CODES = frozenset({"server_error", "rate_limit_exceeded"})

# Some servers send null for a count that they do not keep.
_Count = Annotated[int, BeforeValidator(lambda count: count or 0), Field(ge=0, le=10**9)]


class Dialect(Protocol):
    """One API, at `path`."""

    path: str

    def body(self, model: str, request: ModelRequest, max_tokens: int) -> dict[str, Any]:
        """The body of the call for `request`; the answer may have at most `max_tokens`."""
        ...

    def avoid(self, parameter: str | None) -> bool:
        """Leaves out a parameter that the server refused from now on; False where the API needs it."""
        ...

    def read(self, response: object) -> ModelAnswer:
        """The answer in a response. Raises TransientModelError for a response without an answer or usage."""
        ...


class _Part(BaseModel):
    """Base of the parts of a response. Its schema is built when first used, as a worker uses one of the two APIs."""

    model_config = ConfigDict(defer_build=True)


# --- the Responses API -----------------------------------------------------------------------------


class _Content(_Part):
    type: str
    text: str = ""


class _Item(_Part):
    type: str
    content: list[_Content] | None = None


class _InputDetails(_Part):
    cached_tokens: _Count = 0


class _OutputDetails(_Part):
    reasoning_tokens: _Count = 0


class _ResponseUsage(_Part):
    input_tokens: _Count = 0
    input_tokens_details: _InputDetails | None = None
    output_tokens: _Count = 0
    output_tokens_details: _OutputDetails | None = None

    def counted(self) -> Usage:
        return Usage(
            input_tokens=self.input_tokens,
            cached_tokens=(self.input_tokens_details or _InputDetails()).cached_tokens,
            output_tokens=self.output_tokens,
            reasoning_tokens=(self.output_tokens_details or _OutputDetails()).reasoning_tokens,
        )


class _Fault(_Part):
    code: str | None = None
    reason: str | None = None


class _BilledResponse(_Part):
    model: str = Field(max_length=200)
    usage: _ResponseUsage | None = None


class _Response(_BilledResponse):
    status: str
    output: list[_Item]
    error: _Fault | None = None
    incomplete_details: _Fault | None = None


class Responses:
    """https://platform.openai.com/docs/api-reference/responses: OpenAI and Azure have it."""

    path = "/responses"

    def body(self, model: str, request: ModelRequest, max_tokens: int) -> dict[str, Any]:
        """See `Dialect`. The server is asked not to store the texts."""
        return {
            "model": model,
            "instructions": request.instructions,
            "input": request.input,
            "text": {"format": {"type": "json_schema", **_schema(request.answer)}},
            "max_output_tokens": max_tokens,
            "store": False,
        }

    def avoid(self, parameter: str | None) -> bool:  # noqa: ARG002  # every server has all of them
        """See `Dialect`."""
        return False

    def read(self, response: object) -> ModelAnswer:
        """See `Dialect`."""
        try:
            reply = _Response.model_validate(response)
        except ValidationError:
            return _broken(_BilledResponse, response)
        model, usage = reply.model, reply.usage.counted() if reply.usage else None
        parts = [part for item in reply.output if item.type == "message" for part in item.content or []]
        if reply.status == "failed":
            return FailedAnswer(model, usage, _failure(reply))
        if reply.status == "incomplete":
            if reply.incomplete_details and reply.incomplete_details.reason == "content_filter":
                return FailedAnswer(model, usage, PermanentModelError(*FILTERED))
            return UnusableAnswer(model, usage, _CUT_OFF)
        if any(part.type == "refusal" for part in parts):
            return FailedAnswer(model, usage, PermanentModelError(*_REFUSED))
        return _text_answer(model, usage, "".join(part.text for part in parts if part.type == "output_text"))


def _failure(reply: _Response) -> ModelError:
    code = reply.error.code if reply.error else None
    if code in _TRANSIENT_CODES:
        return TransientModelError("the model's server failed")
    return PermanentModelError("model_failed", "the model's server gave the request up")


# --- the Chat Completions API ----------------------------------------------------------------------


class _PromptDetails(_Part):
    cached_tokens: _Count = 0


class _CompletionDetails(_Part):
    reasoning_tokens: _Count = 0


class _ChatUsage(_Part):
    prompt_tokens: _Count = 0
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens: _Count = 0
    completion_tokens_details: _CompletionDetails | None = None

    def counted(self) -> Usage:
        return Usage(
            input_tokens=self.prompt_tokens,
            cached_tokens=(self.prompt_tokens_details or _PromptDetails()).cached_tokens,
            output_tokens=self.completion_tokens,
            reasoning_tokens=(self.completion_tokens_details or _CompletionDetails()).reasoning_tokens,
        )


class _Message(_Part):
    content: str | None = None
    refusal: str | None = None


class _Choice(_Part):
    message: _Message
    finish_reason: str | None = None


class _BilledCompletion(_Part):
    model: str = Field(max_length=200)
    usage: _ChatUsage | None = None


class _Completion(_BilledCompletion):
    choices: list[_Choice]


class Chat:
    """https://platform.openai.com/docs/api-reference/chat: every compatible server has it."""

    path = "/chat/completions"

    def __init__(self) -> None:
        # Ollama ignores `max_completion_tokens`, and OpenAI's newer models refuse `max_tokens`. So the one that no
        # server ignores comes first: without a limit of the answer, no budget can be kept.
        self._limit = "max_tokens"

    def body(self, model: str, request: ModelRequest, max_tokens: int) -> dict[str, Any]:
        """See `Dialect`. `store` is left out, as not every server knows it."""
        return {
            "model": model,
            # OpenAI's newer models call the role "developer", and accept this name for it.
            "messages": [
                {"role": "system", "content": request.instructions},
                {"role": "user", "content": request.input},
            ],
            "response_format": {"type": "json_schema", "json_schema": _schema(request.answer)},
            self._limit: max_tokens,
        }

    def avoid(self, parameter: str | None) -> bool:
        """See `Dialect`."""
        if parameter != "max_tokens":
            return False
        self._limit = "max_completion_tokens"
        return True

    def read(self, response: object) -> ModelAnswer:
        """See `Dialect`."""
        try:
            reply = _Completion.model_validate(response)
        except ValidationError:
            return _broken(_BilledCompletion, response)
        model, usage = reply.model, reply.usage.counted() if reply.usage else None
        if not reply.choices:
            return UnusableAnswer(model, usage, _EMPTY)
        choice = reply.choices[0]
        if choice.finish_reason == "content_filter":
            return FailedAnswer(model, usage, PermanentModelError(*FILTERED))
        if choice.message.refusal:
            return FailedAnswer(model, usage, PermanentModelError(*_REFUSED))
        if choice.finish_reason == "length":
            return UnusableAnswer(model, usage, _CUT_OFF)
        return _text_answer(model, usage, choice.message.content or "")


# --- both ------------------------------------------------------------------------------------------


@cache
def _schema(answer: type[BaseModel]) -> dict[str, Any]:
    return {"name": answer.__name__, "schema": answer.model_json_schema(), "strict": True}


def _text_answer(model: str, usage: Usage | None, text: str) -> ModelAnswer:
    return AnswerText(model, usage, text) if text.strip() else UnusableAnswer(model, usage, _EMPTY)


def _broken(billed: type[_BilledResponse] | type[_BilledCompletion], response: object) -> ModelAnswer:
    """The answer in a response of another form. Its usage counts where it reports any."""
    error = TransientModelError("the model's server did not answer in the form of the API that OPENAI_API names")
    try:
        found = billed.model_validate(response)
    except ValidationError:
        raise error from None
    usage = found.usage.counted() if found.usage else Usage()
    if usage == Usage():
        raise error
    return FailedAnswer(found.model, usage, error)
