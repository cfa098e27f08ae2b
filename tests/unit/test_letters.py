"""Dead letters as an operator lists and drops them, on moto's queues and table."""

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

from jobchain_cli.errors import CommandError
from jobchain_cli.letters import MALFORMED, NO_JOB, Letter, as_json, chosen, drop, put_back, read, rows
from jobchain_cli.stack import Stack
from tests.conftest import TABLE
from tests.deployment import Deployment

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sqs import SQSClient

UNKNOWN = "3f0e1c7a-5d2b-4a7e-9c61-0b8f2d4e6a19"


class OnMoto:
    """A stack of moto's table and two queues of dead letters, beside one that is none."""

    name = "prod"
    table = TABLE

    def __init__(self, dynamodb: "DynamoDBClient", sqs: "SQSClient", queues: dict[str, str]) -> None:
        self._clients: dict[str, Any] = {"dynamodb": dynamodb, "sqs": sqs}
        self._queues = queues

    def client(self, service: str) -> Any:
        return self._clients[service]

    def resources(self, kind: str) -> dict[str, str]:
        assert kind == "AWS::SQS::Queue"
        return self._queues


@pytest.fixture
def letter_urls(sqs: "SQSClient") -> list[str]:
    return [sqs.create_queue(QueueName=name)["QueueUrl"] for name in ("letters", "other-letters")]


@pytest.fixture
def stack(dynamodb: "DynamoDBClient", sqs: "SQSClient", queue_url: str, letter_urls: list[str]) -> Stack:
    queues = {"DeadLetterQueue": letter_urls[0], "BatchDeadLetterQueue": letter_urls[1], "JobQueue": queue_url}
    return cast(Stack, OnMoto(dynamodb, sqs, queues))


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # moto waits for the whole time that a long poll may take.
    monkeypatch.setattr("jobchain_cli.letters._WAIT_SECONDS", 0)


def put(sqs: "SQSClient", url: str, body: Any) -> None:
    sqs.send_message(QueueUrl=url, MessageBody=body if isinstance(body, str) else json.dumps(body))


def test_letters_of_all_queues_have_the_status_of_their_job(
    stack: Stack, sqs: "SQSClient", letter_urls: list[str], deployment: Deployment
) -> None:
    ended, waiting = deployment.create(1), deployment.create(2)
    deployment.run(event_id=ended)
    put(sqs, letter_urls[0], {"event_id": ended})
    put(sqs, letter_urls[1], {"event_id": waiting})
    put(sqs, letter_urls[1], {"event_id": UNKNOWN})

    found = {letter.event_id: letter.status for letter in read(stack, 100)}

    assert found == {ended: "completed", waiting: "pending", UNKNOWN: NO_JOB}


@pytest.mark.parametrize(
    "body", ["hello", "{}", "[]", '{"event_id": 5}', '{"event_id": "x"}', '{"event_id": null}', "[" * 5000]
)
def test_a_letter_that_names_no_job_is_malformed(
    stack: Stack, sqs: "SQSClient", letter_urls: list[str], body: str
) -> None:
    put(sqs, letter_urls[0], body)

    (letter,) = read(stack, 100)

    assert (letter.event_id, letter.status, letter.name) == (None, MALFORMED, letter.message_id)


def test_letters_are_read_once_and_stay_if_they_are_put_back(
    stack: Stack, sqs: "SQSClient", letter_urls: list[str]
) -> None:
    for _ in range(25):
        put(sqs, letter_urls[0], {"event_id": UNKNOWN})

    found = read(stack, 100)

    assert len(found) == 25
    assert read(stack, 100) == []
    put_back(stack, found)
    assert len(read(stack, 15)) == 15


def test_dropped_letters_are_gone_and_others_stay(stack: Stack, sqs: "SQSClient", letter_urls: list[str]) -> None:
    put(sqs, letter_urls[0], {"event_id": UNKNOWN})
    put(sqs, letter_urls[1], "hello")
    found = read(stack, 100)

    assert drop(stack, chosen(found, [UNKNOWN])) == 1

    put_back(stack, [letter for letter in found if letter.event_id is None])
    assert [letter.status for letter in read(stack, 100)] == [MALFORMED]


def test_a_name_that_no_letter_has_is_told(stack: Stack) -> None:
    with pytest.raises(CommandError, match=f"no dead letter is named {UNKNOWN}: `jobchain letters list` shows"):
        chosen([], [UNKNOWN])


def test_a_stack_without_such_a_queue_is_told(dynamodb: "DynamoDBClient", sqs: "SQSClient") -> None:
    with pytest.raises(CommandError, match="the stack prod has no queue of dead letters"):
        read(cast(Stack, OnMoto(dynamodb, sqs, {"JobQueue": "u"})), 1)


@pytest.mark.parametrize(
    ("age", "shown"),
    [
        (timedelta(minutes=119), "119 min"),
        (timedelta(hours=2), "2 h"),
        (timedelta(hours=47), "47 h"),
        (timedelta(days=2), "2 d"),
    ],
)
def test_a_letter_is_a_row_and_json(age: timedelta, shown: str) -> None:
    now = datetime(2026, 11, 22, 10, tzinfo=UTC)
    letter = Letter("u", "r", "m-1", UNKNOWN, "failed", "model_failed", now - age, 6)

    assert list(rows([letter], now))[1:] == [(UNKNOWN, "failed", "model_failed", shown, "6")]
    assert json.loads(json.dumps(as_json(letter)))["receives"] == 6
