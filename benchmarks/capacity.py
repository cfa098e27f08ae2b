"""What calls of the table cost in DynamoDB's units, worked out from the items that they read and write.

The rules are AWS's: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html and
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html. No emulator counts by
them, so this looks at the table before and after each call. Storage, backups and the TTL's deletions are not counted.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Attributes = Mapping[str, Mapping[str, Any]]
Key = tuple[str, str]

_WRITES = ("PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems")
_READS = ("GetItem", "Query", "BatchGetItem")


def size(item: Attributes) -> int:
    """An item's bytes, names included."""
    return sum(len(name.encode()) + _value_size(value) for name, value in item.items())


def _value_size(attribute: Mapping[str, Any]) -> int:
    ((kind, value),) = attribute.items()
    match kind:
        case "S":
            return len(value.encode())
        case "N":
            # About a byte for two digits, and one more.
            return math.ceil(len(value.lstrip("-").replace(".", "").strip("0")) / 2) + 1
        case "BOOL" | "NULL":
            return 1
        case "M":
            return 3 + sum(1 + len(name.encode()) + _value_size(entry) for name, entry in value.items())
        case "L":
            return 3 + sum(1 + _value_size(entry) for entry in value)
    raise ValueError(f"the table holds no {kind}")


@dataclass(frozen=True)
class Index:
    """A global secondary index: its keys, and the attributes that it holds; None is all."""

    name: str
    keys: frozenset[str]
    holds: frozenset[str] | None

    def entry(self, item: Attributes | None) -> Attributes | None:
        """The index's entry of an item; None where the index has none."""
        if item is None or not self.keys <= item.keys():
            return None
        if self.holds is None:
            return item
        return {name: value for name, value in item.items() if name in self.holds}


def indexes(table: Mapping[str, Any]) -> list[Index]:
    """The indexes of a table, as CloudFormation describes it."""
    own = {key["AttributeName"] for key in table["KeySchema"]}
    return [
        Index(
            index["IndexName"],
            keys := frozenset(key["AttributeName"] for key in index["KeySchema"]),
            None
            if index["Projection"]["ProjectionType"] == "ALL"
            else frozenset({*own, *keys, *index["Projection"].get("NonKeyAttributes", ())}),
        )
        for index in table["GlobalSecondaryIndexes"]
    ]


@dataclass
class Units:
    """Units of capacity: writes of the table, writes of its indexes, and reads; and the calls that took them."""

    table_writes: float = 0
    index_writes: float = 0
    reads: float = 0
    calls: int = 0

    @property
    def writes(self) -> float:
        """Write units in all."""
        return self.table_writes + self.index_writes


class Meter:
    """Counts what a client's calls of one table cost."""

    def __init__(
        self, client: "DynamoDBClient", observer: "DynamoDBClient", table: str, found: Sequence[Index]
    ) -> None:
        """`observer` is another client of the same table, whose calls do not count."""
        self._observer = observer
        self._table = table
        self._indexes = found
        self._units = Units()
        self._before: dict[Key, Attributes] = {}
        for operation in (*_WRITES, *_READS):
            client.meta.events.register(f"provide-client-params.dynamodb.{operation}", self._starts)
            client.meta.events.register(f"after-call.dynamodb.{operation}", self._ends)

    @contextmanager
    def counting(self) -> Iterator[Units]:
        """What the calls made in here cost, known at the end."""
        self._units = units = Units()
        yield units
        self._units = Units()

    def _starts(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        self._before = self._items()
        self._params = params
        self._operation = model.name

    def _ends(self, parsed: Mapping[str, Any], **_: Any) -> None:
        self._units.calls += 1
        if self._operation in _WRITES:
            self._write(transaction=self._operation == "TransactWriteItems")
        else:
            self._read(parsed)

    def _write(self, *, transaction: bool) -> None:
        after = self._items()
        for key in self._before.keys() | after.keys():
            old, new = self._before.get(key), after.get(key)
            if old == new:
                continue
            # The larger of the two images, in whole KB; twice in a transaction.
            most = max(size(item) for item in (old, new) if item)
            self._units.table_writes += math.ceil(most / 1024) * (2 if transaction else 1)
            for index in self._indexes:
                self._units.index_writes += _index_units(index, old, new)

    def _read(self, parsed: Mapping[str, Any]) -> None:
        request = self._params
        if self._operation == "GetItem":
            found = [self._before.get(_key(request["Key"]), {})]
        elif self._operation == "BatchGetItem":
            found = [self._before.get(_key(key), {}) for key in request["RequestItems"][self._table]["Keys"]]
            self._units.reads += sum(_read_units(size(item)) for item in found)
            return
        else:
            found = list(parsed["Items"])
        # An item costs all of its size, whatever part of it is asked for; a query's items are added up first.
        factor = 1 if request.get("ConsistentRead") else 0.5
        self._units.reads += _read_units(sum(map(size, found))) * factor

    def _items(self) -> dict[Key, Attributes]:
        pages = self._observer.get_paginator("scan").paginate(TableName=self._table)
        return {_key(item): item for page in pages for item in page["Items"]}


def _key(item: Attributes) -> Key:
    return item["pk"]["S"], item["sk"]["S"]


def _read_units(bytes_: int) -> int:
    return max(1, math.ceil(bytes_ / 4096))


def _index_units(index: Index, old: Attributes | None, new: Attributes | None) -> int:
    before, after = index.entry(old), index.entry(new)
    if before == after:
        return 0
    if before and after and all(before[key] == after[key] for key in index.keys):
        return math.ceil(max(size(before), size(after)) / 1024)
    # An entry whose keys change is taken out and put in again.
    return sum(math.ceil(size(entry) / 1024) for entry in (before, after) if entry)
