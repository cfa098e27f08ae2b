"""Puts a streamed response together again: its last event holds all of it.

https://platform.openai.com/docs/api-reference/responses-streaming
"""

import re
from typing import Any

from jobchain.spending import Usage
from jobchain_worker.assembling import loads
from jobchain_worker.event_stream import Event

_LAST = {b"response.completed", b"response.incomplete", b"response.failed", b"response.cancelled", b"error"}
_DELTA = b".delta"
_TEXT_DELTA = b"response.output_text.delta"
_END = b"[DONE]"

# More than the text that is kept of an answer which broke off.
_MOST_KEPT = 4 * 2**20

_TYPE = re.compile(rb'\{\s*"type"\s*:\s*"([a-z_.]{1,100})"')


class ResponsesStream:
    """See `Assembler`. Only the last event is read. Those before it are kept, for a text that breaks off."""

    def __init__(self) -> None:
        self.tokens = 0
        self.complete = False
        self._response: object | None = None
        self._deltas: list[bytes] = []
        self._kept = 0

    def take(self, event: Event) -> None:
        """See `Assembler`."""
        name = event.name or _type_of(event.data)
        if name.endswith(_DELTA):
            self._take_delta(name, event.data)
        elif event.data.startswith(_END):
            self.complete = True
        elif name in _LAST or (not name.startswith(b"response.") and b'"error"' in event.data):
            self._response = _inner(loads(event.data))
            self.complete = True

    def response(self) -> object | None:
        """See `Assembler`."""
        return self._response

    def text(self) -> str:
        """See `Assembler`."""
        return "".join(map(_text_of, self._deltas))

    def usage(self) -> Usage | None:
        """See `Assembler`. Only the last event tells it."""
        return None

    def _take_delta(self, name: bytes, data: bytes) -> None:
        self.tokens += 1
        if name == _TEXT_DELTA and self._kept < _MOST_KEPT:
            self._kept += len(data)
            self._deltas.append(data)


def _type_of(data: bytes) -> bytes:
    """The type of an event whose server gives it no name."""
    if found := _TYPE.match(data):
        return found[1]
    if data.startswith(_END):
        return b""
    content = loads(data)
    kind = content.get("type") if isinstance(content, dict) else None
    return kind.encode() if isinstance(kind, str) else b""


def _inner(content: Any) -> object:
    """The response that an event holds, or the event where it is an error."""
    response = content.get("response") if isinstance(content, dict) else None
    return response if isinstance(response, dict) else content


def _text_of(data: bytes) -> str:
    try:
        content = loads(data)
    except (ValueError, RecursionError):
        return ""
    delta = content.get("delta") if isinstance(content, dict) else None
    return delta if isinstance(delta, str) else ""
