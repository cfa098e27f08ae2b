"""Takes the ends of pages out of a text: footers, headers, and the numbers of pages between the lines of a paragraph.

Only what has the form of a page's end is taken out: a line with the number of a page, or with nothing but one, and the
lines beside it that are set in columns or come again at other pages. It takes time linear in the text's length.
"""

import re
from collections import Counter

_NUMBER = r"\d{1,4}(?: ?(?:/|of|von|de|di|sur|van|av|из) ?\d{1,4})?"
_PAGE = rf"(?:\[?(?:page|pg\.?|p\.|seite|página|pagina|side|sida|strana|страница) ?{_NUMBER}\]?)"
# Other words in the line are divided from the number by a gap or a mark: "see page 3" is part of a sentence.
_GAP = r"(?: {3}|\t| ?[|•·–—] ?) *"
_NUMBERED = re.compile(
    rf"{_PAGE}|.{{1,200}}{_GAP}{_PAGE}|{_PAGE}{_GAP}.{{1,200}}|([-–—]) ?\d{{1,4}} ?\1|第 ?\d{{1,4}} ?[页頁]", re.IGNORECASE
)
_ONLY_NUMBER = re.compile(_NUMBER)
_HAS_DIGIT = re.compile(r"\d")
_BARE = re.compile(r"\d{1,4}")
_COLUMNS = re.compile(r"\S.{0,80}? {3,20}\S.{0,80}? {3,20}\S")
_FORM_FEED = re.compile(r"\n?\f\n?")
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
    footers, headers = _lines_beside(lines, numbered)
    kept: list[str] = []
    place = 0
    for number in numbered:
        if number < place:
            continue
        start = _start(lines, number, place, footers)
        end = _end(lines, number, headers)
        kept += lines[place:start]
        if end < len(lines) and kept and _is_end_of_block(kept[-1], lines[end]):
            kept.append("")
        place = end
    return "\n".join(kept + lines[place:])


def _numbered(lines: list[str]) -> list[int]:
    """The lines with nothing but a page's number and what stands beside it, and the form feeds."""
    stripped = [line.strip(" \t\r") for line in lines]
    bare = {int(line) for line in stripped if _BARE.fullmatch(line)}
    return [
        place
        for place, line in enumerate(stripped)
        if line == "\f"
        or (
            len(line) < _LONGEST
            and _HAS_DIGIT.search(line)
            and (_NUMBERED.fullmatch(line) or _is_only_number(stripped, place, bare))
        )
    ]


def _is_only_number(lines: list[str], place: int, bare: set[int]) -> bool:
    """Whether the line is the number of a page and nothing else. Such a line can also be a cell of a table."""
    if not _ONLY_NUMBER.fullmatch(lines[place]):
        return False
    before, after = lines[place - 1] if place else "", lines[place + 1] if place + 1 < len(lines) else ""
    if "\f" in (before, after):
        return True
    is_alone = not before and not after
    if not _BARE.fullmatch(lines[place]):
        return is_alone
    number = int(lines[place])
    return is_alone and (number - 1 in bare or number + 1 in bare)


def _lines_beside(lines: list[str], numbered: list[int]) -> tuple[set[str], set[str]]:
    """The lines that come again and again right above the numbers of pages, and right below them, without their digits."""
    above: set[int] = set()
    below: set[int] = set()
    for number in numbered:
        place = number
        for _ in range(_MOST_LINES):
            place = _above(lines, place, 0)
            above.add(place)
        place = number
        for _ in range(_MOST_LINES):
            place = _below(lines, place + 1)
            below.add(place)
    pages = sum(lines[number].strip() != "" for number in numbered) or len(numbered)
    least = max(2, pages // _SHARE)
    return _repeated(lines, above, least), _repeated(lines, below, least)


def _repeated(lines: list[str], places: set[int], least: int) -> set[str]:
    counts = Counter(_without_digits(lines[place]) for place in places if 0 <= place < len(lines))
    return {line for line, count in counts.items() if count >= least and len(line) > 1}


def _without_digits(line: str) -> str:
    return _DIGITS.sub("0", line.strip())


def _start(lines: list[str], number: int, least: int, footers: set[str]) -> int:
    """The first line of the page's end: its footer above the number, and the blank lines above that."""
    start = number
    # A footer in columns is whole.
    for _ in range(0 if _COLUMNS.match(lines[number].strip()) else _MOST_LINES):
        above = _above(lines, start, least)
        if above < least or _without_digits(lines[above]) not in footers:
            break
        start = above
    return _above(lines, start, least) + 1


def _above(lines: list[str], place: int, least: int) -> int:
    place -= 1
    while place >= least and not lines[place].strip():
        place -= 1
    return place


def _end(lines: list[str], number: int, headers: set[str]) -> int:
    """The line after the next page's header, and after the blank lines below that."""
    end = _below(lines, number + 1)
    for count in range(_MOST_LINES):
        if end >= len(lines) or len(lines[end]) > _LONGEST:
            break
        is_apart = end + 1 == len(lines) or not lines[end + 1].strip() or lines[end - 1] == "\f"
        is_in_columns = count == 0 and is_apart and _COLUMNS.match(lines[end].strip())
        if not is_in_columns and _without_digits(lines[end]) not in headers:
            break
        end = _below(lines, end + 1)
    return end


def _below(lines: list[str], place: int) -> int:
    while place < len(lines) and not lines[place].strip():
        place += 1
    return place


def _is_end_of_block(before: str, after: str) -> bool:
    return not _GOES_ON.search(before[-100:]) or bool(_STARTS.match(after[:100]))
