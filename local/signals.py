"""Stopping on a signal, in order and without a traceback."""

import signal
from types import FrameType
from typing import NoReturn

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(KeyboardInterrupt):
    """A signal asked to stop. No handler of errors catches it, and asyncio lets it through."""

    def __init__(self, number: int) -> None:
        self.number = number


def listen() -> None:
    """From now on Ctrl-C, SIGTERM and the terminal's end raise Stopped, once.

    Stopping takes seconds at most: further signals must not break it off halfway.
    """
    for number in _STOPPING:
        signal.signal(number, _stop)


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    for other in _STOPPING:
        signal.signal(other, signal.SIG_IGN)
    raise Stopped(number)
