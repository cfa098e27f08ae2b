"""The beginning of a step's prompt, where a provider is to keep it for other steps of the job."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from jobchain.llm import SharedText

MIN_BYTES = 4_096
"""A shorter text is not kept: providers keep 1,024 tokens at least, and English has four characters a token.
https://developers.openai.com/api/docs/guides/prompt-caching"""


@dataclass(frozen=True)
class Kept:
    """`write` writes it, of a step's context. `answers` are those of all steps whose prompts begin with it, by name."""

    write: Callable[[Any], str]
    answers: tuple[tuple[str, type[BaseModel]], ...] = ()

    def shared(self, context: Any) -> SharedText | None:
        """What the model's adapter gets of it; None for a text that no provider keeps."""
        text = self.write(context)
        return SharedText(text, self.answers) if len(text.encode()) >= MIN_BYTES else None
