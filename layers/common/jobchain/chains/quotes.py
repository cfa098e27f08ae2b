"""Finds out whether a text contains a quote, whatever markup either of them has.

Words are compared as words. White space, case, Markdown's marks, the shape of quotation marks and dashes, and invisible
characters don't count, and a hyphen inside a word does not either, so that a word may be divided at the end of a line.
Links' addresses, HTML tags, the numbers of lists, and the ends of pages may be in the quote or not. All else counts, such
as numbers, signs, punctuation and the order of words. It takes time linear in the text's length.

A letter with more than `MOST_MARKS` combining marks, which no language has, is compared in pieces of that many marks: a
quote that begins between its marks may not be found.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator
from functools import cached_property, lru_cache

from jobchain.chains.markup import CELL, CONTROLS, paired_elements, rendered, unescaped, without_line_marks
from jobchain.chains.pages import without_pages
from jobchain.chains.spelling import spelled, words

# No markup continues after one: https://spec.commonmark.org/0.31.2/#blank-lines
_BLANK_LINES = re.compile(r"\n(?:[ \t\r]*\n)+")
_LIST_MARK = re.compile(r"^\s*(?:[-*+•]|\d{1,9}[.)])\s+(?:\[[ xX]\]\s)?")
_ENDS = frozenset(".!?…。！？:;,\"'()—-")

# A regular expression holds Python's lock until it returns, so it never gets more than this.
_LONGEST_BLOCK = 20_000

# Words of a name or a date that are searched for one by one.
_MOST_WORDS = 10
_SPAN = 200
"""Characters of the text on either side of a name's longest word in which its other words are."""
_MOST_PLACES = 1_000
"""Places of that word that are looked at."""

_NEGATIONS = frozenset(
    "not no never cannot without neither nor nicht kein keine keinen keinem keiner nie niemals ohne ne pas jamais sans"
    " aucun aucune nunca sin jamás non mai senza não nem sem niet geen nooit zonder ikke aldri aldrig inte не нет без".split()
)
_SIGNS = frozenset("<>≤≥≠±~≈-+")


@lru_cache(maxsize=10)
def original(text: str) -> "Original":
    """The text, ready for searches. Cached, as it takes a while to make, and each part of a long text needs it."""
    return Original(text)


class Original:
    """A text in which quotes are searched for."""

    def __init__(self, text: str) -> None:
        self._text = CONTROLS.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))

    def holds(self, quote: str) -> bool:
        """Whether the text contains the quote; marks and punctuation at its start and end may differ.

        A quote that begins right after a negation or a number's sign, such as "share keys" of "Never share keys", is
        not in the text: it says something else.
        """
        wanted = {_wanted(unescaped(quote)), _wanted(quote)} - {""}
        return any(each in view for view in self._views() for each in wanted)

    def has_words_of(self, phrase: str) -> bool:
        """Whether the text contains every word of a name or a date, near each other, in any order.

        It must contain a phrase of more than ten words as a whole. A word may have an "s" more in the text, and a number
        the ending of an ordinal.
        """
        sought = {word for each in phrase.split() if (word := _wanted(unescaped(each)))}
        if len(sought) > _MOST_WORDS:
            return self.holds(phrase)
        return bool(sought) and self._rendered.has_near_each_other(sought)

    def _views(self) -> Iterator["_View"]:
        yield self._rendered
        yield self._written
        yield self._without_numbers
        yield self._with_markup
        yield self._unbroken

    @cached_property
    def _blocks(self) -> list[str]:
        return _blocks(without_pages(self._text))

    @cached_property
    def _pairs(self) -> frozenset[str]:
        return paired_elements(self._blocks)

    @cached_property
    def _rendered(self) -> "_View":
        """As a reader sees it."""
        return _View(rendered(without_line_marks(block, keeps_numbers=True), self._pairs) for block in self._blocks)

    @cached_property
    def _written(self) -> "_View":
        """Character by character."""
        return _View(_blocks(self._text))

    @cached_property
    def _without_numbers(self) -> "_View":
        """As a reader sees it, but for the numbers of lists."""
        return _View(rendered(without_line_marks(block, keeps_numbers=False), self._pairs) for block in self._blocks)

    @cached_property
    def _with_markup(self) -> "_View":
        """With addresses and tags, but without the marks of lines and the ends of pages."""
        return _View(without_line_marks(block, keeps_numbers=True) for block in self._blocks)

    @cached_property
    def _unbroken(self) -> "_View":
        """Character by character, but for the ends of pages."""
        return _View(self._blocks)


class _View:
    """A text's words between single spaces, and where its blocks start."""

    def __init__(self, blocks: Iterator[str] | list[str]) -> None:
        found = [" ".join(words(cell)) for block in blocks for cell in spelled(unescaped(block)).split(CELL)]
        self._starts: list[int] = []
        place = 0
        kept = [cell for cell in found if cell]
        for cell in kept:
            self._starts.append(place)
            place += len(cell) + 1
        self._text = f" {' '.join(kept)} "

    def __contains__(self, wanted: str) -> bool:
        place = -1
        # Each place but the last one begins within a sentence that says the opposite: no text has many of them.
        for _ in range(_MOST_PLACES):
            place = self._text.find(wanted, place + 1)
            if place < 0:
                return False
            if not self._is_turned(place, wanted):
                return True
        return False

    def has_near_each_other(self, sought: set[str]) -> bool:
        """Whether all of the words occur within `_SPAN` characters of a place where the longest one does."""
        longest, *others = sorted((_forms(word) for word in sought), key=lambda forms: -len(forms[0]))
        for form in longest:
            place = -1
            for _ in range(_MOST_PLACES):
                place = self._text.find(form, place + 1)
                if place < 0:
                    break
                around = self._text[max(0, place - _SPAN) : place + len(form) + _SPAN]
                if all(any(form in around for form in forms) for forms in others):
                    return True
        return False

    def _is_turned(self, place: int, wanted: str) -> bool:
        """Whether the word before, in the same block, gives the words at `place` another meaning."""
        start = bisect_left(self._starts, place)
        if start < len(self._starts) and self._starts[start] == place:
            return False
        before = self._text[max(0, place - 20) : place].rpartition(" ")[2]
        return before in _NEGATIONS or before.endswith("n't") or (before in _SIGNS and wanted[1].isdigit())


def _wanted(quote: str) -> str:
    """The quote's words between spaces as in a `_View`, without punctuation at its ends; "" if it has none."""
    found = words(spelled(_LIST_MARK.sub("", CONTROLS.sub("", quote))))
    start, end = 0, len(found)
    while start < end and found[start] in _ENDS:
        start += 1
    while end > start and found[end - 1] in _ENDS:
        end -= 1
    return f" {' '.join(found[start:end])} " if start < end else ""


def _forms(word: str) -> list[str]:
    if word[-2].isdigit():
        return [word, *(f"{word[:-1]}{ending} " for ending in ("st", "nd", "rd", "th"))]
    return [word, f"{word[:-1]}s "] if len(word) > 4 and word[-2].isalpha() else [word]


def _blocks(text: str) -> list[str]:
    return [piece for block in _BLANK_LINES.split(text) for piece in _pieces(block)]


def _pieces(block: str) -> Iterator[str]:
    """The block, cut at lines or words where it is too long."""
    while len(block) > _LONGEST_BLOCK:
        cut = max(block.rfind("\n", 0, _LONGEST_BLOCK), 0) or max(block.rfind(" ", 0, _LONGEST_BLOCK), 0) or _LONGEST_BLOCK
        yield block[:cut]
        block = block[cut:]
    yield block
