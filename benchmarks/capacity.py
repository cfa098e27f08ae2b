"""What calls of the table cost in DynamoDB's units, worked out from the items that they read and write.

The rules are AWS's: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html and
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html. No emulator counts by
them, so this looks at the items of each call before and after it. Storage, backups and the TTL's deletions are not
counted.
"""

import math
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Attributes = Mapping[str, Mapping[str, Any]]
Key = tuple[str, str]

_WRITES = ("PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems")
_READS = ("GetItem", "Query", "Scan", "BatchGetItem")


def size(item: Attributes) -> int:
    """An item's bytes, names included."""
    return sum(len(name.encode()) + _value_size(value) for name, value in item.items())


def _value_size(attribute: Mapping[str, Any]) -> int:
    ((kind, value),) = attribute.items()
    match kind:
        case "S":
            return len(value.encode())
        case "B":
            return len(value)
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
    partition: str = ""

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
            next(key["AttributeName"] for key in index["KeySchema"] if key["KeyType"] == "HASH"),
        )
        for index in table["GlobalSecondaryIndexes"]
    ]


@dataclass
class Units:
    """Units of capacity: writes by the kind of item (META) and by index (recent), and reads; and the calls they took.

    `partitions` are the writes by partition key, of the table ("") and of each index.
    """

    by_item: Counter[str] = field(default_factory=Counter)
    reads: float = 0
    calls: int = 0
    partitions: Counter[tuple[str, str]] = field(default_factory=Counter, compare=False)

    @property
    def writes(self) -> int:
        """Write units in all."""
        return self.by_item.total()

    @property
    def table_writes(self) -> int:
        """Those of the table, without its indexes."""
        return sum(units for name, units in self.by_item.items() if name.isupper())

    @property
    def index_writes(self) -> int:
        """Those of the indexes."""
        return self.writes - self.table_writes

    def __add__(self, other: "Units") -> "Units":
        return Units(
            self.by_item + other.by_item,
            self.reads + other.reads,
            self.calls + other.calls,
            self.partitions + other.partitions,
        )


@dataclass(frozen=True)
class _Target:
    """An item that a call writes: its image before, and the whole item where the call puts one."""

    key: Key
    before: Attributes | None
    put: Attributes | None = None


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
        # A call's items must not change between the two looks at them.
        self._one_call = threading.Lock()
        self._targets: list[_Target] = []
        self._params: Mapping[str, Any] = {}
        self._operation = ""
        for operation in (*_WRITES, *_READS):
            client.meta.events.register(f"provide-client-params.dynamodb.{operation}", self._starts)
            client.meta.events.register(f"after-call.dynamodb.{operation}", self._ends)
            client.meta.events.register(f"after-call-error.dynamodb.{operation}", self._is_lost)

    @contextmanager
    def counting(self) -> Iterator[Units]:
        """What the calls made in here cost, known at the end."""
        outer, self._units = self._units, Units()
        yield self._units
        self._units = outer

    def _starts(self, params: Mapping[str, Any], model: Any, **_: Any) -> None:
        self._one_call.acquire()
        self._params, self._operation = params, model.name
        self._targets = [
            _Target(key, self._item(key), put) for key, put in _written(self._operation, params, self._table)
        ]

    def _ends(self, parsed: Mapping[str, Any], **_: Any) -> None:
        try:
            self._units.calls += 1
            if self._operation not in _WRITES:
                self._read()
            elif "Error" not in parsed:
                self._write(parsed)
            elif _condition_failed(parsed):
                self._failed_write()
        finally:
            self._one_call.release()

    def _is_lost(self, **_: Any) -> None:
        self._one_call.release()

    @property
    def _factor(self) -> int:
        """A transaction writes each item twice: to prepare, and to commit."""
        return 2 if self._operation == "TransactWriteItems" else 1

    def _write(self, parsed: Mapping[str, Any]) -> None:
        unwritten = {key for key, _ in _requests(parsed.get("UnprocessedItems", {}).get(self._table, ()))}
        for target in self._targets:
            if target.key in unwritten:
                continue
            after = self._item(target.key)
            # The larger of the two images, in whole KB; one unit for an item that is not there.
            most = max(size(item) for item in (target.before, after, {}) if item is not None)
            self._count(_kind(target.key), "", target.key[0], _write_units(most) * self._factor)
            for index in self._indexes:
                self._index_write(index, target.before, after)

    def _failed_write(self) -> None:
        """A write whose condition is false costs what it would have, but for the indexes.

        AWS does not say what a canceled transaction costs: it is counted as if it had been made.
        """
        for target in self._targets:
            most = max(size(item) for item in (target.before, target.put, {}) if item is not None)
            self._count(_kind(target.key), "", target.key[0], _write_units(most) * self._factor)

    def _index_write(self, index: Index, old: Attributes | None, new: Attributes | None) -> None:
        before, after = index.entry(old), index.entry(new)
        if before == after:
            return
        (partition,) = (after or before or {})[index.partition].values()
        if before and after and all(before[key] == after[key] for key in index.keys):
            self._count(index.name, index.name, partition, _write_units(max(size(before), size(after))))
            return
        # An entry whose keys change is taken out and put in again.
        units = sum(_write_units(size(entry)) for entry in (before, after) if entry)
        self._count(index.name, index.name, partition, units)

    def _count(self, name: str, index: str, partition: str, units: int) -> None:
        self._units.by_item[name] += units
        self._units.partitions[index, partition] += units

    def _read(self) -> None:
        request = self._params
        if self._operation == "BatchGetItem":
            wanted = request["RequestItems"][self._table]
            factor = 1 if wanted.get("ConsistentRead") else 0.5
            self._units.reads += factor * sum(_read_units(size(self._item(_key(key)) or {})) for key in wanted["Keys"])
            return
        factor = 1 if request.get("ConsistentRead") else 0.5
        one = self._operation == "GetItem"
        found = [self._item(_key(request["Key"])) or {}] if one else self._passed_over(request)
        # An item costs all of its size, whatever part of it is asked for; a query's items are added up first.
        self._units.reads += _read_units(sum(map(size, found))) * factor

    def _passed_over(self, query: Mapping[str, Any]) -> list[Attributes]:
        """All that a query or a scan reads: what its filter leaves out, and what it only counts, is read too."""
        left_out = {"FilterExpression", "Select", "ProjectionExpression", "ExpressionAttributeNames"}
        whole = {name: value for name, value in query.items() if name not in left_out}
        if self._operation == "Scan":
            whole.pop("ExpressionAttributeValues", None)
            passed: Any = self._observer.scan(**whole)["Items"]
            return list(passed)
        condition = str(query["KeyConditionExpression"])
        values = query["ExpressionAttributeValues"]
        whole["ExpressionAttributeValues"] = {name: value for name, value in values.items() if name in condition}
        found: Any = self._observer.query(**whole)["Items"]
        return list(found)

    def _item(self, key: Key) -> Attributes | None:
        where = {"pk": {"S": key[0]}, "sk": {"S": key[1]}}
        found: Any = self._observer.get_item(TableName=self._table, Key=where, ConsistentRead=True).get("Item")
        return found or None


def _written(operation: str, params: Mapping[str, Any], table: str) -> list[tuple[Key, Attributes | None]]:
    """The keys of the items that a call writes, each with the whole item where it is put."""
    match operation:
        case "BatchWriteItem":
            return _requests(params["RequestItems"][table])
        case "TransactWriteItems":
            return [_written_by(write) for entry in params["TransactItems"] for write in entry.values()]
        case "PutItem" | "UpdateItem" | "DeleteItem":
            return [_written_by(params)]
    return []


def _requests(entries: Sequence[Mapping[str, Any]]) -> list[tuple[Key, Attributes | None]]:
    return [_written_by(request) for entry in entries for request in entry.values()]


def _written_by(write: Mapping[str, Any]) -> tuple[Key, Attributes | None]:
    return (_key(write["Item"]), write["Item"]) if "Item" in write else (_key(write["Key"]), None)


def _condition_failed(parsed: Mapping[str, Any]) -> bool:
    """Whether the table refused the call for its condition, not for its form or for its throughput."""
    if parsed["Error"]["Code"] == "ConditionalCheckFailedException":
        return True
    return any(reason.get("Code") == "ConditionalCheckFailed" for reason in parsed.get("CancellationReasons", ()))


def _kind(key: Key) -> str:
    return key[1].split("#", 1)[0]


def _key(item: Attributes) -> Key:
    return item["pk"]["S"], item["sk"]["S"]


def _read_units(bytes_: int) -> int:
    return max(1, math.ceil(bytes_ / 4096))


def _write_units(bytes_: int) -> int:
    return max(1, math.ceil(bytes_ / 1024))
