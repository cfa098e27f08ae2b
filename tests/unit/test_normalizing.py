"""Texts in the normalization form NFKC, and the work that it takes to bring them there."""

import unicodedata
from collections.abc import Callable
from functools import cache
from itertools import groupby
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobchain.chains.normalizing import BREAK, MOST_MARKS, nfkc
from tests.hostile import hostile_texts

MARKS = "\u0301\u0323\u0345\u0f71\u0f75\u0344\u05b0\U0001d165"
HOSTILE = hostile_texts()


class Work:
    """Counts what `unicodedata.normalize` is given."""

    def __init__(self, normalize: Callable[[Any, str], str]) -> None:
        self._normalize = normalize
        self._decomposed = cache(lambda character: normalize("NFKD", character))
        self.characters = 0
        self.longest_row = 0
        """Of marks, which are sorted by insertion: each costs what the row has."""

    def normalize(self, form: str, text: str) -> str:
        decomposed = "".join(map(self._decomposed, text))
        rows = groupby(decomposed, key=lambda c: unicodedata.combining(c) != 0)
        self.longest_row = max(self.longest_row, *(len(list(row)) for marks, row in rows if marks), 0)
        self.characters += len(text)
        return self._normalize(form, text)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    counted = Work(unicodedata.normalize)
    monkeypatch.setattr(unicodedata, "normalize", counted.normalize)
    return counted


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_no_text_takes_more_than_its_length(work: Work, text: str) -> None:
    nfkc(text)

    assert work.longest_row <= MOST_MARKS
    # Every distinct character once more, to see which marks it holds.
    assert work.characters <= len(text) * (1 + 2 / MOST_MARKS) + len(set(text)) + 1


@given(st.text(max_size=10) | st.text(f"aé守한{MARKS}", max_size=10))
def test_a_text_that_people_write_is_normalized_as_ever(text: str) -> None:
    assert nfkc(text) == unicodedata.normalize("NFKC", text)


@given(st.text(f"aé{MARKS}", min_size=100))
def test_a_long_row_of_marks_is_broken_and_keeps_every_mark(text: str) -> None:
    normalized = nfkc(text)

    assert sorted(unicodedata.normalize("NFKD", normalized.replace(BREAK, ""))) == sorted(
        unicodedata.normalize("NFKD", text)
    )


def test_the_break_comes_after_thirty_marks() -> None:
    assert nfkc("x" + "\u0301" * 31) == "x" + "\u0301" * 30 + BREAK + "\u0301"
    assert nfkc("x" + "\u0301" * 30) == "x" + "\u0301" * 30
