"""The Chat Completions API. https://platform.openai.com/docs/api-reference/chat"""

from collections.abc import Sequence
from typing import Annotated, Any, TypeGuard

from pydantic import BeforeValidator, Field, ValidationError

from jobchain.llm import ModelAnswer, ModelRequest, SharedPrefix, UnusableAnswer
from jobchain_worker import prompt_cache
from jobchain_worker.chat_stream import ChatStream, joined
from jobchain_worker.dialects import (
    CUT_OFF,
    EMPTY,
    REFUSED,
    Part,
    Spared,
    billing,
    declined,
    failed,
    schema,
    text_answer,
)
from jobchain_worker.fault_errors import FILTERED
from jobchain_worker.reported_usage import CHAT_USAGE
from jobchain_worker.response_errors import error_in, stopped, unknown_form


def _or_none(value: object) -> object:
    """A text; None for anything else in a field that can be spared."""
    return value if isinstance(value, str) else None


def _arguments(calls: object) -> object:
    """The arguments of the calls of tools, as texts."""
    functions = [call.get("function") for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    texts = [function.get("arguments") for function in functions if isinstance(function, dict)]
    return [text for text in texts if isinstance(text, str) and text]


class _Message(Part):
    content: Annotated[str | None, BeforeValidator(joined)] = None
    refusal: str | None = None
    reasoning_content: Annotated[str | None, BeforeValidator(_or_none)] = None
    tool_calls: Annotated[list[str], BeforeValidator(_arguments)] = Field(default_factory=list)


class _Choice(Part):
    message: _Message
    finish_reason: str | None = None


class _Completion(Part):
    choices: list[_Choice]


# OpenAI's newer models call the role "developer", and accept this name for it.
_SYSTEM = "system"


def _apart(request: ModelRequest) -> list[dict[str, Any]]:
    return [_message(_SYSTEM, request.instructions), _message("user", request.input)]


def _together(request: ModelRequest, prefix: SharedPrefix) -> list[dict[str, Any]]:
    """The text that is prefix first: what differs comes after it."""
    rest = prompt_cache.rest(request, prefix)
    return [
        _message(_SYSTEM, prompt_cache.FIRST),
        _message("user", prompt_cache.with_breakpoint("text", prefix.text)),
        _message(_SYSTEM, prompt_cache.instructions(request, prefix)),
        *([_message("user", rest)] if rest else []),
    ]


def _message(role: str, content: object) -> dict[str, Any]:
    return {"role": role, "content": content}


class Chat:
    """Every compatible server has it."""

    path = "/chat/completions"

    def __init__(self, *, is_local: bool = False, caches: bool = False) -> None:
        """`caches` for a server that knows cache breakpoints, `is_local` for one on this machine.

        One on this machine is asked how far it has read the prompt. llama.cpp tells it, and what else runs on a laptop
        ignores the question.
        https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md
        """
        self._caches = caches
        progress = {"return_progress": True} if is_local else {}
        self._spared = Spared(stream_options={"include_usage": True}, **progress)
        # Ollama ignores `max_completion_tokens`, and OpenAI's newer models refuse `max_tokens`. So the one that no
        # server ignores comes first: without a limit of the answer, no budget can be kept.
        self._limit = "max_tokens"

    def body(self, model: str, request: ModelRequest, max_tokens: int) -> dict[str, Any]:
        """See `Dialect`. `store` is left out, as not every server knows it."""
        prefix = request.prefix if self._caches else None
        answer = schema(request.answer) if prefix is None else prompt_cache.joint_format(prefix)
        return {
            "model": model,
            "messages": _apart(request) if prefix is None else _together(request, prefix),
            "response_format": {"type": "json_schema", "json_schema": answer},
            self._limit: max_tokens,
            **({"reasoning_effort": request.effort} if request.effort else {}),
            **({} if request.temperature is None else {"temperature": request.temperature}),
            **(prompt_cache.parameters(request) if self._caches else {}),
            **self._spared.sent,
        }

    def avoid(self, parameter: str | None) -> bool:
        """See `Dialect`."""
        if parameter != "max_tokens":
            return self._spared.avoid(parameter)
        self._limit = "max_completion_tokens"
        return True

    def assembler(self) -> ChatStream:
        """See `Dialect`."""
        return ChatStream()

    def read(self, response: object, model: str, texts: Sequence[str] = ()) -> ModelAnswer:
        """See `Dialect`."""
        model, usage = billing(response, model, CHAT_USAGE)
        if error := error_in(response, "choices", texts):
            return failed(model, usage, error)
        try:
            reply = _Completion.model_validate(response)
        except ValidationError:
            return failed(model, usage, unknown_form(response))
        if not reply.choices:
            return UnusableAnswer(model, usage, EMPTY)
        choice = reply.choices[0]
        message, reason = choice.message, (choice.finish_reason or "").lower()
        text = message.content or ""
        if reason in _FILTERS:
            return declined(model, usage, FILTERED, text)
        if message.refusal or reason == "refusal":
            return declined(model, usage, REFUSED, message.refusal or text)
        if reason in _FAILURES:
            return failed(model, usage, stopped(reason, response, text, texts))
        if reason in _LENGTHS:
            return UnusableAnswer(model, usage, CUT_OFF, text=text, cut_off=True)
        # Some servers, such as vLLM with a parser of reasoning, take an answer without thoughts for a thought.
        thought = [message.reasoning_content] if _is_object(message.reasoning_content) else []
        return text_answer(model, usage, text, message.tool_calls or thought)


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
