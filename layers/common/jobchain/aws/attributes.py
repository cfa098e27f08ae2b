"""Python's values as DynamoDB's attribute values, and back: those that the table holds, without sets.

boto3 has the same, but importing it imports all of boto3.
"""

from collections.abc import Mapping
from decimal import Clamped, Context, Decimal, Inexact, Overflow, Rounded, Underflow
from typing import Any

Item = dict[str, Any]
"""An item of the table, or a part of one, as Python's values."""

# A number has up to 38 digits, from 1E-130 to 9.99E+125; one that would be stored as another one is refused:
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
_NUMBER = Context(prec=38, Emin=-128, Emax=126, traps=[Clamped, Overflow, Inexact, Rounded, Underflow])


def to_attribute(value: object) -> dict[str, Any]:
    """A value as DynamoDB's. Raises TypeError for a kind of value that the table does not hold."""
    match value:
        case str():
            return {"S": str(value)}
        case bytes():
            return {"B": value}
        case bool():
            return {"BOOL": value}
        case int() | Decimal():
            return {"N": str(_NUMBER.create_decimal(value))}
        case None:
            return {"NULL": True}
        case Mapping():
            return {"M": {name: to_attribute(entry) for name, entry in value.items()}}
        case list() | tuple():
            return {"L": [to_attribute(entry) for entry in value]}
    raise TypeError(f"the table holds no {type(value).__name__}")


def from_attribute(attribute: Mapping[str, Any]) -> Any:
    """DynamoDB's value as Python's; numbers are Decimals. Raises TypeError for a kind that the table does not hold."""
    ((kind, value),) = attribute.items()
    match kind:
        case "S" | "B" | "BOOL":
            return value
        case "N":
            return Decimal(value)
        case "NULL":
            return None
        case "M":
            return {name: from_attribute(entry) for name, entry in value.items()}
        case "L":
            return [from_attribute(entry) for entry in value]
    raise TypeError(f"the table holds no {kind}")


def to_item(values: Mapping[str, Any]) -> dict[str, Any]:
    """Python values as DynamoDB's."""
    return {name: to_attribute(value) for name, value in values.items()}


def from_item(item: Mapping[str, Any]) -> Item:
    """DynamoDB's values as Python's."""
    return {name: from_attribute(value) for name, value in item.items()}
