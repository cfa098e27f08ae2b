"""The port to the language model: the one service that costs money and that no emulator replaces."""

import hashlib
import json
from dataclasses import dataclass, field
from functools import cache
from typing import Protocol

from pydantic import BaseModel

from jobchain.domain import Tier
from jobchain.errors import ModelError
from jobchain.rate_limits import NO_RATE_LIMITS, RateLimits
from jobchain.spending import Usage
from jobchain.strict_schema import strict_schema

# In bytes: what a server adds for roles and marks, some ten tokens for each of a few messages.
_OVERHEAD = 200


# What an adapter adds where steps share a prefix: a sentence before it, and one after it.
_SHARED_OVERHEAD = 1_000
# What is around each answer's schema where there are several.
_BRANCH_OVERHEAD = 300


# Composing a schema takes longer than the rest of a step's work, and a call's size is asked for several times.
@cache
def _schema_size(answer: type[BaseModel]) -> int:
    return len(json.dumps(strict_schema(answer)).encode())


@dataclass(frozen=True, slots=True)
class SharedPrefix:
    """The text with which the prompts of several steps begin, for a provider to cache.

    A provider caches a prompt from its very beginning, which the schema of the answer is a part of: `answers` are those
    of all these steps, by name, so that each of them can send the same.
    """

    text: str
    answers: tuple[tuple[str, type[BaseModel]], ...]


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One request to a model: the instructions, the material, and the schema of the answer.

    The answer has at most `max_output_tokens` tokens, where that is less than the adapter's own limit. `model` is the
    model that is asked in place of the adapter's own, `effort` how much it reasons; without them, and without a
    `temperature`, that is left to the adapter and the model. The `input` begins with the text of its `prefix`.
    `caller` tells a provider which calls are made for the same caller, and not for whom.
    """

    instructions: str
    input: str
    answer: type[BaseModel]
    max_output_tokens: int | None = None
    tier: Tier = Tier.STANDARD
    model: str | None = None
    effort: str | None = None
    temperature: float | None = None
    prefix: SharedPrefix | None = None
    caller: str = field(default="", compare=False)
    step: str = field(default="", compare=False)
    """The stored name of the step that asks. No model reads it."""

    @property
    def digest(self) -> str:
        """A hash of the texts that the model reads, by which two requests are compared."""
        texts = json.dumps([self.instructions, self.input], ensure_ascii=False)
        return hashlib.sha256(texts.encode()).hexdigest()[:8]

    @property
    def size(self) -> int:
        """The bytes of everything that the model reads, the answer's schema included."""
        texts = len(self.instructions.encode()) + len(self.input.encode()) + _OVERHEAD
        if self.prefix is None:
            return texts + _schema_size(self.answer)
        schemas = (_BRANCH_OVERHEAD + _schema_size(answer) for _, answer in self.prefix.answers)
        return texts + _SHARED_OVERHEAD + sum(schemas)


@dataclass(frozen=True, slots=True)
class AnswerText:
    """The text of an answer, not yet checked against the schema."""

    model: str
    usage: Usage | None
    text: str
    tier: Tier = Tier.STANDARD
    request_id: str | None = None
    limits: RateLimits = NO_RATE_LIMITS
    first_token_seconds: float | None = field(default=None, compare=False)
    without_effort: bool = False


@dataclass(frozen=True, slots=True)
class UnusableAnswer:
    """An answer without a usable text. `complaint` says why, in words that the model gets with the next call.

    `text` is what there is of a text. `cut_off` if the answer had no more room.
    """

    model: str
    usage: Usage | None
    complaint: str
    tier: Tier = Tier.STANDARD
    request_id: str | None = None
    text: str = ""
    cut_off: bool = False
    limits: RateLimits = NO_RATE_LIMITS
    first_token_seconds: float | None = field(default=None, compare=False)
    without_effort: bool = False


@dataclass(frozen=True, slots=True)
class FailedAnswer:
    """A billed answer that ends the step's call: `error` says why, and its report more."""

    model: str
    usage: Usage | None
    error: ModelError
    tier: Tier = Tier.STANDARD
    request_id: str | None = None
    limits: RateLimits = NO_RATE_LIMITS
    first_token_seconds: float | None = field(default=None, compare=False)
    without_effort: bool = False


ModelAnswer = AnswerText | UnusableAnswer | FailedAnswer
"""The model's answer to a call, which is billed. `model` is the model that answered, as its server names it.

`usage` is None where the server does not report it, or reports what is no count: then the call has to be estimated.
The report of a FailedAnswer's error is never `maybe_billed`, as the answer itself is counted. `tier` is the tier that
the call was served and priced as. `limits` is what the server told of its account's limits. `first_token_seconds` is
how long the answer's first token took, None where the answer came in one piece. `without_effort` if the request had an
effort and the call was sent without it, as the model does not take it.
"""


class LLM(Protocol):
    """Calls the language model named `model`; its answers have at most `max_output_tokens` tokens."""

    @property
    def model(self) -> str: ...

    @property
    def max_output_tokens(self) -> int: ...

    async def ask(self, request: ModelRequest) -> ModelAnswer:
        """The model's answer to `request`.

        Raises TransientModelError where trying again later may help, PermanentModelError where it can't. The report of
        the error says whether the call may be billed nevertheless.
        """
        ...

    async def count_tokens(self, text: str) -> int | None:
        """The input tokens of `text`, by the model's own count; None where the server does not count them."""
        ...
