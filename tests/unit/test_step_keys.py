"""The names under which a job's steps and tries are stored, and the keys that they are read back as."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobchain.chains.step_keys import Key, PartsKey, SplitKey, StepKey, TriesKey, read_key
from jobchain.domain import Tier

STEPS = st.from_regex(r"[a-z][a-z0-9_]*", fullmatch=True)
NUMBERS = st.integers(1, 10_000)
PARTS = st.builds(lambda step, first, more: PartsKey(step, first, first + more), STEPS, NUMBERS, st.integers(0, 500))
KEYS: st.SearchStrategy[Key] = st.builds(StepKey, STEPS) | st.builds(SplitKey, STEPS) | PARTS

# As the first version stored them. A change here would leave the jobs that are in the table without their outputs.
STORED = [
    (StepKey("summary"), "summary"),
    (SplitKey("summary"), "summary.parts"),
    (PartsKey("summary", 2, 2), "summary.part02"),
    (PartsKey("summary", 3, 5), "summary.part03-05"),
    (PartsKey("summary", 9, 120), "summary.part09-120"),
    (PartsKey("summary", 120, 120), "summary.part120"),
]


@pytest.mark.parametrize(("key", "stored"), STORED)
def test_a_stored_name_never_changes_its_form(key: Key, stored: str) -> None:
    assert key.stored == stored


@pytest.mark.parametrize(("key", "stored"), STORED)
def test_a_name_that_an_earlier_version_stored_is_read(key: Key, stored: str) -> None:
    assert read_key(stored) == key


@given(key=KEYS)
def test_every_key_is_read_back_as_itself(key: Key) -> None:
    assert read_key(key.stored) == key


@pytest.mark.parametrize(
    "name", ["", "outline", "summary.", "summary.part", "summary.part1", "summary.partial", "a.b.parts"]
)
def test_a_name_of_another_form_is_a_step_of_that_name(name: str) -> None:
    assert read_key(name) == StepKey(name)


@pytest.mark.parametrize(
    ("key", "stored"),
    [
        (TriesKey("summary", Tier.STANDARD), "summary"),
        (TriesKey("summary", Tier.FLEX), "summary@flex"),
        (TriesKey("summary.part02", Tier.FLEX), "summary.part02@flex"),
    ],
)
def test_the_stored_name_of_a_count_of_tries_never_changes_its_form(key: TriesKey, stored: str) -> None:
    assert key.stored == stored
