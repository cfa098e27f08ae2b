"""The beginning of a step's prompt that a provider is to cache for other steps of the job."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from jobchain.llm import SharedPrefix

MIN_BYTES = 4_096
"""A shorter text is not cached: providers cache 1,024 tokens at least, and English has four characters a token.
https://developers.openai.com/api/docs/guides/prompt-caching"""


@dataclass(frozen=True)
class Prefix:
    """`write` writes its text, of a step's context. `answers` are those of all steps that share it, by name."""

    write: Callable[[Any], str]
    answers: tuple[tuple[str, type[BaseModel]], ...] = ()

    def of(self, context: Any) -> SharedPrefix | None:
        """What the model's adapter gets of it; None for a text that no provider caches."""
        text = self.write(context)
        return SharedPrefix(text, self.answers) if len(text.encode()) >= MIN_BYTES else None
