"""pydantic's errors in words for the caller."""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

# A problem stays small, whatever the body.
MAX_ERRORS = 20
MAX_PLACE = 200

# In place of pydantic's own words, by the type of the error.
_WORDS = {
    "missing": "is missing: give it",
    "extra_forbidden": "unknown field: remove it",
    "model_attributes_type": "must be a JSON object",
    "dict_type": "must be a JSON object",
    "string_type": "must be a string",
}


def explain(errors: Iterable[Mapping[str, Any]], *prefix: str) -> dict[str, str]:
    """The first of pydantic's `errors` as place: reason.

    The place is a path from the body, with `prefix` before it; `body` is the body itself.
    """
    return {_place((*prefix, *error["loc"])): _reason(error) for error in islice(errors, MAX_ERRORS)}


def _place(location: tuple[str | int, ...]) -> str:
    place = location[1:] if location and location[0] in ("body", "query", "header") else location
    return ".".join(map(str, place))[:MAX_PLACE] or "body"


def _reason(error: Mapping[str, Any]) -> str:
    return _WORDS.get(error["type"]) or str(error["msg"]).removeprefix("Value error, ")
