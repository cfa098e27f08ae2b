"""Finds out whether a text contains a quote, whatever markup either of them has.

Words are compared as words. White space, case, Markdown's marks, the shape of quotation marks and dashes, and invisible
characters don't count, and a hyphen inside a word does not either, so that a word may be divided at the end of a line.
Links' addresses, HTML tags, the numbers of lists, and the ends of pages may be in the quote or not. All else counts,
such as numbers, signs, punctuation and the order of words. It takes time linear in the text's length.

A letter with more than `MOST_MARKS` combining marks, which no language has, is compared in pieces of that many marks: a
quote that begins between its marks may not be found.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator
from functools import cached_property, lru_cache

from jobchain.chains.markup import (
    CELL,
    CONTROLS,
    paired_elements,
    rendered,
    unescaped,
    without_line_marks,
    without_list_numbers,
)
from jobchain.chains.pages import without_pages
from jobchain.chains.spelling import spaced, spelled, words

# No markup continues after one: https://spec.commonmark.org/0.31.2/#blank-lines
_BLANK_LINES = re.compile(r"\n(?:[ \t\r]*\n)+")
_LIST_MARK = re.compile(r"^\s*(?:[-*+•]\s+)?(?:\[[ xX]\]\s)?")
# A line that begins with a capital may begin a sentence, after one without a full stop.
_NEW_LINE = re.compile(r"\n(?<!-\n)(?=[ \t]*+[^\W\d_a-z][^\W\d_A-Z])")
_ENDS = frozenset(".!?…。！？:;,\"'()—-")

_BETWEEN = f"{CELL}\n"
# A regular expression holds Python's lock until it returns, so it never gets more than this.
_LONGEST_BLOCK = 20_000

# Words of a name or a date that are searched for one by one.
_MOST_WORDS = 10
_SPAN = 200
"""Characters of the text on either side of a name's longest word in which its other words are."""
_MOST_PLACES = 1_000
"""Places of that word that are looked at."""

_NO = (
    "not no never cannot without neither nor nicht kein keine keinen keinem keiner nie niemals ohne ne pas jamais sans"
    " aucun aucune nunca sin jamás non mai senza não nem sem niet geen nooit zonder ikke aldri aldrig inte не нет без"
)
_NEGATIONS = frozenset(_NO.split())
_ANSWERS = (" no ,", " not ,", " nein ,", " non ,", " não ,", " nee ,", " nej ,", " nei ,", " нет ,")
_LONGEST_WORD = 20
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

        A quote that leaves out a negation or a number's sign at its start or end, such as "share keys" of "Never share
        keys", is not in the text: it says something else.
        """
        wanted = {_wanted(unescaped(quote)), _wanted(quote)} - {""}
        return any(each in view for view in self._views() for each in wanted)

    def has_words_of(self, phrase: str) -> bool:
        """Whether the text contains every word of a name or a date, near each other, in any order.

        It must contain a phrase of more than ten words as a whole. In the text, a word may have an "s" more, and a
        number the ending of an ordinal.
        """
        sought = {word for each in phrase.split() if (word := _wanted(unescaped(each)))}
        if len(sought) > _MOST_WORDS:
            return self.holds(phrase)
        return bool(sought) and self._rendered.has_near_each_other(sought)

    def _views(self) -> Iterator["_View"]:
        """The text in each form that a quote can have, made when it is needed."""
        yield self._rendered
        yield self._written
        if self._unmarked != self._shown:
            yield self._with_markup
        if any(without_list_numbers(block) != block for block in self._shown):
            yield self._without_numbers
        if self._unbroken != self._text:
            yield self._without_pages

    @cached_property
    def _unbroken(self) -> str:
        return without_pages(self._text)

    @cached_property
    def _unmarked(self) -> list[str]:
        return [without_line_marks(block) for block in _blocks(self._unbroken)]

    @cached_property
    def _shown(self) -> list[str]:
        pairs = paired_elements(self._unmarked)
        return [rendered(block, pairs) for block in self._unmarked]

    @cached_property
    def _rendered(self) -> "_View":
        """As a reader sees it."""
        return _View(self._shown)

    @cached_property
    def _written(self) -> "_View":
        """Character by character."""
        return _View(_blocks(self._text))

    @cached_property
    def _with_markup(self) -> "_View":
        """With addresses and tags, but without the marks of lines and the ends of pages."""
        return _View(self._unmarked)

    @cached_property
    def _without_numbers(self) -> "_View":
        """As a reader sees it, but for the numbers of lists."""
        return _View([without_list_numbers(block) for block in self._shown])

    @cached_property
    def _without_pages(self) -> "_View":
        """Character by character, but for the ends of pages."""
        return _View(_blocks(self._unbroken))


class _View:
    """A text's words between single spaces, and where its blocks start."""

    def __init__(self, blocks: list[str]) -> None:
        self._starts: list[int] = []
        place = 0
        found: list[str] = []
        for chunk in _chunks(blocks):
            for cell in spaced(spelled(unescaped(_NEW_LINE.sub(_BETWEEN, chunk)))).split(CELL):
                if joined := " ".join(cell.split()):
                    self._starts.append(place)
                    found.append(joined)
                    place += len(joined) + 1
        self._text = f" {' '.join(found)} "

    def __contains__(self, wanted: str) -> bool:
        place = -1
        # Each place but the last one begins within a sentence that says the opposite: no text has many of them.
        for _ in range(_MOST_PLACES):
            place = self._text.find(wanted, place + 1)
            if place < 0:
                return False
            if not self._says_otherwise(place, wanted):
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

    def _says_otherwise(self, place: int, wanted: str) -> bool:
        """Whether the word before or after the words at `place`, in the same block, gives them another meaning."""
        end = place + len(wanted) - 1
        before = "" if self._is_start(place) else self._text[max(0, place - _LONGEST_WORD) : place]
        if before.endswith(_ANSWERS):
            return True
        before = before.rstrip(" \"'(").rpartition(" ")[2]
        after = "" if self._is_start(end) else self._text[end + 1 : end + _LONGEST_WORD].partition(" ")[0]
        return _negates(before) or _negates(after) or (before in _SIGNS and wanted[1].isdigit())

    def _is_start(self, place: int) -> bool:
        found = bisect_left(self._starts, place)
        return found < len(self._starts) and self._starts[found] == place


def _negates(word: str) -> bool:
    return word in _NEGATIONS or word.endswith("n't")


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
    """What the text may have in place of a name's word."""
    endings = ("", "st", "nd", "rd", "th") if word[-2].isdigit() else ("", "'s", "s") if len(word) > 4 else ("",)
    return [f"{word[:-1]}{ending} " for ending in endings]


def _blocks(text: str) -> list[str]:
    return [piece for block in _BLANK_LINES.split(text) for piece in _pieces(block)]


def _pieces(block: str) -> Iterator[str]:
    """The block, cut at lines or words where it is too long."""
    while len(block) > _LONGEST_BLOCK:
        cut = (
            max(block.rfind("\n", 0, _LONGEST_BLOCK), 0)
            or max(block.rfind(" ", 0, _LONGEST_BLOCK), 0)
            or _LONGEST_BLOCK
        )
        yield block[:cut]
        block = block[cut:]
    yield block


def _chunks(blocks: list[str]) -> Iterator[str]:
    """The blocks, divided by `CELL`s, in strings of up to `_LONGEST_BLOCK` characters: fewer calls cost less."""
    chunk: list[str] = []
    length = 0
    for block in blocks:
        if length + len(block) > _LONGEST_BLOCK:
            yield _BETWEEN.join(chunk)
            chunk, length = [], 0
        chunk.append(block)
        length += len(block)
    yield _BETWEEN.join(chunk)
