"""The journal of a fake model: every call, and how it ended."""

import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace

from tests.fake_model.replies import Reply


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the model. Times are seconds since 1970.

    `reply` is None while the call is held. `client_left` says that the client had gone before the answer;
    of an answer that was sent, it can't be known here whether it was read.
    """

    number: int
    at: float
    step: str
    marker: str
    complaint: str = ""
    body: str = field(default="", repr=False)
    reply: Reply | None = None
    ended: float | None = None
    client_left: bool = False
    port: int = 0
    """The client's port, by which its process is found."""

    @property
    def answered(self) -> bool:
        """Whether the step's right answer was sent."""
        return self.reply is not None and self.reply.name == "answer" and not self.client_left


class Journal:
    """Every call, in the order of arrival; all methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[Call] = []

    def calls(self, marker: str | None = None, step: str | None = None) -> list[Call]:
        """The calls so far: all, or those of a marker, or of a step."""
        with self._lock:
            return [call for call in self._calls if marker in (None, call.marker) and step in (None, call.step)]

    def replies(self, marker: str) -> list[tuple[str, str]]:
        """(step, name of the reply) of each call for the marker."""
        return [(call.step, call.reply.name if call.reply else "held") for call in self.calls(marker)]

    def answers(self) -> Counter[tuple[str, str]]:
        """How often each (marker, step) got its right answer."""
        return Counter((call.marker, call.step) for call in self.calls() if call.answered)

    def open(self, step: str, marker: str, complaint: str, body: str, port: int = 0) -> Call:
        """Notes a call that begins."""
        with self._lock:
            call = Call(len(self._calls), time.time(), step, marker, complaint, body, port=port)
            self._calls.append(call)
            return call

    def close(self, call: Call, reply: Reply, *, client_left: bool) -> None:
        """Notes how the call ended."""
        with self._lock:
            self._calls[call.number] = replace(call, reply=reply, ended=time.time(), client_left=client_left)
