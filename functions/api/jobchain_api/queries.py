"""The query parameters of requests: which each route has, and what the texts mean that the framework can't read."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from itertools import islice

from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEvent

from jobchain.errors import InvalidRequest
from jobchain_api.requests import MAX_METADATA, MAX_METADATA_KEY, MAX_METADATA_VALUE
from jobchain_api.validation import MAX_ERRORS, MAX_PLACE

METADATA = "metadata."
"""What the name of a parameter begins with that filters a list by an entry of the metadata."""

QUERY: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("GET", "/jobs"): (
        "status",
        "job_name",
        "title",
        f"{METADATA}<key>",
        "created_after",
        "created_before",
        "replays",
        "replay",
        "limit",
        "cursor",
    ),
    ("GET", "/jobs/<event_id>"): ("include", "step"),
    ("GET", "/jobs/<event_id>/events"): ("after", "limit"),
    ("GET", "/usage"): ("from", "to", "by"),
    ("GET", "/deliveries"): ("endpoint_id", "state", "limit", "cursor"),
}
"""The query parameters of the routes that have some."""

REPLAYS = ("true", "false", "only")
"""What `replays` of a list can be."""

MOMENT = r"^\d{4}-\d\d-\d\d([Tt]\d\d:\d\d(:\d\d(\.\d{1,6})?)?([Zz]|[+-]\d\d:\d\d))?$"
"""The pattern of a date, or of a time with its zone: RFC 3339, where the seconds may be left out."""

MAX_DAYS = 92
DEFAULT_DAYS = 30
DAY = {"format": "date", "maxLength": 10}
FIRST_DAY = (
    f"The first day (UTC), such as 2026-11-01. Without it, {DEFAULT_DAYS} days are told; the most are {MAX_DAYS}."
)
LAST_DAY = "The last day (UTC), which is told too. Without it, and for a later day, it is today."

INCLUDABLE = ("input", "prompts", "attempts")
"""What `GET /jobs/{event_id}` adds to its answer if it is asked to."""


class UsageBy(StrEnum):
    """What usage is grouped by."""

    CHAIN = "chain"
    KEY = "key"
    MODEL = "model"


def check_query(event: APIGatewayProxyEvent, route: str) -> None:
    """Raises InvalidRequest for a parameter that the route does not have, or that is given twice."""
    known = QUERY.get((event.http_method, route), ())
    errors = {}
    for name, values in islice(event.resolved_query_string_parameters.items(), MAX_ERRORS):
        shown = name[:MAX_PLACE]
        if name not in known and not (_is_metadata(name) and f"{METADATA}<key>" in known):
            errors[shown] = f"unknown parameter: {_supported(known)}"
        elif len(values) > 1:
            errors[shown] = "is given twice: give it once"
    if errors:
        raise InvalidRequest(errors)


def _is_metadata(name: str) -> bool:
    return name.startswith(METADATA) and name != METADATA


def _supported(known: tuple[str, ...]) -> str:
    return f"supported: {', '.join(known)}" if known else "this path has none"


def wanted_metadata(event: APIGatewayProxyEvent) -> dict[str, str]:
    """The entries of the metadata that `metadata.<key>=<value>` ask for. Raises InvalidRequest."""
    wanted = {
        name.removeprefix(METADATA): values[0]
        for name, values in event.resolved_query_string_parameters.items()
        if _is_metadata(name)
    }
    if len(wanted) > MAX_METADATA:
        raise InvalidRequest({"metadata": f"has {len(wanted)} entries: give at most {MAX_METADATA}"})
    for name, value in wanted.items():
        if len(name) > MAX_METADATA_KEY or len(value) > MAX_METADATA_VALUE:
            why = f"is too long: a key has at most {MAX_METADATA_KEY} characters, a value {MAX_METADATA_VALUE}"
            raise InvalidRequest({f"{METADATA}{name}"[:MAX_PLACE]: why})
    return wanted


def wanted_replays(text: str | None) -> dict[str, bool]:
    """The fields of a `JobFilter` that the parameter `replays` sets. Raises InvalidRequest."""
    if text is None:
        return {"replays": False}
    if text not in REPLAYS:
        raise InvalidRequest({"replays": f"must be one of {', '.join(REPLAYS)}"})
    return {"only_replays": True} if text == "only" else {"replays": text == "true"}


def moment(name: str, text: str | None) -> datetime | None:
    """The time that the parameter `name` tells, None if it is not given; a date is its first moment in UTC.

    Raises InvalidRequest.
    """
    if text is None:
        return None
    try:
        if not re.fullmatch(MOMENT, text, re.ASCII):
            raise ValueError("not of this form")
        found = datetime.fromisoformat(text.upper())
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        why = (
            "must be a date such as 2026-11-29, or a time with its zone such as 2026-11-29T08:30:00Z (+ is sent as %2B)"
        )
        raise InvalidRequest({name: why}) from None


def wanted_days(first: str | None, last: str | None, today: date) -> tuple[date, date]:
    """The first and the last day that a request for usage asks for. Raises InvalidRequest."""
    end = min(_day("to", last) or today, today)
    start = _day("from", first) or end - timedelta(days=DEFAULT_DAYS - 1)
    if start > end:
        raise InvalidRequest({"from": f"must be no later than the last day, {end}"})
    if (end - start).days >= MAX_DAYS:
        raise InvalidRequest({"from": f"must be at most {MAX_DAYS - 1} days before the last day, {end}"})
    return start, end


def _day(name: str, text: str | None) -> date | None:
    if text is None:
        return None
    try:
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
            raise ValueError("not of this form")
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidRequest({name: "must be a day (UTC), such as 2026-11-29"}) from None


def included(include: str | None) -> frozenset[str]:
    """The values of a comma-separated list. Raises InvalidRequest for one that is unknown."""
    names = frozenset() if include is None else frozenset(name.strip() for name in include.split(","))
    if not names.issubset(INCLUDABLE):
        raise InvalidRequest({"include": f"must be a comma-separated list of: {', '.join(INCLUDABLE)}"})
    return names
