"""Splits a body of server-sent events into its events, while it arrives.

https://html.spec.whatwg.org/multipage/server-sent-events.html
The decoder of the model's SDK bounds neither lines nor events.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from jobchain_worker.bounded_body import MOST_BODY_BYTES, UnreadableBody

CONTENT_TYPE = "text/event-stream"

_FIRST_BYTES = (b"data:", b"event:", b":", b"id:", b"retry:")


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `name` is empty where the server gives none."""

    name: bytes
    data: bytes


class EventParser:
    """Takes the parts of one body. Comments are skipped: they are signs of life, as any part is."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._name = b""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, part: bytes) -> Iterator[Event]:
        """The events that are complete with this part. Raises UnreadableBody where one is too large."""
        # A CR may be the first half of a line's end, so it ends no line yet.
        end = max(part.rfind(b"\n"), part.rfind(b"\r", 0, -1)) + 1
        if not end:
            self._keep(part)
            return
        lines = bytes(self._line) + part[:end]
        self._line.clear()
        self._keep(part[end:])
        yield from self._events(lines.splitlines())

    def finish(self) -> Iterator[Event]:
        """The event that the body's end leaves without an empty line behind it."""
        yield from self._events([*bytes(self._line).splitlines(), b""])

    def _keep(self, rest: bytes) -> None:
        self._line += rest
        self._bound(len(self._line))

    def _events(self, lines: list[bytes]) -> Iterator[Event]:
        for line in lines:
            if line:
                self._take(line)
            else:
                if self._data:
                    yield Event(self._name, b"\n".join(self._data))
                self._name, self._data, self._size = b"", [], 0

    def _take(self, line: bytes) -> None:
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
            self._size += len(value)
            self._bound(0)
        elif field == b"event":
            self._name = value

    def _bound(self, more: int) -> None:
        if self._size + more > MOST_BODY_BYTES:
            raise UnreadableBody(f"an event has more than {MOST_BODY_BYTES // 2**20} MB")


def looks_like_events(body: bytes) -> bool:
    """Whether a body, whose server declares another type, holds events."""
    return body.lstrip()[:6].startswith(_FIRST_BYTES)
