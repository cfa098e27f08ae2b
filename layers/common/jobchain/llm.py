"""The port to the language model: the one thing that costs money and that no emulator stands in for."""

import json
from dataclasses import dataclass
from typing import Protocol

from pydantic import BaseModel

from jobchain.domain import Tier, Usage
from jobchain.errors import ModelError

# What a server adds for roles and marks: some ten tokens for each of a few messages.
_OVERHEAD = 200


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One question to a model: what to do, the material to do it with, and the shape of the answer.

    The answer may have no more tokens than `max_output_tokens`, where that is less than what the adapter allows.
    """

    instructions: str
    input: str
    answer: type[BaseModel]
    max_output_tokens: int | None = None
    tier: Tier = Tier.STANDARD

    @property
    def size(self) -> int:
        """The bytes of all that the model reads, its answer's schema included."""
        schema = json.dumps(self.answer.model_json_schema())
        return sum(len(text.encode()) for text in (self.instructions, self.input, schema)) + _OVERHEAD


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """What came back, and is paid for: a text that is not yet checked against the schema, or what stands for one.

    `tier` is how the call was served, and is priced. `usage` is None where the server does not tell it. Without a
    `text` there is either a `complaint`, in words that the model can act on when it is asked again, or an `error`,
    which ends the matter.
    """

    model: str
    usage: Usage | None
    text: str | None = None
    complaint: str = ""
    error: ModelError | None = None
    tier: Tier = Tier.STANDARD


class LLM(Protocol):
    """Asks a language model, whose name is `model`."""

    @property
    def model(self) -> str: ...

    async def ask(self, request: ModelRequest) -> ModelAnswer:
        """The model's answer to `request`.

        Raises TransientModelError where trying again later may help, PermanentModelError where it can't.
        """
        ...

    async def count_tokens(self, text: str) -> int | None:
        """How many tokens of input the model makes of `text`, by its own count; None where it does not tell."""
        ...
