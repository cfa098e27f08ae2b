"""A socket for a stranger's answer: it has a deadline in all, not for each read, and a limit of bytes.

A server that sends a byte a second never lets a usual timeout run out.
"""

import io
import socket
import time
from collections.abc import Callable
from http.client import HTTPException


class AnswerTooLong(HTTPException):
    """More was sent than is read of an answer."""


class Deadline:
    """A moment, by a clock that is never set back. `left` gives the seconds until then."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = clock() + seconds

    def left(self) -> float:
        """The seconds that are left, more than 0. Raises TimeoutError where none are."""
        if (left := self._end - self._clock()) <= 0:
            raise TimeoutError("the time is over")
        return left

    def shorten(self, seconds: float) -> None:
        """Lets it be over in `seconds`, if it is not before."""
        self._end = min(self._end, self._clock() + seconds)


class BoundedSocket:
    """What `http.client` needs of a socket, which the code that opened it closes."""

    def __init__(self, sock: socket.socket, deadline: Deadline, most: int) -> None:
        """`most` is how many bytes of the answer are read."""
        self._sock = sock
        self._deadline = deadline
        self._most = most

    def sendall(self, data: bytes) -> None:
        """Sends all of it. Raises TimeoutError at the deadline, however slowly the other side reads."""
        rest = memoryview(data)
        while rest:
            self._sock.settimeout(self._deadline.left())
            rest = rest[self._sock.send(rest) :]

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What is received."""
        return io.BufferedReader(_Received(self._sock, self._deadline, self._most))

    def close(self) -> None:
        """Nothing: see the class."""

    def hurry(self, seconds: float) -> None:
        """Lets the deadline be over in `seconds`, if it is not before."""
        self._deadline.shorten(seconds)


class _Received(io.RawIOBase):
    def __init__(self, sock: socket.socket, deadline: Deadline, most: int) -> None:
        super().__init__()
        self._sock = sock
        self._deadline = deadline
        self._left = most

    def readable(self) -> bool:
        return True

    # The type of a raw file's buffer is not the same in all versions of typeshed.
    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if self._left <= 0:
            raise AnswerTooLong
        self._sock.settimeout(self._deadline.left())
        count = self._sock.recv_into(buffer, min(len(buffer), self._left))
        self._left -= count
        return count
