"""Takes the ends of pages out of a text: footers, headers, and the numbers of pages between the lines of a paragraph.

Only what has the form of a page's end is taken out: a line with the number of a page, or with nothing but one, and the
lines beside it that are set in columns or come again at other pages. It takes time linear in the text's length.
"""

import re
from bisect import bisect_left
from collections import Counter

_NUMBER = r"\d{1,4}(?: ?(?:/|of|von|de|di|sur|van|av|из) ?\d{1,4})?"
_PAGE = rf"(?:\[?(?:page|pg\.?|p\.|seite|página|pagina|side|sida|strana|страница) ?{_NUMBER}\]?)"
# Other words in the line are divided from the number by a gap or a mark: "see page 3" is part of a sentence.
_GAP = r"(?: {3}|\t| ?[|•·–—] ?) *"
_NUMBERED = re.compile(
    rf"{_PAGE}|.{{1,200}}{_GAP}{_PAGE}|{_PAGE}{_GAP}.{{1,200}}|([-–—]) ?\d{{1,4}} ?\1|第 ?\d{{1,4}} ?[页頁]",
    re.IGNORECASE,
)
_ONLY_NUMBER = re.compile(_NUMBER)
_HAS_DIGIT = re.compile(r"\d")
_BARE = re.compile(r"\d{1,4}")
_COLUMNS = re.compile(r"\S.{0,80}? {3,20}\S.{0,80}? {3,20}\S")
_FORM_FEED = re.compile(r"\n?\f\s*+")
_DIGITS = re.compile(r"\d+")
_GOES_ON = re.compile(r"[^\s.!?:;。！？]\s*$")
_STARTS = re.compile(r"\s*(?:[#>|•]|[-*+] |\d{1,9}[.)] )")

_LONGEST = 250
"""Characters of a line that can be the end of a page."""

_MOST_LINES = 3
"""Lines of a footer, and of a header, beside the page's number."""


_SHARE = 4
"""A line belongs to the ends of pages if every fourth page or more has it. Code and tables repeat lines, too."""


def without_pages(text: str) -> str:
    """The text without its page ends. A paragraph that goes on at the next page has no blank line there."""
    lines = _FORM_FEED.sub("\n\f\n", text).split("\n")
    numbered = _numbered(lines)
    if not numbered:
        return text
    pages = _Pages(lines, numbered)
    kept: list[str] = []
    place = 0
    for number in numbered:
        if number < place:
            continue
        start, end = pages.start(number, place), pages.end(number)
        kept += lines[place:start]
        if end < len(lines) and kept and _is_end_of_block(kept[-1], lines[end]):
            kept.append("")
        place = end
    return "\n".join(kept + lines[place:])


def _numbered(lines: list[str]) -> list[int]:
    """The lines with nothing but a page's number and what is beside it, and the form feeds."""
    stripped = [line.strip(" \t\r") for line in lines]
    bare = {int(line) for line in stripped if _BARE.fullmatch(line)}
    return [
        place
        for place, line in enumerate(stripped)
        if line == "\f"
        or (
            len(line) < _LONGEST
            and _HAS_DIGIT.search(line)
            and (_is_numbered(stripped, place) or _is_only_number(stripped, place, bare))
        )
    ]


def _is_numbered(lines: list[str], place: int) -> bool:
    line = lines[place]
    # "See\npage 3\nfor more" is a sentence.
    return bool(_NUMBERED.fullmatch(line)) and not (line[0].islower() and _is_inside(lines, place))


def _is_inside(lines: list[str], place: int) -> bool:
    """Whether there are lines of a paragraph right above and below."""
    around = [*lines[max(0, place - 1) : place], *lines[place + 1 : place + 2]]
    return all(line and line != "\f" for line in around)


def _is_only_number(lines: list[str], place: int, bare: set[int]) -> bool:
    """Whether the line is the number of a page and nothing else. Such a line can also be a cell of a table, or a word.

    It is one if it is alone, and at a form feed or with a neighbour's number somewhere in the text.
    """
    if not _ONLY_NUMBER.fullmatch(lines[place]):
        return False
    before, after = lines[place - 1] if place else "", lines[place + 1] if place + 1 < len(lines) else ""
    is_alone = not before.strip() and not after.strip()
    if not _BARE.fullmatch(lines[place]):
        return is_alone or after == "\f"
    is_one_of_many = bool({int(lines[place]) - 1, int(lines[place]) + 1} & bare)
    if is_alone:
        return is_one_of_many or "\f" in (before, after)
    return is_one_of_many and after == "\f"


class _Pages:
    """Where pages end, between lines."""

    def __init__(self, lines: list[str], numbered: list[int]) -> None:
        self._lines = lines
        self._filled = [place for place, line in enumerate(lines) if line.strip()]
        above, below = set(), set()
        for number in numbered:
            first = bisect_left(self._filled, number)
            above.update(self._filled[max(0, first - _MOST_LINES) : first])
            after = bisect_left(self._filled, number + 1)
            below.update(self._filled[after : after + _MOST_LINES])
        pages = sum(lines[number] != "\f" for number in numbered) or len(numbered)
        self._footers = self._repeated(above, max(2, pages // _SHARE))
        self._headers = self._repeated(below, max(2, pages // _SHARE))

    def _repeated(self, places: set[int], least: int) -> set[str]:
        counts = Counter(_without_digits(self._lines[place]) for place in places)
        return {line for line, count in counts.items() if count >= least and len(line) > 1}

    def start(self, number: int, least: int) -> int:
        """The first line of the page's end: its footer above the number, and the blank lines above that."""
        start = number
        # A footer in columns is whole.
        for _ in range(0 if _COLUMNS.match(self._lines[number].strip()) else _MOST_LINES):
            above = self._above(start)
            if above < least or _without_digits(self._lines[above]) not in self._footers:
                break
            start = above
        return max(self._above(start) + 1, least)

    def end(self, number: int) -> int:
        """The line after the next page's header, and after the blank lines below that."""
        lines = self._lines
        end = self._below(number + 1)
        for count in range(_MOST_LINES):
            if end >= len(lines) or len(lines[end]) > _LONGEST:
                break
            is_apart = end + 1 == len(lines) or not lines[end + 1].strip() or lines[end - 1] == "\f"
            is_in_columns = count == 0 and is_apart and _COLUMNS.match(lines[end].strip())
            if not is_in_columns and _without_digits(lines[end]) not in self._headers:
                break
            end = self._below(end + 1)
        return end

    def _above(self, place: int) -> int:
        """The next line above `place` that is not blank, or -1."""
        found = bisect_left(self._filled, place)
        return self._filled[found - 1] if found else -1

    def _below(self, place: int) -> int:
        """The first line from `place` on that is not blank, or the number of lines."""
        found = bisect_left(self._filled, place)
        return self._filled[found] if found < len(self._filled) else len(self._lines)


def _without_digits(line: str) -> str:
    return _DIGITS.sub("0", line.strip())


def _is_end_of_block(before: str, after: str) -> bool:
    return not _GOES_ON.search(before[-100:]) or bool(_STARTS.match(after[:100]))
