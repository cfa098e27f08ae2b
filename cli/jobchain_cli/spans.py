"""Spans and times as they are typed, such as 90m and 2026-11-29."""

import re
from datetime import UTC, datetime, timedelta

from jobchain_cli.errors import Code, CommandError

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_SPAN = re.compile(r"([0-9]{1,6})([smhd])")

MOST = timedelta(days=3650)
"""The longest span: the longest retention that the template allows."""


def span(option: str, text: str) -> timedelta:
    """The span that `option` was given, of a second to ten years. Raises CommandError that names the option."""
    found = _SPAN.fullmatch(text.strip())
    if found:
        wanted = timedelta(**{_UNITS[found[2]]: int(found[1])})
        if timedelta(0) < wanted <= MOST:
            return wanted
    raise CommandError(
        f"{option} {text!r}: use a number and s, m, h or d, up to {MOST.days}d, such as {option} 1h", Code.USAGE
    )


def moment(option: str, text: str) -> datetime:
    """The time that `option` was given: a date, a time, or a span ago. Without a zone it is UTC.

    Raises CommandError that names the option.
    """
    text = text.strip()
    if _SPAN.fullmatch(text):
        return datetime.now(UTC) - span(option, text)
    try:
        found = datetime.fromisoformat(text)
        return (found.replace(tzinfo=UTC) if found.tzinfo is None else found).astimezone(UTC)
    except (ValueError, OverflowError):
        why = (
            f"{option} {text!r}: use a date (UTC), such as 2026-11-29, a time, such as 2026-11-29T08:30Z, or a span: 2d"
        )
        raise CommandError(why, Code.USAGE) from None
