"""What differs between two answers, word by word, whatever the texts are."""

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobchain_cli.replay_diff import Pieces, difference
from tests.hostile import PIECES

texts = st.text(st.sampled_from("ab .\n<&é\u202e\ud800"), max_size=60)


def changed(pieces: Pieces) -> list[str]:
    return [piece.text for piece in pieces if piece.changed]


@given(before=texts, after=texts)
def test_pieces_are_the_texts_again_and_equal_ones_are_in_both(before: str, after: str) -> None:
    old, new = difference(before, after)

    assert ("".join(piece.text for piece in old), "".join(piece.text for piece in new)) == (before, after)
    same_old, same_new = ("".join(piece.text for piece in pieces if not piece.changed) for pieces in (old, new))
    # A blank between two changes of one text belongs to them.
    assert "".join(same_old.split()) == "".join(same_new.split())


@given(text=texts)
def test_a_text_does_not_differ_from_itself(text: str) -> None:
    old, new = difference(text, text)

    assert changed(old) == changed(new) == []


def test_the_words_that_differ_are_marked_and_no_others() -> None:
    old, new = difference("Doors must be locked at night.\nSame.", "Doors must be shut at ten.\nSame.")

    assert changed(old) == ["locked", "night"]
    assert changed(new) == ["shut", "ten"]


def test_words_that_change_in_a_row_are_one_change() -> None:
    old, _ = difference("It is all quite wrong here.", "It is right here.")

    assert changed(old) == ["all quite wrong"]


def test_what_one_text_lacks_is_marked_in_the_other() -> None:
    old, new = difference("One.\nTwo.\n", "One.\nOne and a half.\nTwo.\n")

    assert changed(old) == []
    assert changed(new) == ["One and a half.\n"]


@pytest.mark.parametrize("piece", PIECES.values(), ids=PIECES.keys())
def test_no_text_takes_long(piece: str) -> None:
    chance = random.Random(piece)  # the same text each time
    before = piece * (100_000 // len(piece))
    words = [chance.choice((piece, "a ", "b\n")) for _ in range(20_000)]
    begun = time.process_time()

    difference(before, before[1:] + "x")
    difference("".join(words), "".join(reversed(words)))

    assert time.process_time() - begun < 10
