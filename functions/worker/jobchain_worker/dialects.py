"""The two APIs of OpenAI-compatible servers: Responses and Chat Completions.

Each dialect turns a request into the body of a call, and a response into an answer. It validates responses, as the SDK
does not.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Annotated, Any, Literal, Protocol, TypeGuard

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from jobchain.errors import CallReport, ModelError, PermanentModelError
from jobchain.llm import AnswerText, FailedAnswer, ModelAnswer, ModelRequest, UnusableAnswer
from jobchain.spending import Usage
from jobchain_worker.fault_errors import FILTERED
from jobchain_worker.reported_usage import UsageNames, read_usage
from jobchain_worker.response_errors import error_in, failure, stopped, unknown_form

Api = Literal["responses", "chat"]
"""The name of an API, as the setting OPENAI_API holds it."""

_REFUSED = ("model_refused", "the model declined to work on this text")
_CUT_OFF = "it was cut off: be shorter"
_EMPTY = "it was empty"

# A longer one is not the name of a model.
_MAX_NAME = 200


class Dialect(Protocol):
    """One API, at `path`."""

    path: str

    def body(self, model: str, request: ModelRequest, max_tokens: int) -> dict[str, Any]:
        """The body of the call for `request`; the answer may have at most `max_tokens`."""
        ...

    def avoid(self, parameter: str | None) -> bool:
        """Has later calls do without a parameter that the server does not support; False where the API needs it."""
        ...

    def read(self, response: object, model: str, texts: Sequence[str] = ()) -> ModelAnswer:
        """The answer in a response to a call of `model`, which is its model too where the server names none.

        Raises ModelError for a response without an answer or usage. The reports of errors hold the words of the model
        and the provider as they came. What the provider quotes of the request's `texts` is no word of its own.
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
    arguments: str | None = None


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

    def read(self, response: object, model: str, texts: Sequence[str] = ()) -> ModelAnswer:
        """See `Dialect`."""
        model, usage = _billing(response, model, _RESPONSES_USAGE)
        if error := error_in(response, "output", texts):
            return _failed(model, usage, error)
        try:
            reply = _Response.model_validate(response)
        except ValidationError:
            return _failed(model, usage, unknown_form(response))
        parts = [part for item in reply.output if item.type == "message" for part in item.content or []]
        text = "".join(part.text for part in parts if part.type == "output_text")
        if reply.status in ("failed", "cancelled"):
            return FailedAnswer(model, usage, failure(response, text, texts))
        if reply.status == "incomplete":
            if reply.incomplete_details and reply.incomplete_details.reason == "content_filter":
                return _declined(model, usage, FILTERED, text)
            return UnusableAnswer(model, usage, _CUT_OFF, text=text, cut_off=True)
        if any(part.type == "refusal" for part in parts):
            return _declined(model, usage, _REFUSED, "".join(part.refusal or part.text for part in parts))
        calls = [item.arguments for item in reply.output if item.type == "function_call" and item.arguments]
        return _text_answer(model, usage, text, calls)


# --- the Chat Completions API ----------------------------------------------------------------------


def _joined(content: object) -> object:
    """The text of a message that comes in parts, as Mistral's do; parts of other kinds, such as thoughts, are none."""
    if not isinstance(content, list):
        return content
    parts = [part for part in content if isinstance(part, dict) and part.get("type") == "text"]
    return "".join(part["text"] for part in parts if isinstance(part.get("text"), str))


def _or_none(value: object) -> object:
    """A text; None for anything else in a field that can be spared."""
    return value if isinstance(value, str) else None


def _arguments(calls: object) -> object:
    """The arguments of the calls of tools, as texts."""
    functions = [call.get("function") for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    texts = [function.get("arguments") for function in functions if isinstance(function, dict)]
    return [text for text in texts if isinstance(text, str) and text]


class _Message(_Part):
    content: Annotated[str | None, BeforeValidator(_joined)] = None
    refusal: str | None = None
    reasoning_content: Annotated[str | None, BeforeValidator(_or_none)] = None
    tool_calls: Annotated[list[str], BeforeValidator(_arguments)] = Field(default_factory=list)


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

    def read(self, response: object, model: str, texts: Sequence[str] = ()) -> ModelAnswer:
        """See `Dialect`."""
        model, usage = _billing(response, model, _CHAT_USAGE)
        if error := error_in(response, "choices", texts):
            return _failed(model, usage, error)
        try:
            reply = _Completion.model_validate(response)
        except ValidationError:
            return _failed(model, usage, unknown_form(response))
        if not reply.choices:
            return UnusableAnswer(model, usage, _EMPTY)
        choice = reply.choices[0]
        message, reason = choice.message, (choice.finish_reason or "").lower()
        text = message.content or ""
        if reason in _FILTERS:
            return _declined(model, usage, FILTERED, text)
        if message.refusal or reason == "refusal":
            return _declined(model, usage, _REFUSED, message.refusal or text)
        if reason in _FAILURES:
            return _failed(model, usage, stopped(reason, response, text, texts))
        if reason in _LENGTHS:
            return UnusableAnswer(model, usage, _CUT_OFF, text=text, cut_off=True)
        # Some servers, such as vLLM with a parser of reasoning, take an answer without thoughts for a thought.
        thought = [message.reasoning_content] if _is_object(message.reasoning_content) else []
        return _text_answer(model, usage, text, message.tool_calls or thought)


# In lower case. "SAFETY" and the like are Gemini's, "sensitive" is Zhipu's.
_FILTERS = {"content_filter", "content_filtered", "safety", "prohibited_content", "recitation", "blocklist", "spii"}
_FILTERS |= {"sensitive", "guardrail_intervened"}
_LENGTHS = {"length", "max_tokens", "max_output_tokens", "model_length", "model_context_window_exceeded"}
# OpenRouter's, DeepSeek's, Zhipu's, and those of vLLM and SGLang.
_FAILURES = {"error", "insufficient_system_resource", "network_error", "abort", "cancelled"}


def _is_object(text: str | None) -> TypeGuard[str]:
    """Whether a text as a whole looks like a JSON object."""
    stripped = (text or "").strip()
    return stripped.startswith("{") and stripped.endswith("}")


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


def _text_answer(model: str, usage: Usage | None, text: str, elsewhere: Sequence[str] = ()) -> ModelAnswer:
    """The answer with this text. Where there is none, with the one text that it has `elsewhere`."""
    if not text.strip() and len(elsewhere) == 1:
        text = elsewhere[0]
    return AnswerText(model, usage, text) if text.strip() else UnusableAnswer(model, usage, _EMPTY, text=text)


def _declined(model: str, usage: Usage | None, error: tuple[str, str], text: str) -> FailedAnswer:
    type_, message = error
    return FailedAnswer(model, usage, PermanentModelError(type_, message, CallReport(cause=message, answer=text)))


def _failed(model: str, usage: Usage | None, error: ModelError) -> FailedAnswer:
    """The answer that failed with an error. Raises it where no usage is told: its report says what may be billed."""
    if usage is None:
        raise error
    error.report = replace(error.report, maybe_billed=False)
    return FailedAnswer(model, usage, error)
