"""Finds the JSON of an answer inside what models put around it: thoughts, code fences, sentences."""

import json
import re
from collections.abc import Iterator

# How many places may look like an object and be none. Each is read up to where it fails.
_MOST_FAILURES = 20

# Models with open weights begin with their thoughts. Some servers cut the first mark off.
_THOUGHTS_END = re.compile(r"</(?:think|thinking|thought|reasoning)>", re.IGNORECASE)

_DECODER = json.JSONDecoder()


def objects_in(text: str) -> list[str]:
    """The JSON objects in a text outside its thoughts, each as it is written there; no object inside another.

    An object in the thoughts is a draft, and no answer.
    """
    return list(_objects(_THOUGHTS_END.split(text)[-1]))


def _objects(text: str) -> Iterator[str]:
    place, failures = text.find("{"), 0
    while place >= 0 and failures < _MOST_FAILURES:
        end = _end(text, place)
        if end is None:
            failures += 1
            end = place + 1
        else:
            yield text[place:end]
        place = text.find("{", end)


def _end(text: str, start: int) -> int | None:
    """Where the object that begins at `start` ends; None where there is none."""
    try:
        return _DECODER.raw_decode(text, start)[1]
    except (ValueError, RecursionError):
        return None
