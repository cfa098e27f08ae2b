"""How property tests draw their examples."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.database import InMemoryExampleDatabase

from tests.properties import KEPT, SAME, VARIABLE, profile


def drawn(how: settings) -> list[str]:
    """What a property is tried with."""
    examples = []

    @how
    @given(st.text())
    def property_(text: str) -> None:
        examples.append(text)

    property_()
    return examples


def test_the_same_examples_are_drawn_each_time() -> None:
    assert drawn(profile({})) == drawn(profile({}))


def test_new_examples_are_drawn_where_their_number_is_given() -> None:
    new = profile({VARIABLE: "200"})

    assert len(drawn(new)) >= 200
    assert drawn(new) != drawn(new)


def test_an_example_that_failed_is_tried_first_by_the_next_run() -> None:
    # given
    new = settings(profile({VARIABLE: "1000"}), database=InMemoryExampleDatabase())
    tried: list[int] = []

    @new
    @given(st.integers(0, 10**6))
    def property_(number: int) -> None:
        tried.append(number)
        assert number < 1000

    with pytest.raises(AssertionError):
        property_()
    tried.clear()

    # when
    with pytest.raises(AssertionError):
        property_()

    # then
    assert tried[0] == 1000


def test_what_failed_is_kept_and_printed() -> None:
    new = profile({VARIABLE: "200"})

    assert new.print_blob
    assert str(KEPT) in repr(new.database)


@pytest.mark.skipif(VARIABLE in os.environ, reason="new examples are asked for")
def test_this_run_draws_the_same() -> None:
    assert (settings().derandomize, settings().database) == (SAME.derandomize, None)
