"""The table: reads, conditional writes and transactions, with this project's errors in place of botocore's."""

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from jobchain.aws.attributes import Item, from_item, to_attribute, to_item
from jobchain.aws.refusals import unavailable
from jobchain.aws.writes import Write, new_token
from jobchain.errors import Unavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

R = TypeVar("R")

_TABLE = "the table"

_INVALID = {"ValidationException", "ValidationError", "ItemCollectionSizeLimitExceeded"}

_CONDITION_FAILED = "ConditionalCheckFailed"

# DynamoDB refuses a transaction at once where another one writes the same item; that rarely happens twice.
_CONFLICT_PAUSES_SECONDS = (0.05, 0.1, 0.2, 0.4, 0.8)

# The most writes of one request: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html
_MAX_BATCH = 25


class ConditionFailed(Exception):
    """A conditional write found another state; `item` is what it found, None where no item exists."""

    def __init__(self, item: Item | None) -> None:
        super().__init__("condition failed")
        self.item = item


@dataclass(frozen=True, slots=True)
class FailedCondition:
    """A write of a canceled transaction whose condition failed, and the item that it found: empty where none exists."""

    write: Write
    item: Item


class TransactionCanceled(Exception):
    """The conditions of some of a transaction's writes failed, so that none of its writes was made."""

    def __init__(self, failed: Sequence[FailedCondition]) -> None:
        super().__init__("transaction canceled")
        self.failed = tuple(failed)

    def found(self, write: Write) -> Item | None:
        """The item on which the condition of `write` failed, empty where none exists; None where it did not fail."""
        return next((failure.item for failure in self.failed if failure.write is write), None)


class _ConflictError(Unavailable):
    """A write conflicted with a transaction on the same item."""


class Table:
    """One DynamoDB table. Every method raises Unavailable where it does not answer or refuses; see `refusals`."""

    def __init__(self, client: "DynamoDBClient", name: str) -> None:
        self._client = client
        self._name = name

    # --- reading ---------------------------------------------------------------------------------

    def get(self, key: Item, attributes: Sequence[str] = ()) -> Item | None:
        """The current item, by a consistent read, or only these of its attributes."""
        only: Any = {}
        if attributes:
            names = {f"#{name}": name for name in attributes}
            only = {"ProjectionExpression": ", ".join(names), "ExpressionAttributeNames": names}
        with _answering():
            answer = self._client.get_item(TableName=self._name, Key=to_item(key), ConsistentRead=True, **only)
        return from_item(answer["Item"]) if "Item" in answer else None

    def query(self, pk: str, first: str, last: str) -> list[Item]:
        """The items of `pk` from sort key `first` to `last`, in order, by a consistent read."""
        return [item for page in self.query_pages(pk, first, last) for item in page]

    def query_pages(self, pk: str, first: str, last: str, *, consistent: bool = True) -> Iterator[list[Item]]:
        """The same in parts of 1 MB; as of a moment ago unless `consistent`."""
        pages = self._pages(
            self._client.query,
            ConsistentRead=consistent,
            KeyConditionExpression="pk = :pk AND sk BETWEEN :first AND :last",
            ExpressionAttributeValues=to_item({":pk": pk, ":first": first, ":last": last}),
        )
        return ([from_item(item) for item in page["Items"]] for page in pages)

    def index_pages(
        self, index: str, condition: str, values: Item, page_size: int, **options: Any
    ) -> Iterator[tuple[list[Item], Item | None]]:
        """Pages of an index, of the table itself if it is empty, as of a moment ago; `options` are those of Query.

        Each comes with the key of the last item that was read, None on the last page.
        """
        pages = self._pages(
            self._client.query,
            KeyConditionExpression=condition,
            ExpressionAttributeValues=to_item(values),
            Limit=page_size,
            **{**options, **({"IndexName": index} if index else {})},
        )
        for page in pages:
            last = page.get("LastEvaluatedKey")
            yield [from_item(item) for item in page["Items"]], from_item(last) if last else None

    def scan_index(self, index: str, condition: str, values: Item, **options: Any) -> Iterator[list[Item]]:
        """What passes the filter `condition` of a whole index, in parts; `options` are those of DynamoDB's Scan."""
        values = to_item(values)
        pages = self._pages(
            self._client.scan, IndexName=index, FilterExpression=condition, ExpressionAttributeValues=values, **options
        )
        return ([from_item(item) for item in page["Items"]] for page in pages)

    def count_index(
        self, index: str, condition: str, values: Item, most: int, **options: Any
    ) -> Iterator[tuple[int, int]]:
        """The same without the items: of each page, how many passed the filter of `options`, and how many were read."""
        pages = self._pages(
            self._client.query,
            IndexName=index,
            Select="COUNT",
            KeyConditionExpression=condition,
            ExpressionAttributeValues=to_item(values),
            Limit=most,
            **options,
        )
        for page in pages:
            yield page["Count"], page["ScannedCount"]

    def _pages(self, read: Callable[..., Any], **parameters: Any) -> Iterator[Mapping[str, Any]]:
        """The answers to a query or a scan, which DynamoDB gives in parts."""
        while parameters:
            with _answering():
                page = read(TableName=self._name, **parameters)
            yield page
            last = page.get("LastEvaluatedKey")
            parameters = {**parameters, "ExclusiveStartKey": last} if last else {}

    def get_many(self, keys: Sequence[Item], *, consistent: bool = True) -> list[Item]:
        """The items of up to 100 keys that exist, in any order, by consistent reads unless the caller needs none."""
        found: list[Item] = []
        wanted: Any = {self._name: {"Keys": [to_item(key) for key in keys], "ConsistentRead": consistent}}
        for pause in _CONFLICT_PAUSES_SECONDS:
            with _answering():
                answer = self._client.batch_get_item(RequestItems=wanted)
            found += [from_item(item) for item in answer["Responses"].get(self._name, [])]
            if not (wanted := answer.get("UnprocessedKeys")):
                return found
            time.sleep(pause)
        raise Unavailable("the table returned only a part of the items")

    # --- writing ---------------------------------------------------------------------------------

    def write(self, update: Write) -> Item:
        """Makes an update, and gives the item as it is then. Raises ConditionFailed."""
        try:
            return _past_conflicts(lambda: self._update_item(update))
        except ConditionFailed as failed:
            # The answer to the first try was lost, and the SDK's second try found the first one's write.
            if failed.item and _is_own(update, failed.item):
                return failed.item
            raise

    def _update_item(self, update: Write) -> Item:
        parameters: Any = {"TableName": self._name, **update.parameters}
        with _answering():
            return from_item(self._client.update_item(**parameters, ReturnValues="ALL_NEW")["Attributes"])

    def put_many(self, items: Sequence[Item]) -> None:
        """Writes whole items in no transaction: after an error some of them may be stored."""
        for start in range(0, len(items), _MAX_BATCH):
            self._write_batch([{"PutRequest": {"Item": to_item(item)}} for item in items[start : start + _MAX_BATCH]])

    def _write_batch(self, requests: Sequence[Any]) -> None:
        wanted: Any = {self._name: requests}
        for pause in _CONFLICT_PAUSES_SECONDS:
            with _answering():
                wanted = self._client.batch_write_item(RequestItems=wanted).get("UnprocessedItems")
            if not wanted:
                return
            time.sleep(pause)
        raise Unavailable("the table made only a part of the writes")

    def put(self, item: Item) -> None:
        """Writes a whole item, over an older one too."""
        with _answering():
            self._client.put_item(TableName=self._name, Item=to_item(item))

    def put_unless_newer(self, item: Item, attribute: str) -> None:
        """Writes a whole item, except over one whose `attribute` is higher."""
        with suppress(ConditionFailed), _answering():
            self._client.put_item(
                TableName=self._name,
                Item=to_item(item),
                ConditionExpression="attribute_not_exists(pk) OR #a <= :own",
                ExpressionAttributeNames={"#a": attribute},
                ExpressionAttributeValues=to_item({":own": item[attribute]}),
            )

    def delete_many(self, keys: Sequence[Item]) -> None:
        """Deletes items in no transaction: after an error some of them may be left."""
        for start in range(0, len(keys), _MAX_BATCH):
            self._write_batch([{"DeleteRequest": {"Key": to_item(key)}} for key in keys[start : start + _MAX_BATCH]])

    def transact(self, writes: Callable[[], Sequence[Write]]) -> None:
        """Makes all of `writes` or none; each try asks for them again. Raises TransactionCanceled.

        A transaction whose answer was lost may be repeated with the same conditional writes: they recognize their
        results.
        """
        _past_conflicts(lambda: self._transact_once(writes()))

    def transact_if_calm(self, writes: Sequence[Write]) -> bool:
        """Makes all of `writes` or none; whether it did. It does not where a condition fails, or another writes too."""
        try:
            self._transact_once(writes)
        except (_ConflictError, TransactionCanceled):
            return False
        return True

    def _transact_once(self, writes: Sequence[Write]) -> None:
        items: Any = [{write.kind: {"TableName": self._name, **write.parameters}} for write in writes]
        try:
            # By the token, a client's own retries cannot conflict with their own write.
            self._client.transact_write_items(TransactItems=items, ClientRequestToken=new_token())
        except BotoCoreError as error:
            raise unavailable(_TABLE, "does not answer", error) from error
        except ClientError as error:
            reasons: Any = error.response.get("CancellationReasons", [])
            codes = {reason.get("Code") for reason in reasons}
            if _CONDITION_FAILED in codes:
                failed = _failed_conditions(writes, reasons)
                # The answer to an earlier try was lost: all of the transaction was written then.
                if any(_is_own(failure.write, failure.item) for failure in failed):
                    return
                raise TransactionCanceled(failed) from error
            if "TransactionConflict" in codes:
                raise _ConflictError("the table is busy with the same items") from error
            raise _refusal(error, codes) from error


def _is_own(write: Write, found: Item) -> bool:
    """Whether an item that failed the condition of `write` was written by it."""
    return write.token is not None and to_attribute(found.get("token")) == write.token


def _failed_conditions(writes: Sequence[Write], reasons: Sequence[Mapping[str, Any]]) -> list[FailedCondition]:
    """Those of `writes` whose conditions failed; DynamoDB gives one reason for each write, in their order."""
    return [
        FailedCondition(write, from_item(reason.get("Item", {})))
        for write, reason in zip(writes, reasons, strict=False)
        if reason.get("Code") == _CONDITION_FAILED
    ]


def _past_conflicts(write: Callable[[], R]) -> R:
    """What `write` gives, tried again for a second where it conflicts with a transaction."""
    for pause in _CONFLICT_PAUSES_SECONDS:
        try:
            return write()
        except _ConflictError:
            # Writers that conflict once would conflict again if all of them waited equally long.
            time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311  # no secret
    return write()


@contextmanager
def _answering() -> Iterator[None]:
    """Turns botocore's errors into this project's."""
    try:
        yield
    except BotoCoreError as error:
        raise unavailable(_TABLE, "does not answer", error) from error
    except ClientError as error:
        if error.response["Error"]["Code"] == "TransactionConflictException":
            raise _ConflictError("the table is busy with the same items") from error
        if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
            found: Any = error.response.get("Item")
            raise ConditionFailed(from_item(found) if found else None) from error
        raise _refusal(error) from error


def _refusal(error: ClientError, reasons: Set[str | None] = frozenset()) -> Exception:
    """Why the table refuses, or the error itself where the request is invalid: that is a bug of this project."""
    if {error.response["Error"]["Code"], *reasons} & _INVALID:
        return error
    return unavailable(_TABLE, "refuses for now", error, reasons)
