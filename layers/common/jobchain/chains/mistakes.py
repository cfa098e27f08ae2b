"""Mistakes of a chain's author: each names the file, the line, what is wrong there, and how to correct it.

Here and in the modules beside it that every cold start loads, what never changes is a NamedTuple: Python makes one in a
sixth of the time that a frozen dataclass takes.
"""

import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, NamedTuple


class Place(NamedTuple):
    """A line of a file."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"

    @classmethod
    def of(cls, function: Callable[..., Any]) -> "Place":
        """The line of the function's `def`, or of its first decorator."""
        code = inspect.unwrap(function).__code__
        return cls(code.co_filename, code.co_firstlineno)

    @classmethod
    def of_caller(cls, depth: int) -> "Place":
        """The line that called the function `depth` calls above this one."""
        frame: FrameType = sys._getframe(depth)  # noqa: SLF001  # the standard library does so for namedtuple
        return cls(frame.f_code.co_filename, frame.f_lineno)


class Mistake(NamedTuple):
    """One mistake: `what` is wrong at `place`, and what to do."""

    place: Place
    what: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


class ChainError(Exception):
    """A chain can't be used; `mistakes` says why, each with its place."""

    def __init__(self, *mistakes: Mistake) -> None:
        super().__init__("\n".join(map(str, mistakes)))
        self.mistakes: Sequence[Mistake] = mistakes


_COLLECTING: list[list[Mistake]] = []


def refuse(*mistakes: Mistake) -> None:
    """Raises ChainError for these mistakes; where they are collected, adds them there, and returns."""
    if not _COLLECTING:
        raise ChainError(*mistakes)
    _COLLECTING[-1].extend(mistakes)


@contextmanager
def collected() -> Iterator[list[Mistake]]:
    """The mistakes that are found while the context lasts, such as by the import of a module, in place of the first."""
    found: list[Mistake] = []
    _COLLECTING.append(found)
    try:
        yield found
    finally:
        _COLLECTING.pop()
