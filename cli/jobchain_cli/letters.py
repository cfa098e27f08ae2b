"""The dead letters of a stack: which jobs they are of, and how to remove some."""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jobchain.aws.items import job_key
from jobchain.aws.table import Table
from jobchain.domain import EVENT_ID
from jobchain_cli.errors import CommandError
from jobchain_cli.stack import Stack

_KIND = "AWS::SQS::Queue"
_EVENT_ID = re.compile(EVENT_ID)
_BATCH = 10
# Longer than reading all letters and one batch of deletions takes.
_HIDDEN_SECONDS = 120
# A queue of few messages answers from some of its servers only, so that one empty answer does not mean an empty queue.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-short-and-long-polling.html
_WAIT_SECONDS = 1
_MAX_READ = 100

NO_JOB, MALFORMED = "no job", "malformed"
"""The statuses of a letter whose job does not exist, and of one that names no job."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter. `status` is its job's, `NO_JOB` or `MALFORMED`; `event_id` is None if it is malformed."""

    queue_url: str
    receipt: str
    message_id: str
    event_id: str | None
    status: str
    error: str | None
    sent_at: datetime
    receives: int

    @property
    def name(self) -> str:
        """What it is called by when it is dropped: the id of its job, else its own."""
        return self.event_id or self.message_id


def queues(stack: Stack) -> list[str]:
    """The URLs of the stack's queues of dead letters. Raises CommandError, ClientError, BotoCoreError."""
    found = [url for name, url in sorted(stack.resources(_KIND).items()) if "DeadLetter" in name]
    if not found:
        raise CommandError(f"the stack {stack.name} has no queue of dead letters: name another one with --stack")
    return found


def read(stack: Stack, most: int) -> list[Letter]:
    """Up to `most` dead letters, with their jobs' statuses; no other receiver gets them for two minutes.

    Give them to `put_back` when they are to stay. Raises CommandError, ClientError, BotoCoreError, Unavailable.
    """
    client = stack.client("sqs")
    found = [letter for url in queues(stack) for letter in _received(client, url, most)][:most]
    metas = _metas(Table(stack.client("dynamodb"), stack.table), found)
    return [_letter(url, message, metas) for url, message in found]


def _received(client: Any, url: str, most: int) -> Iterator[tuple[str, Any]]:
    seen = 0
    while seen < most:
        messages = client.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=min(_BATCH, most - seen),
            VisibilityTimeout=_HIDDEN_SECONDS,
            WaitTimeSeconds=_WAIT_SECONDS,
            MessageSystemAttributeNames=["SentTimestamp", "ApproximateReceiveCount"],
        ).get("Messages", [])
        if not messages:
            return
        seen += len(messages)
        yield from ((url, message) for message in messages)


def _event_id(message: Any) -> str | None:
    try:
        found = json.loads(message["Body"])["event_id"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return found if isinstance(found, str) and _EVENT_ID.fullmatch(found) else None


def _metas(table: Table, found: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """META of the letters' jobs, by event_id."""
    ids = sorted({event_id for _, message in found if (event_id := _event_id(message))})
    metas = {}
    for start in range(0, len(ids), _MAX_READ):
        for meta in table.get_many([job_key(event_id) for event_id in ids[start : start + _MAX_READ]]):
            metas[meta["pk"].removeprefix("JOB#")] = meta
    return metas


def _letter(url: str, message: Any, metas: dict[str, Any]) -> Letter:
    event_id, attributes = _event_id(message), message["Attributes"]
    meta = metas.get(event_id) if event_id else None
    return Letter(
        queue_url=url,
        receipt=message["ReceiptHandle"],
        message_id=message["MessageId"],
        event_id=event_id,
        status=meta["status"] if meta else NO_JOB if event_id else MALFORMED,
        error=(meta or {}).get("error", {}).get("type"),
        sent_at=datetime.fromtimestamp(int(attributes["SentTimestamp"]) / 1000, UTC),
        receives=int(attributes["ApproximateReceiveCount"]),
    )


def put_back(stack: Stack, letters: Iterable[Letter]) -> None:
    """Makes letters that were read visible again. Raises ClientError, BotoCoreError."""
    for url, entries in _by_queue(letters):
        stack.client("sqs").change_message_visibility_batch(
            QueueUrl=url, Entries=[{**entry, "VisibilityTimeout": 0} for entry in entries]
        )


def drop(stack: Stack, letters: Iterable[Letter]) -> int:
    """Deletes letters that were read, and gives how many are deleted. Raises ClientError, BotoCoreError."""
    client = stack.client("sqs")
    return sum(
        len(client.delete_message_batch(QueueUrl=url, Entries=entries).get("Successful", []))
        for url, entries in _by_queue(letters)
    )


def _by_queue(letters: Iterable[Letter]) -> Iterator[tuple[str, list[Any]]]:
    """The letters of each queue, as entries of a request, in parts that a request takes."""
    entries: dict[str, list[Any]] = {}
    for letter in letters:
        entries.setdefault(letter.queue_url, []).append(letter.receipt)
    for url, receipts in entries.items():
        for start in range(0, len(receipts), _BATCH):
            part = receipts[start : start + _BATCH]
            yield url, [{"Id": str(number), "ReceiptHandle": receipt} for number, receipt in enumerate(part)]


def chosen(letters: Sequence[Letter], names: Collection[str]) -> list[Letter]:
    """The letters with these names. Raises CommandError that names those which are not found."""
    known = {letter.name for letter in letters}
    if missing := [name for name in names if name not in known]:
        raise CommandError(f"no dead letter is named {', '.join(missing)}: `jobchain letters list` shows their names")
    return [letter for letter in letters if letter.name in names]


# --- in words --------------------------------------------------------------------------------------------------------


def rows(letters: Iterable[Letter], now: datetime) -> Iterator[tuple[str, ...]]:
    """The rows of a table of letters."""
    yield "EVENT ID", "JOB", "ERROR", "AGE", "RECEIVES"
    for letter in letters:
        name = letter.event_id or f"message {letter.message_id}"
        yield name, letter.status, letter.error or "-", _age(now - letter.sent_at), str(letter.receives)


def _age(age: Any) -> str:
    minutes = max(0, int(age.total_seconds() // 60))
    if minutes < 120:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h" if hours < 48 else f"{hours // 24} d"


def as_json(letter: Letter) -> dict[str, Any]:
    """A letter for machines."""
    return {
        "message_id": letter.message_id,
        "event_id": letter.event_id,
        "job": letter.status,
        "error": letter.error,
        "sent_at": letter.sent_at.isoformat(timespec="milliseconds"),
        "receives": letter.receives,
        "queue_url": letter.queue_url,
    }
