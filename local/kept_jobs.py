"""The jobs of `make dev`, kept in a file from its stop to its next start.

It is the table alone, with all that is in it: jobs and their outputs, usage records, API keys. Messages are not kept:
unfinished jobs get new ones.
"""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from jobchain.aws.due import DueStore
from jobchain.domain import utc_now
from jobchain.errors import Unavailable
from local.errors import LocalError
from local.private import write_private

Item = dict[str, Any]

_FORMAT = 1
_MAX_WRITE = 25
"""The most items of a write.
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html"""


# What a deployment writes about itself, and is of no use to another.
_OF_THE_DEPLOYMENT = ("SWEEP", "MODEL", "TENANT##health")


class TableOwner(Protocol):
    """A stack that runs: its table, its sweeper, and clients for them."""

    @property
    def table(self) -> str: ...

    @property
    def sweeper(self) -> str: ...

    def client(self, service: str) -> Any: ...


class NotKept(LocalError):
    """The jobs can't be saved or put back; says why, and what became of them."""


class KeptJobs:
    """The file. Only its user can read it."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "jobs.jsonl"

    def save(self, stack: TableOwner) -> int:
        """Writes the whole table to the file; gives the number of jobs. Raises NotKept, and the file is as before."""
        try:
            jobs, lines = 0, [json.dumps({"format": _FORMAT, "key": _key(stack)})]
            for item in _items(stack):
                jobs += _is_job(item)
                lines.append(json.dumps(item, default=_encoded, ensure_ascii=False))
            if len(lines) == 1:
                self.file.unlink(missing_ok=True)
                return 0
            unfinished = self.file.with_suffix(".tmp")
            write_private(unfinished, "\n".join([*lines, ""]))
            unfinished.replace(self.file)
        except (OSError, BotoCoreError, ClientError) as error:
            raise NotKept(f"the jobs of this run are not kept: {error}") from error
        return jobs

    def restore(self, stack: TableOwner) -> int:
        """Puts the file's items into the stack's empty table, and sends unfinished jobs; gives the number of jobs.

        Without a file that is none. Raises NotKept for one that can't be used, which is moved out of the way.
        """
        if not self.file.is_file():
            return 0
        try:
            items = list(self._read(stack))
            for start in range(0, len(items), _MAX_WRITE):
                _write(stack, items[start : start + _MAX_WRITE])
            _make_due([item for item in items if _is_job(item) and "due_at" in item], stack)
        except (OSError, ValueError, BotoCoreError, ClientError, Unavailable) as error:
            aside = self.file.with_suffix(".unusable")
            self.file.replace(aside)
            raise NotKept(f"the jobs of the last run can't be put back: {error}. They are in {aside}") from error
        return sum(map(_is_job, items))

    def _read(self, stack: TableOwner) -> Iterator[Item]:
        with self.file.open(encoding="utf-8") as lines:
            head = json.loads(next(lines, "null"))
            if head != {"format": _FORMAT, "key": _key(stack)}:
                raise ValueError("its format or the table's key is another one")
            for line in lines:
                yield json.loads(line, object_hook=_decoded)


def _is_job(item: Item) -> bool:
    return item["pk"]["S"].startswith("JOB#") and item.get("sk") == {"S": "META"}


def _key(stack: TableOwner) -> list[str]:
    table = stack.client("dynamodb").describe_table(TableName=stack.table)["Table"]
    return [part["AttributeName"] for part in table["KeySchema"]]


def _items(stack: TableOwner) -> Iterator[Item]:
    pages = stack.client("dynamodb").get_paginator("scan").paginate(TableName=stack.table, ConsistentRead=True)
    for page in pages:
        yield from (item for item in page["Items"] if item["pk"]["S"] not in _OF_THE_DEPLOYMENT)


def _write(stack: TableOwner, items: list[Item]) -> None:
    left = {stack.table: [{"PutRequest": {"Item": item}} for item in items]}
    while left:
        left = stack.client("dynamodb").batch_write_item(RequestItems=left).get("UnprocessedItems")


def _make_due(metas: list[Item], stack: TableOwner) -> None:
    """Has the sweeper send unfinished jobs at once; those of a worker that has ended go on when its lease does."""
    due = DueStore(stack.client("dynamodb"), stack.table, utc_now)
    for meta in metas:
        due.mark_due(meta["pk"]["S"].removeprefix("JOB#"), utc_now())
    if metas and stack.sweeper:
        stack.client("lambda").invoke(FunctionName=stack.sweeper, InvocationType="Event")


def _encoded(value: bytes) -> dict[str, str]:
    return {"base64": base64.b64encode(value).decode()}


def _decoded(found: dict[str, Any]) -> Any:
    """Bytes as they were: no item has a text there, as each value is with its type."""
    text = found.get("base64")
    return base64.b64decode(text) if len(found) == 1 and isinstance(text, str) else found
