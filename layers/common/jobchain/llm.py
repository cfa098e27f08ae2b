"""The port to the language model: the one thing that costs money and that no emulator stands in for."""

from dataclasses import dataclass
from typing import Protocol

from pydantic import BaseModel

from jobchain.model import Usage


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One question to a model: what to do, the material to do it with, and the shape of the answer."""

    instructions: str
    input: str
    answer: type[BaseModel]


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """What came back, not yet checked against the schema.

    `text` is None where the model gave no whole answer; `complaint` then says why, in words that the
    model can act on when it is asked again.
    """

    model: str
    usage: Usage
    text: str | None
    complaint: str = ""


class LLM(Protocol):
    """Asks a language model."""

    async def ask(self, request: ModelRequest) -> ModelAnswer:
        """The model's answer to `request`.

        Raises TransientModelError where trying again later may help, PermanentModelError where it can't.
        """
        ...
