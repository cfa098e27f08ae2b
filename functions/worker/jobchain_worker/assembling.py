"""What the assemblers of streamed answers share."""

import json
from typing import Any, Protocol

from jobchain.spending import Usage
from jobchain_worker.bounded_body import MOST_BODY_BYTES, UnreadableBody
from jobchain_worker.event_stream import Event

# An integer of more digits can't be a count, and one of thousands would make the whole answer unreadable.
_MAX_DIGITS = 20


class Assembler(Protocol):
    """Puts the events of one streamed answer together again."""

    tokens: int
    """How many events with a part of the answer or of its reasoning have come. Each has one token at least."""
    complete: bool
    """Whether the server has said all that it has to say. What still comes is not read."""

    def take(self, event: Event) -> None:
        """Takes the next event. Raises ValueError, RecursionError, UnreadableBody."""
        ...

    def response(self) -> object | None:
        """The response as it would have come in one piece; None where the answer is not complete.

        Raises ValueError, RecursionError, UnreadableBody.
        """
        ...

    def text(self) -> str:
        """The answer's text as far as it came."""
        ...

    def usage(self) -> Usage | None:
        """What the server has told of the tokens so far."""
        ...


def loads(content: bytes | bytearray | str) -> Any:
    """The JSON of a body or event. Raises ValueError, RecursionError."""
    try:
        return json.loads(content)
    except (UnicodeDecodeError, json.JSONDecodeError):
        raise
    except ValueError:
        # An integer of more digits than Python reads.
        return json.loads(content, parse_int=_integer)


def check_size(size: int) -> None:
    """Raises UnreadableBody for a streamed answer of too many characters or bytes."""
    if size > MOST_BODY_BYTES:
        raise UnreadableBody(f"the answer has more than {MOST_BODY_BYTES // 2**20} MB")


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits)
