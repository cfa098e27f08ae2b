"""The two APIs of OpenAI-compatible servers: Responses and Chat Completions.

Each dialect turns a request into the body of a call, and a response into an answer. It validates responses, as the SDK
does not.
"""

from functools import cache
from typing import Any, Literal, Protocol, TypeGuard

from pydantic import BaseModel, ConfigDict, ValidationError

from jobchain.errors import CallReport, ModelError, PermanentModelError, TransientModelError
from jobchain.llm import AnswerText, FailedAnswer, ModelAnswer, ModelRequest, UnusableAnswer
from jobchain.spending import Usage
from jobchain_worker.explanations import code_of, explanation
from jobchain_worker.reported_usage import UsageNames, read_usage

Api = Literal["responses", "chat"]
"""The name of an API, as the setting OPENAI_API holds it."""

FILTERED = ("content_filtered", "the provider's content filter stopped the text or the answer")
_REFUSED = ("model_refused", "the model declined to work on this text")
_CUT_OFF = "it was cut off: be shorter"
_EMPTY = "it was empty"

UNREADABLE = "unreadable_answer"
"""The `TransientModelError.type` of an answer that can't be read."""

# Codes of a failed response after which another try may succeed, and the fault that each of them is.
_TRANSIENT_CODES = {"server_error": "server_error", "rate_limit_exceeded": "rate_limited"}

# A longer one is not the name of a model.
_MAX_NAME = 200


class Dialect(Protocol):
    """One API, at `path`."""

    path: str

    def body(self, model: str, request: ModelRequest, max_tokens: int) -> dict[str, Any]:
        """The body of the call for `request`; the answer may have at most `max_tokens`."""
        ...

    def avoid(self, parameter: str | None) -> bool:
        """Leaves out a parameter that the server refused from now on; False where the API needs it."""
        ...

    def read(self, response: object, model: str) -> ModelAnswer:
        """The answer in a response to a call of `model`, which is its model too where the server names none.

        Raises TransientModelError for a response without an answer or usage. The reports of errors hold the words of
        the model and the provider as they came.
        """
        ...


_RESPONSES_USAGE = UsageNames("input_tokens", "output_tokens")
_CHAT_USAGE = UsageNames("prompt_tokens", "completion_tokens")


class _Part(BaseModel):
    """Base of the parts of a response. Its schema is built when first used, as a worker uses one of the two APIs."""

    model_config = ConfigDict(defer_build=True)


# --- the Responses API -----------------------------------------------------------------------------


class _Content(_Part):
    type: str
    text: str = ""
    refusal: str | None = None


class _Item(_Part):
    type: str
    content: list[_Content] | None = None


class _Incomplete(_Part):
    reason: str | None = None


class _Response(_Part):
    status: str
    output: list[_Item]
    incomplete_details: _Incomplete | None = None


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

    def read(self, response: object, model: str) -> ModelAnswer:
        """See `Dialect`."""
        model, usage = _billing(response, model, _RESPONSES_USAGE)
        try:
            reply = _Response.model_validate(response)
        except ValidationError:
            return _broken(response, model, usage)
        parts = [part for item in reply.output if item.type == "message" for part in item.content or []]
        text = "".join(part.text for part in parts if part.type == "output_text")
        if reply.status == "failed":
            return FailedAnswer(model, usage, _failure(response, text))
        if reply.status == "incomplete":
            if reply.incomplete_details and reply.incomplete_details.reason == "content_filter":
                return _declined(model, usage, FILTERED, text)
            return UnusableAnswer(model, usage, _CUT_OFF, text=text)
        if any(part.type == "refusal" for part in parts):
            return _declined(model, usage, _REFUSED, "".join(part.refusal or part.text for part in parts))
        return _text_answer(model, usage, text)


def _failure(response: object, text: str) -> ModelError:
    code = code_of(response)
    report = CallReport(cause=explanation(response), answer=text or None, code=code)
    if code in _TRANSIENT_CODES:
        return TransientModelError("the model's server failed", report=report, type_=_TRANSIENT_CODES[code])
    return PermanentModelError("model_failed", "the model's server gave the request up", report)


# --- the Chat Completions API ----------------------------------------------------------------------


class _Message(_Part):
    content: str | None = None
    refusal: str | None = None


class _Choice(_Part):
    message: _Message
    finish_reason: str | None = None


class _Completion(_Part):
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

    def read(self, response: object, model: str) -> ModelAnswer:
        """See `Dialect`."""
        model, usage = _billing(response, model, _CHAT_USAGE)
        try:
            reply = _Completion.model_validate(response)
        except ValidationError:
            return _broken(response, model, usage)
        if not reply.choices:
            return UnusableAnswer(model, usage, _EMPTY)
        choice = reply.choices[0]
        text = choice.message.content or ""
        if choice.finish_reason == "content_filter":
            return _declined(model, usage, FILTERED, text)
        if choice.message.refusal:
            return _declined(model, usage, _REFUSED, choice.message.refusal)
        if choice.finish_reason == "length":
            return UnusableAnswer(model, usage, _CUT_OFF, text=text)
        return _text_answer(model, usage, text)


# --- both ------------------------------------------------------------------------------------------


@cache
def _schema(answer: type[BaseModel]) -> dict[str, Any]:
    return {"name": answer.__name__, "schema": answer.model_json_schema(), "strict": True}


def _billing(response: object, asked: str, names: UsageNames) -> tuple[str, Usage | None]:
    """The model that answered, which is the one that was asked where the server names none, and its usage.

    Both are read apart from the rest: what a server reports of them must not throw a good answer away.
    """
    if not isinstance(response, dict):
        return asked, None
    model = response.get("model")
    return model if _is_name(model) else asked, read_usage(response.get("usage"), names)


def _is_name(model: object) -> TypeGuard[str]:
    """Whether it can be the name of a model, and so the dimension of a metric."""
    if not isinstance(model, str) or len(model) > _MAX_NAME:
        return False
    return model.isascii() and model.isprintable() and not model.isspace() and model != ""


def _text_answer(model: str, usage: Usage | None, text: str) -> ModelAnswer:
    return AnswerText(model, usage, text) if text.strip() else UnusableAnswer(model, usage, _EMPTY, text=text)


def _declined(model: str, usage: Usage | None, error: tuple[str, str], text: str) -> FailedAnswer:
    type_, message = error
    return FailedAnswer(model, usage, PermanentModelError(type_, message, CallReport(cause=message, answer=text)))


def _broken(response: object, model: str, usage: Usage | None) -> FailedAnswer:
    """The answer in a response of another form. Raises its error where no usage is told, so that it is estimated."""
    cause = explanation(response) or "the answer has another form"
    report = CallReport(maybe_billed=usage is None, cause=cause, code=code_of(response))
    error = TransientModelError(
        "the model's server did not answer in the form of the API that OPENAI_API names",
        report=report,
        type_=UNREADABLE,
    )
    if usage is None:
        raise error
    return FailedAnswer(model, usage, error)
