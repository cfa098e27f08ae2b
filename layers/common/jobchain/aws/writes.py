"""The writes of the table, as values: conditional updates that recognize themselves, puts and deletions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import uuid4

from jobchain.aws.attributes import Item, to_item


@dataclass(frozen=True, slots=True, eq=False)
class Write:
    """One write, without the table's name: its kind, and DynamoDB's parameters. Each is equal to itself alone."""

    kind: Literal["Put", "Update", "Delete"]
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class IfAbsent:
    """A value that an attribute gets only where it has none."""

    value: object


def key(pk: str, sk: str) -> Item:
    """The key of an item."""
    return {"pk": pk, "sk": sk}


def epoch(moment: datetime) -> int:
    """Whole seconds since 1970, as DynamoDB's TTL needs them."""
    return int(moment.timestamp())


def epoch_ms(moment: datetime) -> int:
    """Whole milliseconds since 1970."""
    return int(moment.timestamp() * 1000)


def epoch_ms_up(moment: datetime) -> int:
    """Milliseconds since 1970, not before `moment`."""
    return -int(-moment.timestamp() * 1000 // 1)


def update(
    key: Item,
    condition: str,
    values: Item,
    changes: Item,
    removed: Sequence[str] = (),
    added: Item | None = None,
) -> Write:
    """An update where `condition` holds: sets `changes`, removes `removed`, adds `added`.

    Each has a token of its own, by which it recognizes its own result.
    """
    changes = {**changes, "token": str(uuid4())}
    added = added or {}
    names = {f"#{name}": name for name in (*changes, *removed)}
    if "#status" in condition:
        names["#status"] = "status"
    expression = "SET " + ", ".join(_assignment(name, value) for name, value in changes.items())
    if removed:
        expression += " REMOVE " + ", ".join(f"#{name}" for name in removed)
    if added:
        expression += " ADD " + ", ".join(f"{name} :{name}" for name in added)
    new = {name: value.value if isinstance(value, IfAbsent) else value for name, value in changes.items()}
    return Write(
        "Update",
        {
            "Key": to_item(key),
            "UpdateExpression": expression,
            "ConditionExpression": condition,
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": to_item({f":{name}": value for name, value in {**new, **added}.items()})
            | to_item(values),
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        },
    )


def add(key: Item, added: Item, changes: Item) -> Write:
    """An update without a condition: adds `added`, sets `changes`."""
    expression = "SET " + ", ".join(f"{name} = :{name}" for name in changes)
    expression += " ADD " + ", ".join(f"{name} :{name}" for name in added)
    return Write(
        "Update",
        {
            "Key": to_item(key),
            "UpdateExpression": expression,
            "ExpressionAttributeValues": to_item({f":{name}": value for name, value in {**changes, **added}.items()}),
        },
    )


def put(item: Item) -> Write:
    """A write of the whole item."""
    return Write("Put", {"Item": to_item(item)})


def put_new(item: Item, instead_of: str = "", values: Item | None = None) -> Write:
    """The same, where no such item exists, or one that fulfills the condition `instead_of`."""
    condition = " OR ".join(filter(None, ("attribute_not_exists(pk)", instead_of)))
    parameters = {
        "Item": to_item(item),
        "ConditionExpression": condition,
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    if values:
        parameters["ExpressionAttributeValues"] = to_item(values)
    return Write("Put", parameters)


def delete(key: Item, condition: str = "", values: Item | None = None) -> Write:
    """A deletion, where `condition` holds."""
    parameters: dict[str, Any] = {"Key": to_item(key)}
    if condition:
        parameters["ConditionExpression"] = condition
        parameters["ExpressionAttributeValues"] = to_item(values or {})
        if "#status" in condition:
            parameters["ExpressionAttributeNames"] = {"#status": "status"}
    return Write("Delete", parameters)


def _assignment(name: str, value: object) -> str:
    return f"#{name} = if_not_exists(#{name}, :{name})" if isinstance(value, IfAbsent) else f"#{name} = :{name}"
