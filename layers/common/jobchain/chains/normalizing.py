"""Normalizes texts, in time linear in their length, whatever their content.

`unicodedata.normalize` sorts the combining marks of each letter by insertion, in one call that no other thread can
interrupt: 87,000 marks in a row take half a minute. So long rows of marks are broken up, as in Unicode's own
Stream-Safe Text Format: https://www.unicode.org/reports/tr15/#Stream_Safe_Text_Format
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

MOST_MARKS = 30
"""Marks that may follow each other: Unicode's own number, well above what any language needs."""

BREAK = "\N{COMBINING GRAPHEME JOINER}"
"""What a longer row of marks is broken up with. It is invisible, and no mark is sorted or composed across it."""

_MAY_BE_MARKS = re.compile(r"[^\x00-\x7f]{8}")


def nfkc(text: str) -> str:
    """`text` in the normalization form NFKC, with a `BREAK` after every `MOST_MARKS` marks that follow each other."""
    # No character holds more than three marks, so that fewer than eight characters in a row are none too many.
    return unicodedata.normalize("NFKC", "".join(_stream_safe(text)) if _MAY_BE_MARKS.search(text) else text)


def _stream_safe(text: str) -> Iterator[str]:
    row = 0
    for character in text:
        first, last, only_marks = _marks(character)
        if row + first > MOST_MARKS:
            yield BREAK
            row = 0
        row = row + first if only_marks else last
        yield character


@lru_cache(maxsize=5_000)
def _marks(character: str) -> tuple[int, int, bool]:
    """How many marks the decomposed character begins and ends with, and whether it consists of marks only."""
    marks = "".join("m" if unicodedata.combining(c) else " " for c in unicodedata.normalize("NFKD", character))
    return len(marks) - len(marks.lstrip("m")), len(marks) - len(marks.rstrip("m")), " " not in marks
