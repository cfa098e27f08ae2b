"""Measures of a result against the document that it was made of: simple ones, by words, without a model.

They know English only, and know words, not meanings: docs/explanation/evals.md says what that hides.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from jobchain_offline.extract import sentences

OBLIGING = (
    "must, shall, should, ought, never, always, required, mandatory, recommended, need to, needs to, do not, don't"
)
"""The words that make a sentence an obligation, here. The offline model goes by rules of its own."""
MIN_WORD = 3
"""A word of fewer letters does not count, unless it is a number."""
STEM = 6
"""Only this many letters of a word without its ending count, so that "encrypted" and "encryption" are the same."""
MIN_SHARED = 0.5
"""The share of a sentence's words that an item must have to cover it."""
MIN_OWN = 1 / 3
"""The share of the item's own words that must come from the sentence, so that no item covers everything."""

_ANY_OF_THEM = "|".join(OBLIGING.split(", ")).replace("'", "['’]")
_OBLIGING = re.compile(rf"\b(?:{_ANY_OF_THEM})\b", re.IGNORECASE)
_WORD = re.compile(r"\d+|[^\W\d_]+")
_ENDING = re.compile(r"(?<=...)(?:ing|ed|es|e|(?<!s)s)$")
_IN_EVERY_TEXT = (
    "the and for are but not you all any can has had its may new now one our out per see two use who why how let was"
    " must shall should ought never always required mandatory recommended need needs that this these those with from"
    " have been they them their there which when where what your into than then also only such other some each more"
    " most very make sure does being about over after before because while will would could using used uses"
)
_EMPTY = frozenset(_IN_EVERY_TEXT.split())


@dataclass(frozen=True, slots=True)
class Share:
    """A count out of a total."""

    part: int = 0
    whole: int = 0

    def __add__(self, other: "Share") -> "Share":
        return Share(self.part + other.part, self.whole + other.whole)

    @classmethod
    def of(cls, truths: Iterable[bool]) -> "Share":
        """How many are true."""
        found = list(truths)
        return cls(sum(found), len(found))


def obligations(text: str) -> list[str]:
    """The sentences of a document that oblige somebody: those with one of the words of `OBLIGING`, no questions."""
    return [one.text for one in sentences(text) if _OBLIGING.search(one.text) and not one.text.endswith("?")]


def words(text: str) -> frozenset[str]:
    """What a text is about: its numbers, and the stems of its words, but for short ones and those of every text."""
    found = (word.casefold() for word in _WORD.findall(text))
    return frozenset(
        word if word.isdecimal() else _ENDING.sub("", word)[:STEM]
        for word in found
        if word.isdecimal() or (len(word) >= MIN_WORD and word not in _EMPTY)
    )


def covers(item: str, sentence: str) -> bool:
    """Whether an item says what a sentence says, as far as words can tell: enough of its words, all its numbers."""
    mine, wanted = words(item), words(sentence)
    shared = mine & wanted
    numbers = {word for word in wanted if word.isdecimal()}
    return bool(shared) and numbers <= mine and len(shared) >= max(MIN_SHARED * len(wanted), MIN_OWN * len(mine))


def coverage(document: str, items: Collection[str]) -> Share:
    """How many obligations of a document an item covers."""
    return Share.of(any(covers(item, sentence) for item in items) for sentence in obligations(document))


def is_backed(item: str, documents: Sequence[str]) -> bool:
    """Whether each of the documents has a sentence with at least half of the item's words, and all its numbers."""
    mine = words(item)
    numbers = {word for word in mine if word.isdecimal()}
    return bool(mine) and all(
        any(
            numbers <= (theirs := words(sentence.text)) and len(mine & theirs) >= MIN_SHARED * len(mine)
            for sentence in sentences(text)
        )
        for text in documents
    )
