"""What differs between two texts, word by word."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

# The most pairs of lines, and of words, that are compared: the time grows with their number, and texts may be hostile.
_MOST_PAIRS = 250_000

_WORDS = re.compile(r"\s+|\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a text, and whether the other text lacks it."""

    text: str
    changed: bool


Pieces = tuple[Piece, ...]


def difference(before: str, after: str) -> tuple[Pieces, Pieces]:
    """Both texts in pieces, which joined give the texts again. White space at the ends of pieces is never a change."""
    found: tuple[list[Piece], list[Piece]] = [], []
    for old, new in _blocks(before.splitlines(keepends=True), after.splitlines(keepends=True)):
        if old == new:
            _add(found, [Piece("".join(old), changed=False)], [Piece("".join(new), changed=False)])
            continue
        for was, now in _blocks(_WORDS.findall("".join(old)), _WORDS.findall("".join(new))):
            same = was == now
            _add(found, [Piece("".join(was), not same)], [Piece("".join(now), not same)])
    return _joined(found[0]), _joined(found[1])


def _add(found: tuple[list[Piece], list[Piece]], old: list[Piece], new: list[Piece]) -> None:
    found[0].extend(old)
    found[1].extend(new)


def _blocks(before: Sequence[str], after: Sequence[str]) -> Iterator[tuple[Sequence[str], Sequence[str]]]:
    """Parts of both, in order: equal ones, and such that have nothing in common."""
    start = next(
        (place for place, (a, b) in enumerate(zip(before, after, strict=False)) if a != b),
        min(len(before), len(after)),
    )
    most = min(len(before), len(after)) - start
    end = next((n for n in range(most) if before[len(before) - 1 - n] != after[len(after) - 1 - n]), most)
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    yield before[:start], after[:start]
    if len(old) * len(new) > _MOST_PAIRS:
        yield old, new
    else:
        # Its `autojunk` drops words that are everywhere in long texts, which would make it slow.
        for _, first, last, other_first, other_last in SequenceMatcher(None, old, new).get_opcodes():
            yield old[first:last], new[other_first:other_last]
    yield before[len(before) - end :], after[len(after) - end :]


def _joined(pieces: Sequence[Piece]) -> Pieces:
    """The pieces without empty ones, neighbours of a kind together, and blanks between two changes changed too."""
    merged: list[Piece] = []
    for piece in pieces:
        if not piece.text:
            continue
        if merged and merged[-1].changed == piece.changed:
            merged[-1] = Piece(merged[-1].text + piece.text, piece.changed)
        elif len(merged) > 1 and piece.changed and merged[-1].text.isspace() and merged[-2].changed:
            gap = merged.pop()
            merged[-1] = Piece(merged[-1].text + gap.text + piece.text, changed=True)
        else:
            merged.append(piece)
    return tuple(merged)
