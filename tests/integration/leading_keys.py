"""Teaches the emulator what version 1.5.33 does not know of AWS's authorization; its own process imports this.

The condition key `dynamodb:LeadingKeys`: a request has the partition keys of its items, and a query of an index the
index's. AWS does not say which keys the statement for a part of a transaction is checked with: `teach` takes either
reading. And a batch of messages needs `sqs:SendMessage`, as one message does:
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-api-permissions-reference.html
"""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any, Literal

from ministack.core import iam_actions, iam_evaluator

Reading = Literal["own", "all"]
"""The keys that each part of a transaction is checked with: its own, or those of all parts."""

CONDITION_KEY = "dynamodb:leadingkeys"
INDEX_KEYS = {"recent": "tenant", "unfinished": "tenant", "due": "due_shard"}

_context = iam_actions.dynamodb_service_context
_checks = iam_actions.dynamodb_transaction_checks
_action = iam_actions.extract_iam_action
_enforce = iam_evaluator.enforce
# Those of the transaction that is being looked at, part by part: nothing else runs meanwhile.
_parts: list[list[str]] = []


def _text(value: dict[str, Any]) -> str:
    (text,) = value.values()
    return str(text)


def _keys(request: dict[str, Any]) -> Iterator[str]:
    if "KeyConditionExpression" in request:
        attribute = INDEX_KEYS.get(request.get("IndexName", ""), "pk")
        name = request["KeyConditionExpression"].split(f"{attribute} = ")[1].split()[0]
        yield _text(request["ExpressionAttributeValues"][name])
    for named in ("Key", "Item"):
        if named in request:
            yield _text(request[named]["pk"])
    for table in request.get("RequestItems", {}).values():
        yield from (_text(key["pk"]) for key in (table["Keys"] if "Keys" in table else map(_written, table)))


def _written(request: dict[str, Any]) -> Any:
    """The key of one write of a BatchWriteItem."""
    return request["PutRequest"]["Item"] if "PutRequest" in request else request["DeleteRequest"]["Key"]


def _with_keys(body: bytes) -> dict[str, Any]:
    keys = list(_keys(json.loads(body)))
    return {**_context(body), **({CONDITION_KEY: keys} if keys else {})}


def _with_parts(reading: Reading, iam_action: str, body: bytes, *where: str) -> Any:
    found = _checks(iam_action, body, *where)
    if found:
        parts = [list(_keys(write)) for part in json.loads(body)["TransactItems"] for write in part.values()]
        every = sorted({key for part in parts for key in part})
        _parts[:] = parts if reading == "own" else [every] * len(parts)
    return found


def _by_part(*arguments: Any, service_context: Any = None, **options: Any) -> Any:
    if "dynamodb:EnclosingOperation" in (service_context or {}):
        service_context = {**service_context, CONDITION_KEY: _parts.pop(0)}
    return _enforce(*arguments, service_context=service_context, **options)


def _without_batches(*arguments: Any) -> Any:
    found = _action(*arguments)
    return found.removesuffix("Batch") if found and found.startswith("sqs:") else found


def teach(reading: Reading) -> None:
    """Has the emulator of this process check every call with its keys, and transactions by this reading."""
    iam_actions.extract_iam_action = _without_batches
    iam_actions.dynamodb_service_context = _with_keys
    iam_actions.dynamodb_transaction_checks = partial(_with_parts, reading)
    iam_evaluator.enforce = _by_part
