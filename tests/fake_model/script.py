"""Which replies are scripted, and which call each of them is for. Every face of the fake model takes them from here."""

import re
import threading
from typing import Generic, NamedTuple, TypeVar

from tests.fake_model.answers import STEP_OF_SCHEMA

_MARKER = re.compile(r"\bjob-[0-9A-Za-z-]*[0-9A-Za-z]")
_COMPLAINT = re.compile(r"Your last answer could not be used: (.*)", re.DOTALL)

T = TypeVar("T")


class Asked(NamedTuple):
    """What a call asks for: the step, by its schema, with the marker and the complaint that its prompt holds."""

    step: str
    marker: str
    complaint: str


def asked(prompt: str, schema: str) -> Asked:
    """What a prompt asks for. A schema that belongs to no step of `guideline_checklist` names the step itself."""
    marker = _MARKER.search(prompt)
    complaint = _COMPLAINT.search(prompt)
    return Asked(STEP_OF_SCHEMA.get(schema, schema), marker[0] if marker else "", complaint[1] if complaint else "")


class Script(Generic[T]):
    """Replies for the calls to come, each used once; all methods may be called from any thread."""

    def __init__(self, *replies: T) -> None:
        self._lock = threading.Lock()
        self._entries: list[tuple[str | None, str | None, T]] = []
        self.add(*replies)

    def add(self, *replies: T, marker: str | None = None, step: str | None = None) -> None:
        """Scripts the replies to the next calls: to any, or to those for `marker`, or of `step`; one reply each."""
        with self._lock:
            self._entries.extend((marker, step, reply) for reply in replies)

    def take(self, call: Asked) -> T | None:
        """The next reply for the call; None where none is scripted."""
        with self._lock:
            for number, (marker, step, reply) in enumerate(self._entries):
                if marker in (None, call.marker) and step in (None, call.step):
                    del self._entries[number]
                    return reply
        return None
