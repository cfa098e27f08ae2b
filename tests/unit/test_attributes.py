"""DynamoDB's values: the same as boto3's, for all that the table holds."""

from decimal import Decimal, Inexact
from typing import Any

import pytest
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from hypothesis import given
from hypothesis import strategies as st

from jobchain.aws.attributes import from_attribute, to_attribute
from jobchain.domain import Status

NUMBERS = st.integers(-(10**37), 10**37) | st.decimals(-(10**9), 10**9, places=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.text() | NUMBERS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_are_written_as_boto3_writes_them(value: Any) -> None:
    assert to_attribute(value) == TypeSerializer().serialize(value)


@given(VALUES)
def test_are_read_as_boto3_reads_them(value: Any) -> None:
    attribute = TypeSerializer().serialize(value)

    assert from_attribute(attribute) == TypeDeserializer().deserialize(attribute) == value


def test_of_our_enums_are_plain_texts() -> None:
    attribute = to_attribute(Status.PENDING)

    assert attribute == {"S": "pending"}
    assert type(attribute["S"]) is str


@pytest.mark.parametrize("value", [1.5, {"a"}, object()])
def test_that_the_table_does_not_hold_are_refused(value: object) -> None:
    with pytest.raises(TypeError, match=f"the table holds no {type(value).__name__}"):
        to_attribute(value)


def test_that_would_be_rounded_are_refused() -> None:
    with pytest.raises(Inexact):
        to_attribute(Decimal("1." + "1" * 38))


def test_of_a_kind_that_nobody_has_written_are_refused() -> None:
    with pytest.raises(TypeError, match="holds no SS"):
        from_attribute({"SS": ["x"]})
