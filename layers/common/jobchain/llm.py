"""The port to the language model: the one thing that costs money and that no emulator stands in for."""

from dataclasses import dataclass
from typing import Protocol

from pydantic import BaseModel

from jobchain.errors import ModelError
from jobchain.model import Usage


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One question to a model: what to do, the material to do it with, and the shape of the answer."""

    instructions: str
    input: str
    answer: type[BaseModel]


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """What came back, and is paid for: a text that is not yet checked against the schema, or what stands for one.

    `usage` is None where the server does not tell it. Without a `text` there is either a `complaint`, in words that
    the model can act on when it is asked again, or an `error`, which ends the matter.
    """

    model: str
    usage: Usage | None
    text: str | None = None
    complaint: str = ""
    error: ModelError | None = None


class LLM(Protocol):
    """Asks a language model."""

    async def ask(self, request: ModelRequest) -> ModelAnswer:
        """The model's answer to `request`.

        Raises TransientModelError where trying again later may help, PermanentModelError where it can't.
        """
        ...
