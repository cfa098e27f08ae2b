"""Accounts for prompts as OpenAI does from GPT-5.6 on: what of each it reads from its cache, and what it writes to it.

https://developers.openai.com/api/docs/guides/prompt-caching, as read on 2026-11-29. Tokens are estimated, one for every
four bytes. The format of the answer is the beginning of a prompt, as the guide has it: what follows is cached only
for calls with the same one, and so it is with the model, the effort, the tier and the cache's key.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jobchain_offline.answering import estimated_tokens

MIN_TOKENS = 1_024
"""The least that is cached, without the format."""

LIFETIME_SECONDS = 30 * 60
"""After the last write or read."""

_EARLIER_MESSAGES = 20


class Place(NamedTuple):
    """Where a part of a prompt ends: how many tokens come before, and what they are, as a hash."""

    tokens: int
    said: int
    """Those of them that are no format."""
    digest: str
    has_breakpoint: bool
    ends_message: bool


@dataclass
class Account:
    """What the cache holds of the calls so far."""

    now: float = 0
    """Seconds on a clock of its own."""
    _kept: dict[str, float] = field(default_factory=dict)

    def usage(self, body: Mapping[str, Any]) -> dict[str, int]:
        """The tokens of a call of the Responses API: all, those read from the cache, and those written to it."""
        places = list(_places(body))
        whole = places[-1].tokens
        explicit = body.get("prompt_cache_options", {}).get("mode") == "explicit"
        ends = [place for place in places if place.ends_message]
        long = [place for place in places if place.said >= MIN_TOKENS]
        writes = [place for place in long if place.has_breakpoint or (not explicit and place is ends[-1])]
        reads = [*writes, *([] if explicit else [place for place in ends[-1 - _EARLIER_MESSAGES :] if place in long])]
        cached = max((place.tokens for place in reads if self._has(place)), default=0)
        written = max((place.tokens for place in writes), default=0) - cached
        for place in [*writes, *(place for place in reads if self._has(place))]:
            self._kept[place.digest] = self.now
        return {"input_tokens": whole, "cached_tokens": cached, "cache_write_tokens": max(written, 0)}

    def _has(self, place: Place) -> bool:
        at = self._kept.get(place.digest)
        return at is not None and self.now - at <= LIFETIME_SECONDS


def _places(body: Mapping[str, Any]) -> Iterator[Place]:
    """The ends of all parts of a prompt, in order."""
    form = json.dumps(body["text"]["format"])
    settings = (body["model"], body.get("reasoning"), body.get("service_tier"), body.get("prompt_cache_key"), form)
    said, read = hashlib.sha256(repr(settings).encode()), estimated_tokens(form)
    formats = read
    for role, parts in _messages(body):
        for number, (text, marked) in enumerate(parts):
            said.update(f"{role} {number} {text}".encode())
            read += estimated_tokens(text)
            yield Place(read, read - formats, said.hexdigest(), marked, number == len(parts) - 1 and role == "user")


def _messages(body: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[tuple[str, bool]]]]:
    """The role of each message, and its texts with whether each ends in a breakpoint."""
    yield "developer", [(body.get("instructions") or "", False)]
    said = body["input"]
    for message in [{"role": "user", "content": said}] if isinstance(said, str) else said:
        content = message["content"]
        if isinstance(content, str):
            content = [{"text": content}]
        yield message["role"], [(part["text"], "prompt_cache_breakpoint" in part) for part in content]
