"""How the table is read and written: conditional updates that know themselves again, transactions, and our errors."""

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError

from jobchain.aws.attributes import from_attribute, to_attribute
from jobchain.errors import Unavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Item = dict[str, Any]
R = TypeVar("R")

# DynamoDB refuses a transaction that meets another one at once; it rarely happens twice.
_CONFLICT_PAUSES_SECONDS = (0.05, 0.1, 0.2, 0.4, 0.8)


@dataclass(frozen=True, slots=True)
class IfAbsent:
    """A value that an attribute gets only where it has none."""

    value: object


class ConditionFailed(Exception):
    """A conditional write found another state; `item` is what it found, None where there is nothing."""

    def __init__(self, item: Item | None) -> None:
        super().__init__("condition failed")
        self.item = item


class _ConflictError(Unavailable):
    """A write met a transaction on the same item."""


class Table:
    """One DynamoDB table. Every method raises Unavailable where it does not answer, or refuses for now."""

    def __init__(self, client: "DynamoDBClient", name: str) -> None:
        self._client = client
        self._name = name

    # --- reading ---------------------------------------------------------------------------------

    def get(self, key: Item, projection: str | None = None) -> Item | None:
        """The item as it stands now, or its attributes that `projection` names."""
        only: Any = {"ProjectionExpression": projection} if projection else {}
        with _answering():
            answer = self._client.get_item(TableName=self._name, Key=to_item(key), ConsistentRead=True, **only)
        return from_item(answer["Item"]) if "Item" in answer else None

    def query(self, pk: str, first: str, last: str) -> list[Item]:
        """The items of `pk` from sort key `first` to `last`, in order, as they stand now."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._name,
            ConsistentRead=True,
            KeyConditionExpression="pk = :pk AND sk BETWEEN :first AND :last",
            ExpressionAttributeValues=to_item({":pk": pk, ":first": first, ":last": last}),
        )
        with _answering():
            return [from_item(item) for page in pages for item in page["Items"]]

    def index_pages(
        self, index: str, condition: str, values: Item, page_size: int, **options: Any
    ) -> Iterator[tuple[list[Item], Item | None]]:
        """Pages of an index, as it stood a moment ago; `options` are those of DynamoDB's Query.

        With each comes the key of the last item that was looked at, None on the last page.
        """
        pages = self._client.get_paginator("query").paginate(
            TableName=self._name,
            IndexName=index,
            KeyConditionExpression=condition,
            ExpressionAttributeValues=to_item(values),
            PaginationConfig={"PageSize": page_size},
            **options,
        )
        with _answering():
            for page in pages:
                last = page.get("LastEvaluatedKey")
                yield [from_item(item) for item in page["Items"]], from_item(last) if last else None

    def count_index(
        self, index: str, condition: str, values: Item, most: int, **options: Any
    ) -> Iterator[tuple[int, int]]:
        """The same without the items: of each page, how many passed the filter of `options`, and how many were seen."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._name,
            IndexName=index,
            Select="COUNT",
            KeyConditionExpression=condition,
            ExpressionAttributeValues=to_item(values),
            PaginationConfig={"PageSize": most},
            **options,
        )
        with _answering():
            for page in pages:
                yield page["Count"], page["ScannedCount"]

    def get_many(self, keys: Sequence[Item]) -> list[Item]:
        """The items of up to 100 keys that exist, in any order, as they stand now."""
        found: list[Item] = []
        wanted: Any = {self._name: {"Keys": [to_item(key) for key in keys], "ConsistentRead": True}}
        for pause in _CONFLICT_PAUSES_SECONDS:
            with _answering():
                answer = self._client.batch_get_item(RequestItems=wanted)
            found += [from_item(item) for item in answer["Responses"].get(self._name, [])]
            if not (wanted := answer.get("UnprocessedKeys")):
                return found
            time.sleep(pause)
        raise Unavailable("the table gives a part of what was asked for")

    # --- writing ---------------------------------------------------------------------------------

    def change(
        self,
        key: Item,
        condition: str,
        values: Item,
        changes: Item,
        removed: Sequence[str] = (),
        added: Item | None = None,
    ) -> Item:
        """Updates an item where `condition` holds, and gives it as it is then. Raises ConditionFailed."""
        return self.write(self.update(key, condition, values, changes, removed, added))

    def write(self, update: Any) -> Item:
        """Makes an `update`, and gives the item as it is then. Raises ConditionFailed."""
        try:
            return _past_conflicts(lambda: self._update_item(update))
        except ConditionFailed as failed:
            # The answer to the first try was lost, and the SDK's second met our own write.
            if failed.item and to_attribute(failed.item.get("token")) == update["ExpressionAttributeValues"][":token"]:
                return failed.item
            raise

    def _update_item(self, update: Any) -> Item:
        with _answering():
            return from_item(self._client.update_item(**update, ReturnValues="ALL_NEW")["Attributes"])

    def update(
        self,
        key: Item,
        condition: str,
        values: Item,
        changes: Item,
        removed: Sequence[str] = (),
        added: Item | None = None,
    ) -> Any:
        """An update: `changes` are set, `removed` are removed, to `added` is added.

        Each has a token of its own, by which it knows itself again.
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
        return {
            "TableName": self._name,
            "Key": to_item(key),
            "UpdateExpression": expression,
            "ConditionExpression": condition,
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": to_item({f":{name}": value for name, value in {**new, **added}.items()})
            | to_item(values),
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }

    def add(self, key: Item, added: Item, changes: Item) -> Any:
        """An update without a condition: to `added` is added, `changes` are set."""
        expression = "SET " + ", ".join(f"{name} = :{name}" for name in changes)
        expression += " ADD " + ", ".join(f"{name} :{name}" for name in added)
        return {
            "TableName": self._name,
            "Key": to_item(key),
            "UpdateExpression": expression,
            "ExpressionAttributeValues": to_item({f":{name}": value for name, value in {**changes, **added}.items()}),
        }

    def put(self, item: Item) -> Any:
        """A write of the whole item, for `transact`."""
        return {"Put": {"TableName": self._name, "Item": to_item(item)}}

    def put_new(self, item: Item, instead_of: str = "", values: Item | None = None) -> Any:
        """The same, where there is no such item yet, or one of which the condition `instead_of` holds."""
        write = self.put(item)
        write["Put"]["ConditionExpression"] = " OR ".join(filter(None, ("attribute_not_exists(pk)", instead_of)))
        write["Put"]["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        if values:
            write["Put"]["ExpressionAttributeValues"] = to_item(values)
        return write

    def delete(self, key: Item, condition: str = "", values: Item | None = None) -> Any:
        """A deletion, where `condition` holds, for `transact`."""
        write: Any = {"TableName": self._name, "Key": to_item(key)}
        if condition:
            write["ConditionExpression"] = condition
            write["ExpressionAttributeValues"] = to_item(values or {})
            if "#status" in condition:
                write["ExpressionAttributeNames"] = {"#status": "status"}
        return {"Delete": write}

    def transact(self, writes: Callable[[], Sequence[Any]]) -> list[Item | None] | None:
        """Makes all of `writes` or none; each try asks for them anew.

        None where they were made. Where conditions failed: one entry for each write, None for those whose condition
        held, the item that it found (empty where there is none) for those whose condition failed.
        """
        return _past_conflicts(lambda: self._transact_once(writes()))

    def _transact_once(self, writes: Sequence[Any]) -> list[Item | None] | None:
        try:
            # botocore adds a ClientRequestToken, so that its own retries can't meet their own write.
            self._client.transact_write_items(TransactItems=writes)
        except BotoCoreError as error:
            raise Unavailable("the table does not answer") from error
        except ClientError as error:
            reasons: Any = error.response.get("CancellationReasons", [])
            codes = {reason.get("Code") for reason in reasons}
            if "ConditionalCheckFailed" in codes:
                return [
                    from_item(reason.get("Item", {})) if reason.get("Code") == "ConditionalCheckFailed" else None
                    for reason in reasons
                ]
            if "TransactionConflict" in codes:
                raise _ConflictError("the table is busy with the same items") from error
            raise _unavailable(error, codes) from error
        return None


def key(pk: str, sk: str) -> Item:
    """The key of an item."""
    return {"pk": pk, "sk": sk}


def epoch(moment: datetime) -> int:
    """Whole seconds since 1970, as DynamoDB's TTL wants them."""
    return int(moment.timestamp())


def epoch_ms(moment: datetime) -> int:
    """Whole milliseconds since 1970."""
    return int(moment.timestamp() * 1000)


def to_item(values: Mapping[str, Any]) -> dict[str, Any]:
    """Python values as DynamoDB's."""
    return {name: to_attribute(value) for name, value in values.items()}


def from_item(item: Mapping[str, Any]) -> Item:
    """DynamoDB's values as Python's."""
    return {name: from_attribute(value) for name, value in item.items()}


def dump(value: object) -> str:
    """Compact JSON, with other scripts as they are: six times smaller than escaped."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _past_conflicts(write: Callable[[], R]) -> R:
    """What `write` gives, tried again for a second where it meets a transaction."""
    for pause in _CONFLICT_PAUSES_SECONDS:
        try:
            return write()
        except _ConflictError:
            # Writers that met once would meet again if they all waited for as long.
            time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311  # no secret
    return write()


def _assignment(name: str, value: object) -> str:
    return f"#{name} = if_not_exists(#{name}, :{name})" if isinstance(value, IfAbsent) else f"#{name} = :{name}"


@contextmanager
def _answering() -> Iterator[None]:
    """Turns botocore's errors into ours."""
    try:
        yield
    except BotoCoreError as error:
        raise Unavailable("the table does not answer") from error
    except ClientError as error:
        if error.response["Error"]["Code"] == "TransactionConflictException":
            raise _ConflictError("the table is busy with the same items") from error
        if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
            found: Any = error.response.get("Item")
            raise ConditionFailed(from_item(found) if found else None) from error
        raise _unavailable(error) from error


def _unavailable(error: ClientError, reasons: Set[str | None] = frozenset()) -> Exception:
    """Unavailable, unless the request itself is at fault: then that is our bug, and is seen as one."""
    code = error.response["Error"]["Code"]
    if {code, *reasons} & {"ValidationException", "ValidationError", "ItemCollectionSizeLimitExceeded"}:
        return error
    return Unavailable(f"the table refuses for now ({code})")
