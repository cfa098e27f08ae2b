"""The two forms in which an OpenAI-compatible server is asked: its Responses API and its Chat Completions API.

Each turns a request into the body of a call, and what came back into an answer. What a server sends is checked here, as
the SDK hands it on as it is.
"""

from functools import cache
from typing import Annotated, Any, Literal, Protocol

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from jobchain.domain import Usage
from jobchain.errors import ModelError, PermanentModelError, TransientModelError
from jobchain.llm import ModelAnswer, ModelRequest

Api = Literal["responses", "chat"]
"""Which of the two a server is asked by."""

FILTERED = ("content_filtered", "the provider's content filter stopped the text or the answer")
_REFUSED = ("model_refused", "the model declined to work on this text")
_CUT_OFF = "it was cut off: be shorter"
_EMPTY = "it was empty"

# Codes of a response that failed, after which another try may go well.
_TRANSIENT_CODES = frozenset({"server_error", "rate_limit_exceeded"})

# Some servers send a null for what they do not count.
_Count = Annotated[int, BeforeValidator(lambda count: count or 0), Field(ge=0, le=10**9)]


class Dialect(Protocol):
    """One form of asking, at `path`."""

    path: str

    def body(self, model: str, request: ModelRequest, max_tokens: int) -> dict[str, Any]:
        """What is sent for `request`, whose answer has at most `max_tokens`."""
        ...

    def avoid(self, parameter: str | None) -> bool:
        """Does without a parameter that the server refuses from now on; False where that can't be."""
        ...

    def read(self, response: object) -> ModelAnswer:
        """The answer in a response. Raises TransientModelError where there is none that anybody paid for."""
        ...


class _Part(BaseModel):
    """Base of what is read of an answer: built when it is first read, and of one of the two APIs only."""

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


class _PaidResponse(_Part):
    model: str = Field(max_length=200)
    usage: _ResponseUsage | None = None


class _Response(_PaidResponse):
    status: str
    output: list[_Item]
    error: _Fault | None = None
    incomplete_details: _Fault | None = None


class Responses:
    """https://platform.openai.com/docs/api-reference/responses: OpenAI's own, and Azure's."""

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

    def avoid(self, parameter: str | None) -> bool:  # noqa: ARG002  # every server knows them all
        """See `Dialect`."""
        return False

    def read(self, response: object) -> ModelAnswer:
        """See `Dialect`."""
        try:
            reply = _Response.model_validate(response)
        except ValidationError:
            return _broken(_PaidResponse, response)
        model, usage = reply.model, reply.usage.counted() if reply.usage else None
        parts = [part for item in reply.output if item.type == "message" for part in item.content or []]
        if reply.status == "failed":
            return ModelAnswer(model, usage, error=_failure(reply))
        if reply.status == "incomplete":
            if reply.incomplete_details and reply.incomplete_details.reason == "content_filter":
                return ModelAnswer(model, usage, error=PermanentModelError(*FILTERED))
            return ModelAnswer(model, usage, complaint=_CUT_OFF)
        if any(part.type == "refusal" for part in parts):
            return ModelAnswer(model, usage, error=PermanentModelError(*_REFUSED))
        return _said(model, usage, "".join(part.text for part in parts if part.type == "output_text"))


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


class _PaidCompletion(_Part):
    model: str = Field(max_length=200)
    usage: _ChatUsage | None = None


class _Completion(_PaidCompletion):
    choices: list[_Choice]


class Chat:
    """https://platform.openai.com/docs/api-reference/chat: what every compatible server has."""

    path = "/chat/completions"

    def __init__(self) -> None:
        # Ollama takes `max_completion_tokens` and pays no heed to it, OpenAI's newer models refuse `max_tokens`. So
        # the one that is never ignored comes first: an answer without a limit has no price that can be kept.
        self._limit = "max_tokens"

    def body(self, model: str, request: ModelRequest, max_tokens: int) -> dict[str, Any]:
        """See `Dialect`. `store` is left out, as not every server knows it."""
        return {
            "model": model,
            # Newer models of OpenAI's call the role "developer", and take this one for it.
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
            return _broken(_PaidCompletion, response)
        model, usage = reply.model, reply.usage.counted() if reply.usage else None
        if not reply.choices:
            return ModelAnswer(model, usage, complaint=_EMPTY)
        choice = reply.choices[0]
        if choice.finish_reason == "content_filter":
            return ModelAnswer(model, usage, error=PermanentModelError(*FILTERED))
        if choice.message.refusal:
            return ModelAnswer(model, usage, error=PermanentModelError(*_REFUSED))
        if choice.finish_reason == "length":
            return ModelAnswer(model, usage, complaint=_CUT_OFF)
        return _said(model, usage, choice.message.content or "")


# --- both ------------------------------------------------------------------------------------------


@cache
def _schema(answer: type[BaseModel]) -> dict[str, Any]:
    return {"name": answer.__name__, "schema": answer.model_json_schema(), "strict": True}


def _said(model: str, usage: Usage | None, text: str) -> ModelAnswer:
    return ModelAnswer(model, usage, text) if text.strip() else ModelAnswer(model, usage, complaint=_EMPTY)


def _broken(paid: type[_PaidResponse] | type[_PaidCompletion], response: object) -> ModelAnswer:
    """What stands for a response of another form: its tokens count all the same, where it tells them."""
    error = TransientModelError("the model's server did not answer in the form of the API that OPENAI_API names")
    try:
        found = paid.model_validate(response)
    except ValidationError:
        raise error from None
    usage = found.usage.counted() if found.usage else Usage()
    if usage == Usage():
        raise error
    return ModelAnswer(found.model, usage, error=error)
