"""Splits a long text at its seams: before headings, between paragraphs, between lines, sentences and words."""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import pairwise

# From the best seam to the worst; a text without any of them is split anywhere.
_SEAMS = (
    re.compile(r"^(?=#{1,2}[ \t])", re.MULTILINE),
    re.compile(r"^(?=#{3,6}[ \t])", re.MULTILINE),
    re.compile(r"\n[ \t\r]*\n"),
    re.compile(r"\n"),
    re.compile(r"(?<=[.!?。！？])\s*"),
    re.compile(r"\s+"),
)

Bounds = tuple[int, int]
"""Where a part begins, and the first character after its end."""


def split(text: str, fits: Callable[[str], bool]) -> list[Bounds]:
    """The fewest parts that the seams allow, each of which `fits`; together they are the whole text.

    A shorter part never fits worse than a longer one, and a single character always fits.
    """
    return _packed(text, list(_pieces(text, (0, len(text)), fits, seam=0)), fits)


def _pieces(text: str, bounds: Bounds, fits: Callable[[str], bool], seam: int) -> Iterator[Bounds]:
    """Parts of a part that fit, split at this seam or at worse ones."""
    start, end = bounds
    if fits(text[start:end]) or end - start <= 1:
        yield bounds
        return
    if seam < len(_SEAMS):
        found = {match.end() for match in _SEAMS[seam].finditer(text, start, end)} - {start, end}
        places = [start, *sorted(found), end]
    else:
        places = [start, (start + end) // 2, end]
    for piece in pairwise(places):
        # Halving continues until each piece fits.
        yield from _pieces(text, piece, fits, min(seam + 1, len(_SEAMS)))


def _packed(text: str, pieces: list[Bounds], fits: Callable[[str], bool]) -> list[Bounds]:
    """Neighbours joined as long as they fit."""
    packed: list[Bounds] = []
    first = 0
    while first < len(pieces):
        last = _last_fitting(text, pieces, first, fits)
        packed.append((pieces[first][0], pieces[last][1]))
        first = last + 1
    return packed


def _last_fitting(text: str, pieces: list[Bounds], first: int, fits: Callable[[str], bool]) -> int:
    """The last of the pieces that still fits when all from `first` to it are joined.

    The search doubles its steps. One piece at a time would check each word of a text; halving what is left would check
    most of the text, once for each part.
    """
    start, ahead = pieces[first][0], 1
    while first + ahead < len(pieces) and fits(text[start : pieces[first + ahead][1]]):
        ahead *= 2
    later = range(first + ahead // 2 + 1, min(first + ahead, len(pieces)))
    return first + ahead // 2 + bisect_left(later, 1, key=lambda last: not fits(text[start : pieces[last][1]]))
