"""How many tokens an answer may have: what is configured, and what the server's refusals have told since."""

import math
import re
from dataclasses import dataclass

from jobchain.llm import ModelRequest

LEAST_ROOM = 256
"""A server with less room for an answer has none."""

_MOST_READ = 4_000

# Before any refusal tells it: a token has about four bytes in English, and fewer in other languages.
_TOKENS_PER_BYTE = 1 / 3
# The next text may have more tokens for each byte.
_MARGIN = 1.1

_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")
_SUBJECT = re.compile(r"max_(completion_|output_|new_)?tokens|completion|output")
_WINDOW = re.compile(
    r"(?:context|model) (?:length|window|size)(?: is| of|:)?(?: only)? (\d+)"
    r"|\(context (\d+)\)"
    r"|max_new_tokens`? must be <= (\d+)"
    r"|context limit: \d+ \+ \d+ > (\d+)"
)
"""How vLLM, SGLang, OpenAI, OpenRouter, TGI and Anthropic say how many tokens input and output may have together."""

_INPUT = re.compile(
    r"(\d+) (?:in the messages|in the prompt|of text input|prompt tokens|input tokens|tokens from the input)"
    r"|given: (\d+) `?inputs"
    r"|context limit: (\d+) \+"
)
"""How they say how many of them are taken."""

_MOST = re.compile(
    r"at most `?(\d+)"
    r"|\[\s*\d+\s*,\s*(\d+)\s*\]"
    r"|<= ?`?(\d+)"
    r"|less than or equal to `?(\d+)"
    r"|\d+ > (\d+), which is the maximum"
    r"|maximum (?:allowed )?(?:value|number)[^\d]{0,60}? (?:is|of) `?(\d+)"
    r"|between \d+ and (\d+)"
)
"""How OpenAI, DeepSeek, Groq, Anthropic and others say how many tokens an answer may have."""

_EXCLUSIVE = re.compile(r"to (\d+) \(exclusive\)")


@dataclass(frozen=True, slots=True)
class _Window:
    tokens: int
    tokens_per_byte: float

    def left(self, size: int) -> int:
        return self.tokens - math.ceil(size * self.tokens_per_byte)


class OutputLimits:
    """The room for answers of one model, for as long as this process lives."""

    def __init__(self, configured: int) -> None:
        """`configured` is the most that an answer may have."""
        self._most = configured
        self._window: _Window | None = None

    @property
    def most(self) -> int:
        """The most tokens that an answer may have."""
        return self._most

    def room(self, request: ModelRequest) -> int:
        """The most tokens that the answer to a request may have."""
        room = min(self._most, request.max_output_tokens or self._most)
        left = self._window.left(request.size) if self._window else room
        # What is known of the window is no reason to send no call: the server counts for itself.
        return min(room, left) if left >= LEAST_ROOM else room

    def learn(self, refusal: str, room: int, request: ModelRequest) -> int | None:
        """The room that the server's refusal of `room` leaves, also for later calls; None where it does not tell one.

        `refusal` is the server's explanation without quotations of the request: a text must not set limits.
        """
        said = _THOUSANDS.sub("", refusal[:_MOST_READ].lower())
        if not _SUBJECT.search(said):
            return None
        size = request.size
        if window := _number(_WINDOW, said):
            taken = _number(_INPUT, said)
            per_byte = _TOKENS_PER_BYTE if taken is None else taken / size
            left = window - taken if taken is not None else _Window(window, per_byte).left(size)
            if LEAST_ROOM <= left < room:
                self._window = _Window(window, per_byte * _MARGIN)
                return left
            return None
        exclusive = _number(_EXCLUSIVE, said)
        most = exclusive - 1 if exclusive else _number(_MOST, said)
        if most is None or not LEAST_ROOM <= most < room:
            return None
        self._most = min(self._most, most)
        return most


def _number(pattern: re.Pattern[str], text: str) -> int | None:
    found = pattern.search(text)
    digits = next(filter(None, found.groups()), "") if found else ""
    return int(digits) if 0 < len(digits) <= 9 else None
