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

    kind: Literal["Put", "Update", "Delete", "ConditionCheck"]
    parameters: Mapping[str, Any]

    @property
    def token(self) -> Mapping[str, Any] | None:
        """The token that the written item has, by which the write recognizes its own result."""
        written = self.parameters.get("Item", {}).get("token")
        token: Mapping[str, Any] | None = written or self.parameters.get("ExpressionAttributeValues", {}).get(":token")
        return token


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


def new_token() -> str:
    """A token for an item that is written."""
    return str(uuid4())


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
    token: str | None = None,
) -> Write:
    """An update where `condition` holds: sets `changes`, removes `removed`, adds `added`.

    By its token it recognizes its own result: a new one each time, except if the caller gives one that no other write
    of the item has. A name with a dot, such as "late.3", is that of an entry of a map.
    """
    changes = {**changes, "token": token or new_token()}
    added = added or {}
    paths = (*changes, *removed, *added)
    names = {f"#{part}": part for path in paths for part in path.split(".")}
    names |= {word: word[1:] for word in ("#status", "#token") if word in condition}
    expression = "SET " + ", ".join(_assignment(name, value) for name, value in changes.items())
    if removed:
        expression += " REMOVE " + ", ".join(map(_path, removed))
    if added:
        expression += " ADD " + ", ".join(f"{_path(name)} {_value(name)}" for name in added)
    new = {name: value.value if isinstance(value, IfAbsent) else value for name, value in changes.items()}
    return Write(
        "Update",
        {
            "Key": to_item(key),
            "UpdateExpression": expression,
            "ConditionExpression": condition,
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": to_item({_value(name): value for name, value in {**new, **added}.items()})
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
        names = {word: word[1:] for word in ("#status", "#token") if word in condition}
        if names:
            parameters["ExpressionAttributeNames"] = names
    return Write("Delete", parameters)


def check(key: Item, condition: str, values: Item) -> Write:
    """No write: a transaction with it is made only where `condition` holds."""
    return Write(
        "ConditionCheck",
        {
            "Key": to_item(key),
            "ConditionExpression": condition,
            "ExpressionAttributeValues": to_item(values),
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        },
    )


def _assignment(name: str, value: object) -> str:
    path = _path(name)
    new = f"if_not_exists({path}, {_value(name)})" if isinstance(value, IfAbsent) else _value(name)
    return f"{path} = {new}"


def _path(name: str) -> str:
    return ".".join(f"#{part}" for part in name.split("."))


def _value(name: str) -> str:
    return f":{name.replace('.', '_')}"
