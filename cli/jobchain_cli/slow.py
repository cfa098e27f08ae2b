"""Says what a command waits for, when it waits for more than a moment."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer

SLOW_SECONDS = 3.0
"""How long a command is silent before it tells what it waits for."""


@contextmanager
def told_when_slow(what: str) -> Iterator[None]:
    """Tells on standard error that `what` is waited for, once, if the context lasts longer than `SLOW_SECONDS`."""
    timer = Timer(SLOW_SECONDS, print, (f"jobchain: waiting for {what} …",), {"file": sys.stderr, "flush": True})
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
