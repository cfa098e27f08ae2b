"""`POST /jobs/batch`: many jobs in few calls, each by itself."""

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from aws_lambda_powertools import Logger

from jobchain.aws.queue import JobQueue
from jobchain.domain import Tier
from jobchain.errors import Unavailable
from jobchain_api.app import MAX_BODY_CHARACTERS
from jobchain_api.auth import Caller
from jobchain_api.requests import MAX_BATCH
from jobchain_api.service import JobService
from tests.conftest import Items, Messages, make_service
from tests.fakes import FakeClock, silence
from tests.gateway import Api
from tests.stores import Stores

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sqs import SQSClient


@pytest.fixture
def api(service: JobService, logger: Logger) -> Api:
    return Api(service, logger)


def entry(number: int, **more: object) -> dict[str, object]:
    return {"input_text": f"Rule {number} holds.", **more}


def post(api: Api, *entries: object, headers: dict[str, str] | None = None) -> list[dict[str, Any]]:
    """The results of a batch."""
    answer = api("POST", "/jobs/batch", {"jobs": list(entries)}, headers)
    assert answer.status == 200, answer.body
    results: list[dict[str, Any]] = answer.body["results"]
    return results


class Calls:
    """Counts what a client is asked to do."""

    def __init__(self, *clients: Any) -> None:
        self.made = Counter[str]()
        for client in clients:
            client.meta.events.register("before-call", self._count)

    def _count(self, model: Any, **_: object) -> None:
        self.made[model.name] += 1


def test_a_hundred_jobs_take_a_handful_of_calls(
    api: Api, dynamodb: "DynamoDBClient", sqs: "SQSClient", messages: Messages
) -> None:
    calls = Calls(dynamodb, sqs)

    results = post(api, *(entry(number) for number in range(MAX_BATCH)))

    assert calls.made == {"BatchWriteItem": 5, "TransactWriteItems": 2, "SendMessageBatch": 10}
    ids = [result["event_id"] for result in results]
    assert len(set(ids)) == MAX_BATCH
    assert messages.count() == MAX_BATCH


def test_results_stand_in_the_order_of_the_entries(api: Api) -> None:
    results = post(api, *(entry(number, metadata={"number": str(number)}) for number in range(10)))

    numbers = [api("GET", f"/jobs/{result['event_id']}").body["metadata"]["number"] for result in results]
    assert numbers == [str(number) for number in range(10)]


def test_one_that_does_not_fit_harms_no_other(api: Api, items: Items, messages: Messages) -> None:
    results = post(
        api,
        entry(1),
        {"input_text": "  "},
        {"job_name": "nothing", "payload": {}},
        "no object",
        {"job_name": "guideline_checklist", "payload": {"guidelines": "\N{PILE OF POO}" * 99_999}},
        entry(2, idempotency_key="white space"),
        entry(3),
    )

    assert [result.get("event_id") is not None for result in results] == [True, *[False] * 5, True]
    assert [result["status"] for result in results] == ["pending", 422, 422, 422, 413, 422, "pending"]
    assert [list(result.get("errors", {})) for result in results[1:6]] == [
        ["input_text"],
        ["job_name"],
        ["body"],
        [],
        ["idempotency_key"],
    ]
    assert all(result["type"].startswith("urn:jobchain:problem:") for result in results[1:6])
    assert len(items.due()) == messages.count() == 2


def test_texts_that_fill_more_than_one_transaction_are_all_stored(api: Api, items: Items) -> None:
    text = "\N{CJK UNIFIED IDEOGRAPH-4E00}" * 80_000  # 240,000 bytes each, 4.8 MB in all

    results = post(api, *(entry(0, input_text=text) for _ in range(20)))

    assert all(result["status"] == "pending" for result in results)
    assert len(items.due()) == 20


class TestItsKeys:
    def test_make_the_batch_safe_to_repeat(self, api: Api, items: Items, messages: Messages) -> None:
        entries = [entry(number, idempotency_key=f"key-{number}") for number in range(30)]
        first = post(api, *entries)

        second = post(api, *entries)

        assert [result["event_id"] for result in second] == [result["event_id"] for result in first]
        assert not any(result["replayed"] for result in first)
        assert all(result["replayed"] for result in second)
        assert len(items.due()) == messages.count() == 30

    def test_may_stand_for_jobs_that_are_there_among_others_that_are_not(self, api: Api, items: Items) -> None:
        old = post(api, *(entry(number, idempotency_key=f"key-{number}") for number in range(0, 10, 2)))

        results = post(api, *(entry(number, idempotency_key=f"key-{number}") for number in range(10)))

        assert [result["replayed"] for result in results] == [number % 2 == 0 for number in range(10)]
        assert [result["event_id"] for result in results[::2]] == [result["event_id"] for result in old]
        assert len(items.due()) == 10

    def test_are_those_of_single_jobs(self, api: Api) -> None:
        single = api("POST", "/jobs", entry(1), {"Idempotency-Key": "key-1"})

        (result,) = post(api, entry(1, idempotency_key="key-1"))

        assert (result["event_id"], result["replayed"]) == (single.body["event_id"], True)

    def test_can_come_twice_in_a_batch(self, api: Api, items: Items, messages: Messages) -> None:
        results = post(
            api,
            entry(1, idempotency_key="key"),
            entry(1, idempotency_key="key"),
            entry(2, idempotency_key="key"),
        )

        assert [result.get("replayed") for result in results] == [False, True, None]
        assert results[0]["event_id"] == results[1]["event_id"]
        assert results[2]["type"] == "urn:jobchain:problem:idempotency-conflict"
        assert len(items.due()) == messages.count() == 1

    def test_come_from_the_batchs_own_where_entries_have_none(self, api: Api, items: Items) -> None:
        headers = {"Idempotency-Key": "batch-1"}
        first = post(api, entry(1), entry(1), entry(2, idempotency_key="own"), headers=headers)

        second = post(api, entry(1), entry(1), entry(2, idempotency_key="own"), headers=headers)

        assert [result["event_id"] for result in second] == [result["event_id"] for result in first]
        assert len({result["event_id"] for result in first}) == 3
        assert len(items.due()) == 3


@pytest.mark.parametrize(
    ("body", "status", "names"),
    [
        ({"jobs": []}, 422, "jobs"),
        ({"jobs": [entry(1)] * (MAX_BATCH + 1)}, 422, "jobs"),
        ({"jobs": "many"}, 422, "jobs"),
        ({}, 422, "jobs"),
        ({"jobs": [entry(1)], "more": 1}, 422, "more"),
        ([entry(1)], 422, "body"),
        ("x" * (MAX_BODY_CHARACTERS + 1), 413, ""),
        ("[", 400, ""),
    ],
    ids=lambda value: "" if isinstance(value, dict | list) or len(str(value)) > 50 else str(value),
)
def test_a_batch_that_is_none_is_refused_as_a_whole(
    api: Api, items: Items, body: object, status: int, names: str
) -> None:
    answer = api("POST", "/jobs/batch", body)

    assert answer.status == status
    assert names in answer.body["detail"]
    assert items.all() == []


class TestWhenTheQueueIsDown:
    def test_jobs_are_accepted_and_due_at_once(
        self, api: Api, sqs: "SQSClient", queue_url: str, clock: FakeClock, items: Items
    ) -> None:
        sqs.delete_queue(QueueUrl=queue_url)

        results = post(api, *(entry(number) for number in range(25)))

        assert all(result["status"] == "pending" for result in results)
        due = [int(item["due_at"]["N"]) for item in items.due()]
        assert due == [int(clock().timestamp())] * 25

    def test_it_is_not_asked_again_for_each_ten(self, stores: Stores, logger: Logger) -> None:
        queue = DeadQueue()

        post(Api(make_service(stores, queue, logger), logger), *(entry(number) for number in range(25)))

        assert queue.asked == 1


class DeadQueue(JobQueue):
    """Takes nothing."""

    def __init__(self) -> None:
        self.asked = 0

    def send_batch(self, jobs: Any, tier: Tier = Tier.STANDARD) -> list[str]:
        self.asked += 1
        return [event_id for event_id, _ in jobs]


def test_a_table_that_is_down_refuses_each_entry_and_leaves_nothing(
    service: JobService, dynamodb: "DynamoDBClient", messages: Messages
) -> None:
    silence(dynamodb)

    outcomes = service.submit_batch(Caller("local"), [json.loads(json.dumps(entry(1)))] * 3, None)

    assert [type(outcome).__name__ for outcome in outcomes] == ["Unavailable"] * 3
    assert messages.count() == 0


def test_a_table_that_falls_silent_is_not_waited_for_part_after_part(
    stores: Stores, queue: JobQueue, logger: Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def silent(_writes: object) -> None:
        asked.append(1)
        raise Unavailable("the table does not answer")

    monkeypatch.setattr(stores.admission._table, "transact", silent)

    results = post(Api(make_service(stores, queue, logger), logger), *(entry(number) for number in range(100)))

    assert {result["status"] for result in results} == {503}
    assert len(asked) == 1
