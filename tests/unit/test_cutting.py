"""How a long text is cut."""

import re
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobchain.chains.splitting import split
from tests.hostile import hostile_texts

HOSTILE = hostile_texts()
TEXTS = (
    st.text()
    | st.text("ab.\n# ", max_size=300)
    | st.text("規則。\n 守", max_size=300)
    | st.text("a\r\n|-", max_size=300)
)


def within(most: int) -> Callable[[str], bool]:
    return lambda text: len(text.encode()) <= most


def parts(text: str, most: int) -> list[str]:
    return [text[start:end] for start, end in split(text, within(most))]


@given(TEXTS, st.integers(1, 100))
def test_the_parts_are_the_whole_text_and_each_fits_or_is_one_character(text: str, most: int) -> None:
    bounds = split(text, within(most))

    assert (bounds[0][0], bounds[-1][1]) == (0, len(text))
    assert all(first[1] == second[0] for first, second in pairwise(bounds))
    for start, end in bounds:
        assert start < end or not text
        assert within(most)(text[start:end]) or end - start == 1


@given(TEXTS, st.integers(1, 100))
def test_no_two_neighbours_would_fit_in_one_part(text: str, most: int) -> None:
    assert not any(within(most)(first + second) for first, second in pairwise(parts(text, most)))


@given(TEXTS)
def test_a_text_that_fits_is_one_part(text: str) -> None:
    assert split(text, lambda _: True) == [(0, len(text))]


@pytest.mark.parametrize(
    ("text", "most", "expected"),
    [
        ("# A\nOne.\n\nTwo.\n# B\nThree.\n", 20, ["# A\nOne.\n\nTwo.\n", "# B\nThree.\n"]),
        ("## A\nOne.\n### B\nTwo.\n## C\nThree.", 24, ["## A\nOne.\n### B\nTwo.\n", "## C\nThree."]),
        ("# A\nOne.\n### B\nTwo.", 12, ["# A\nOne.\n", "### B\nTwo."]),
        ("One.\nTwo.\n\nThree.", 12, ["One.\nTwo.\n\n", "Three."]),
        ("One.\r\nTwo.\r\n\r\nThree.", 15, ["One.\r\nTwo.\r\n\r\n", "Three."]),
        ("One.\n\nTwo.\nThree.", 12, ["One.\n\n", "Two.\nThree."]),
        ("One.\r\n\r\nTwo.\r\nThree.", 15, ["One.\r\n\r\n", "Two.\r\nThree."]),
        ("One. Two.\nThree.", 12, ["One. Two.\n", "Three."]),
        ("One two. Three four.", 15, ["One two. ", "Three four."]),
        ("規則。規則を守る。", 20, ["規則。", "規則を守る。"]),
        ("one two three", 8, ["one two ", "three"]),
        ("| a | b |\n|---|---|\n| c | d |\n| e | f |\n", 20, ["| a | b |\n|---|---|\n", "| c | d |\n| e | f |\n"]),
        ("abcdefgh", 4, ["abcd", "efgh"]),
        ("😀😀", 4, ["😀", "😀"]),
        ("😀", 1, ["😀"]),
    ],
)
def test_it_is_cut_where_its_best_seam_is(text: str, most: int, expected: list[str]) -> None:
    assert parts(text, most) == expected


def test_a_hash_that_is_no_heading_is_no_seam() -> None:
    assert parts("One two three. #four five six.", 20) == ["One two three. ", "#four five six."]


TABLE = "| obligation | by whom | by when |\n"


@pytest.mark.parametrize(
    ("piece", "seam"),
    [
        ("x", None),
        ("守", None),
        ("a ", r"a $"),
        ("守 ", r"守 $"),
        ("規則を守る。", r"。$"),
        (TABLE, r"\|\n$"),
        ("A rule must be kept.\r\n\r\n", r"\r\n\r\n$"),
        ("# A\n", r"\n$"),
        ("\n", None),
        ("\r\n ", None),
        ("?!.", None),
        ("###### ", None),
    ],
)
@pytest.mark.parametrize("most", [1_000, 8_000, 60_000, 150_000])
def test_a_hundred_thousand_characters_of_anything_are_cut_at_a_seam(piece: str, seam: str | None, most: int) -> None:
    # given
    text = (piece * 100_000)[:100_000]

    # when
    found = parts(text, most)

    # then
    assert "".join(found) == text
    assert all(len(part.encode()) <= most for part in found)
    assert len(found) <= 2 * len(text.encode()) / most + 1
    if seam:
        assert all(re.search(seam, part) for part in found[:-1])


@pytest.mark.parametrize("most", [200, 1_000, 8_000, 60_000])
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_no_text_is_measured_over_and_over(text: str, most: int) -> None:
    # given
    measured = 0

    def fits(part: str) -> bool:
        nonlocal measured
        measured += len(part)
        return len(part.encode()) <= most

    # when
    split(text, fits)

    # then: once for each kind of seam, once for each halving, and a few times to put the pieces together
    assert measured <= 40 * len(text)
