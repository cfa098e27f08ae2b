"""Reads the usage that a server reports with an answer."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from jobchain.spending import Usage

# More than any model's context window; what is larger is an error of the server.
_MAX_TOKENS = 10**9

_WHOLE_NUMBER = re.compile(r"[0-9]{1,10}(\.0{1,10})?")


@dataclass(frozen=True, slots=True)
class UsageNames:
    """What an API calls the counts of the tokens that the model read and wrote."""

    read: str
    written: str


RESPONSES_USAGE = UsageNames("input_tokens", "output_tokens")
CHAT_USAGE = UsageNames("prompt_tokens", "completion_tokens")


def read_usage(reported: object, names: UsageNames) -> Usage | None:
    """The usage, None where the server does not tell it.

    A report with a count that can't be true, such as a negative or fractional one, tells nothing: the caller estimates
    the call. The same goes for one that lacks the tokens read or written, and for one of zeros alone.
    """
    try:
        counts = _mapping(reported)
        read, written = _count(counts.get(names.read)), _count(counts.get(names.written))
        details = _mapping(counts.get(f"{names.read}_details"))
        cached, cache_write = _count(details.get("cached_tokens")), _count(details.get("cache_write_tokens"))
        reasoning = _count(_mapping(counts.get(f"{names.written}_details")).get("reasoning_tokens"))
    except ValueError:
        return None
    if read is None or written is None or read + written == 0:
        return None
    return Usage(read, cached or 0, written, reasoning or 0, cache_write or 0)


def _mapping(value: object) -> Mapping[str, object]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def _count(value: object) -> int | None:
    """A count; None for null. Some servers write 12 as 12.0 or "12"."""
    if value is None:
        return None
    if isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value):
        value = float(value)
    # A boolean is an int in Python.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MAX_TOKENS:
        raise ValueError("not a count")
    if value != int(value):
        raise ValueError("not a whole number")
    return int(value)
