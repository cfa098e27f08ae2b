"""Spans of time as they are typed, such as 90m."""

import re
from datetime import timedelta

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
