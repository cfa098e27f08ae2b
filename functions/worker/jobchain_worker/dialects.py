"""What the two APIs of OpenAI-compatible servers share: Responses and Chat Completions.

Each dialect turns a request into the body of a call, and a response into an answer. It validates responses, as the SDK
does not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Literal, Protocol, TypeGuard

from pydantic import BaseModel, ConfigDict

from jobchain.errors import CallReport, ModelError, PermanentModelError
from jobchain.llm import AnswerText, FailedAnswer, ModelAnswer, ModelRequest, UnusableAnswer
from jobchain.spending import Usage
from jobchain.strict_schema import schema_name, strict_schema
from jobchain_worker.assembling import Assembler
from jobchain_worker.reported_usage import UsageNames, read_usage

Api = Literal["responses", "chat"]
"""The name of an API, as the setting OPENAI_API holds it."""

REFUSED = ("model_refused", "the model declined to work on this text")
CUT_OFF = "it was cut off: be shorter"
EMPTY = "it was empty"

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

    def assembler(self) -> Assembler:
        """Puts the events of a streamed response together again."""
        ...

    def read(self, response: object, model: str, texts: Sequence[str] = ()) -> ModelAnswer:
        """The answer in a response to a call of `model`, which is its model too where the server names none.

        Raises ModelError for a response without an answer or usage. The reports of errors hold the words of the model
        and the provider as they came. What the provider quotes of the request's `texts` is no word of its own.
        """
        ...


class Spared:
    """The parameters of a stream. A server that refuses one of them is asked without it from then on."""

    def __init__(self, **parameters: object) -> None:
        """`stream` and those that only go with it."""
        self._parameters: Mapping[str, object] = {"stream": True, **parameters}

    @property
    def sent(self) -> Mapping[str, object]:
        """Those that the server has not refused."""
        return self._parameters

    def avoid(self, parameter: str | None) -> bool:
        """Leaves the parameter out from now on; False where it is none of these."""
        if parameter == "stream":
            self._parameters = {}
            return True
        known = parameter in ("stream_options", "return_progress")
        self._parameters = {name: value for name, value in self._parameters.items() if name != parameter}
        return known


class Part(BaseModel):
    """Base of the parts of a response. Its schema is built when first used, as a worker uses one of the two APIs."""

    model_config = ConfigDict(defer_build=True)


@cache
def schema(answer: type[BaseModel]) -> dict[str, Any]:
    """The schema of an answer, as both APIs name it."""
    return {"name": schema_name(answer), "schema": strict_schema(answer), "strict": True}


def billing(response: object, asked: str, names: UsageNames) -> tuple[str, Usage | None]:
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


def text_answer(model: str, usage: Usage | None, text: str, elsewhere: Sequence[str] = ()) -> ModelAnswer:
    """The answer with this text. Where there is none, with the one text that it has `elsewhere`."""
    if not text.strip() and len(elsewhere) == 1:
        text = elsewhere[0]
    return AnswerText(model, usage, text) if text.strip() else UnusableAnswer(model, usage, EMPTY, text=text)


def declined(model: str, usage: Usage | None, error: tuple[str, str], text: str) -> FailedAnswer:
    """The answer of a model or filter that declines, with the text that it may have."""
    type_, message = error
    return FailedAnswer(model, usage, PermanentModelError(type_, message, CallReport(cause=message, answer=text)))


def failed(model: str, usage: Usage | None, error: ModelError) -> FailedAnswer:
    """The answer that failed with an error. Raises it where no usage is told: its report says what may be billed."""
    if usage is None:
        raise error
    error.report = replace(error.report, maybe_billed=False)
    return FailedAnswer(model, usage, error)
