"""Deliveries through the API: listed, read, redelivered, and those of test events."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from aws_lambda_powertools import Logger

from benchmarks.capacity import Meter, indexes
from jobchain.aws.deliveries import DeliveryState, DeliveryStore, Result
from jobchain.aws.outbox import GRACE, DeliveryKey, partition
from jobchain.aws.queue import JobQueue
from jobchain.aws.table import Table
from jobchain.aws.tenant_deliveries import MOST_SEEN
from jobchain.aws.webhook_ids import new_webhook_id, time_of
from jobchain.aws.writes import epoch, key
from tests.conftest import TABLE
from tests.fakes import FakeClock
from tests.gateway import Answer
from tests.stores import Stores
from tests.unit.test_webhook_api import Apis, create

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

MINUTE = timedelta(minutes=1)


class Sent:
    """The deliveries of tenant `a`, which has one endpoint."""

    def __init__(self, apis: Apis, stores: Stores, client: "DynamoDBClient", clock: FakeClock) -> None:
        self.api = apis.of("a")
        self.endpoint: str = create(self.api).body["endpoint_id"]
        self.announced = stores.announced
        self.clock = clock
        self.table = Table(client, TABLE)
        self._store = DeliveryStore(client, TABLE, clock)
        clock.advance(MINUTE)

    def end_job(self) -> str:
        """Ends a job; gives the id of its delivery."""
        self.clock.advance(timedelta(seconds=1))
        job = self.api("POST", "/jobs", {"input_text": "Encrypt backups."}).body["event_id"]
        self.api("POST", f"/jobs/{job}/cancel")
        return str(self.announced[-1].sk.rpartition("#")[2])

    def key(self, webhook_id: str) -> DeliveryKey:
        return next(key for key in self.announced if key.sk.endswith(webhook_id))

    def end(self, webhook_id: str, state: DeliveryState, result: Result) -> None:
        """What the delivery function stores."""
        dispatch = self._store.read(self.key(webhook_id))
        assert dispatch
        end = self._store.delivered if state is DeliveryState.DELIVERED else self._store.give_up
        end(dispatch.delivery, result)

    def put_off(self, webhook_id: str, result: Result) -> None:
        dispatch = self._store.read(self.key(webhook_id))
        assert dispatch
        self._store.put_off(dispatch.delivery, result, timedelta(hours=2))

    def item(self, webhook_id: str) -> dict[str, Any]:
        return self.table.get(self.key(webhook_id).item_key) or {}


@pytest.fixture
def apis(stores: Stores, queue: JobQueue, logger: Logger, dynamodb: "DynamoDBClient") -> Apis:
    return Apis(stores, queue, logger, dynamodb)


@pytest.fixture
def sent(apis: Apis, stores: Stores, dynamodb: "DynamoDBClient", clock: FakeClock) -> Sent:
    return Sent(apis, stores, dynamodb, clock)


def ids(answer: Answer) -> list[str]:
    assert answer.status == 200
    return [delivery["webhook_id"] for delivery in answer.body["deliveries"]]


def problem(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.body["type"].removeprefix("urn:jobchain:problem:")


class TestAList:
    def test_has_the_newest_first_with_what_became_of_them(self, sent: Sent) -> None:
        made, dead, waiting, new = (sent.end_job() for _ in range(4))
        sent.end(made, DeliveryState.DELIVERED, Result(204))
        sent.end(dead, DeliveryState.DEAD, Result(None, "there was no answer within 10 s"))
        sent.put_off(waiting, Result(503, "try later"))

        answer = sent.api("GET", "/deliveries")

        assert ids(answer) == [new, waiting, dead, made]
        assert answer.body["next_cursor"] is None
        told = [
            [delivery[name] for name in ("state", "tries", "last_status", "last_message")]
            for delivery in answer.body["deliveries"]
        ]
        assert told == [
            ["waiting", 0, None, None],
            ["waiting", 1, 503, "try later"],
            ["dead", 1, None, "there was no answer within 10 s"],
            ["delivered", 1, 204, None],
        ]
        assert [delivery["next_at"] is None for delivery in answer.body["deliveries"]] == [True, False, True, True]
        first = answer.body["deliveries"][0]
        assert (first["endpoint_id"], first["url"], first["type"]) == (sent.endpoint, None, "job.cancelled")
        assert "body" not in first

    def test_is_read_page_by_page(self, sent: Sent) -> None:
        expected = [sent.end_job() for _ in range(5)][::-1]
        seen: list[str] = []
        cursors: list[str | None] = [""]
        for _ in range(3):
            page = sent.api("GET", f"/deliveries?limit=2{f'&cursor={cursors[-1]}' if cursors[-1] else ''}")
            seen += ids(page)
            cursors.append(page.body["next_cursor"])

        assert seen == expected
        assert [bool(cursor) for cursor in cursors] == [False, True, True, False]

    @pytest.mark.parametrize(("state", "expected"), [("waiting", 2), ("delivered", 0), ("dead", 1)])
    def test_is_filtered_by_state(self, sent: Sent, state: str, expected: int) -> None:
        all_of_them = [sent.end_job(), sent.end_job(), sent.end_job()]
        sent.end(all_of_them[expected], DeliveryState.DELIVERED, Result(200))
        sent.end(all_of_them[(expected + 1) % 3], DeliveryState.DEAD, Result(500))
        left = {"delivered": expected, "dead": (expected + 1) % 3, "waiting": (expected + 2) % 3}

        assert ids(sent.api("GET", f"/deliveries?state={state}")) == [all_of_them[left[state]]]

    def test_is_filtered_by_endpoint(self, sent: Sent) -> None:
        other = create(sent.api).body["endpoint_id"]
        sent.end_job()
        tested = sent.api("POST", f"/webhooks/{other}/test").body["webhook_id"]

        listed = sent.api("GET", f"/deliveries?endpoint_id={other}")
        assert tested in ids(listed)
        assert {delivery["endpoint_id"] for delivery in listed.body["deliveries"]} == {other}
        assert tested not in ids(sent.api("GET", f"/deliveries?endpoint_id={sent.endpoint}&state=waiting"))

    def test_looks_for_a_page_in_a_bounded_number_of_deliveries(self, sent: Sent) -> None:
        oldest = sent.end_job()
        newest = sent.clock() + MINUTE
        items = []
        for number in range(MOST_SEEN + 10):
            at = newest + timedelta(milliseconds=number)
            sk = f"DELIVERY#{time_of(new_webhook_id(at))}#ep_other#{new_webhook_id(at)}"
            items.append({**sent.item(oldest), "sk": sk, "endpoint_id": "ep_other"})
            items[-1].pop("due_shard")
        sent.table.put_many(items)

        first = sent.api("GET", f"/deliveries?endpoint_id={sent.endpoint}")
        assert ids(first) == []
        second = sent.api("GET", f"/deliveries?endpoint_id={sent.endpoint}&cursor={first.body['next_cursor']}")
        assert (ids(second), second.body["next_cursor"]) == ([oldest], None)

    def test_that_the_caller_has_already_is_not_sent_again(self, sent: Sent) -> None:
        webhook_id = sent.end_job()
        for path in ("/deliveries", f"/deliveries/{webhook_id}"):
            known = {"If-None-Match": sent.api("GET", path).headers["ETag"]}

            assert sent.api("GET", path, headers=known).status == 304

    def test_has_none_of_another_tenant(self, sent: Sent, apis: Apis) -> None:
        sent.end_job()
        sent.end_job()
        cursor = sent.api("GET", "/deliveries?limit=1").body["next_cursor"]
        other = apis.of("b")

        assert ids(other("GET", "/deliveries")) == []
        assert problem(other("GET", f"/deliveries?limit=1&cursor={cursor}")) == (422, "invalid-request")

    @pytest.mark.parametrize(
        ("query", "where"),
        [
            ("state=done", "state"),
            ("limit=0", "limit"),
            ("limit=101", "limit"),
            ("limit=a", "limit"),
            ("endpoint_id=ep%00", "endpoint_id"),
            ("endpoint_id=", "endpoint_id"),
            (f"endpoint_id={'e' * 65}", "endpoint_id"),
            ("cursor=abc", "cursor"),
            ("states=dead", "states"),
            ("state=dead&state=waiting", "state"),
        ],
    )
    def test_with_a_wrong_parameter_is_refused(self, sent: Sent, query: str, where: str) -> None:
        answer = sent.api("GET", f"/deliveries?{query}")

        assert problem(answer) == (422, "invalid-request")
        assert where in answer.body["errors"]

    def test_with_the_cursor_of_another_filter_is_refused(self, sent: Sent) -> None:
        sent.end_job()
        sent.end_job()
        cursor = sent.api("GET", "/deliveries?limit=1").body["next_cursor"]

        assert problem(sent.api("GET", f"/deliveries?limit=1&state=waiting&cursor={cursor}"))[0] == 422
        assert problem(sent.api("GET", f"/jobs?cursor={cursor}"))[0] == 422


class TestADelivery:
    def test_is_read_with_its_event(self, sent: Sent) -> None:
        webhook_id = sent.end_job()
        sent.end_job()

        answer = sent.api("GET", f"/deliveries/{webhook_id}")

        assert answer.status == 200
        assert answer.body["body"]["type"] == answer.body["type"] == "job.cancelled"
        assert answer.body["body"]["data"]["event_id"] == answer.body["event_id"]
        listed = sent.api("GET", "/deliveries").body["deliveries"][1]
        assert {name: value for name, value in answer.body.items() if name != "body"} == listed

    def test_is_found_among_those_of_the_same_moment(self, sent: Sent) -> None:
        for _ in range(2):
            create(sent.api)
        sent.clock.advance(MINUTE)
        sent.end_job()

        newest = ids(sent.api("GET", "/deliveries"))
        assert len(newest) == 3
        assert [sent.api("GET", f"/deliveries/{one}").body["webhook_id"] for one in newest] == newest

    @pytest.mark.parametrize(
        "webhook_id",
        [
            "none",
            "evt_1",
            f"evt_{'f' * 32}",
            f"evt_{'0' * 32}",
            f"EVT_{'0' * 32}",
            f"evt_{'0' * 33}",
            f"evt_{'%D9%A0' * 32}",
            "jobs",
        ],
    )
    def test_of_no_known_id_is_not_found(self, sent: Sent, webhook_id: str) -> None:
        sent.end_job()
        for method, path in (("GET", ""), ("POST", "/redeliver")):
            answer = sent.api(method, f"/deliveries/{webhook_id}{path}")
            assert problem(answer) == (404, "delivery-not-found")
            assert "GET /deliveries" in answer.body["detail"]

    def test_of_another_tenant_is_not_found(self, sent: Sent, apis: Apis) -> None:
        webhook_id = sent.end_job()
        before = sent.item(webhook_id)

        for method, path in (("GET", ""), ("POST", "/redeliver")):
            assert problem(apis.of("b")(method, f"/deliveries/{webhook_id}{path}")) == (404, "delivery-not-found")
        assert sent.item(webhook_id) == before


class TestRedelivering:
    @pytest.mark.parametrize("state", [DeliveryState.DELIVERED, DeliveryState.DEAD])
    def test_gives_one_that_has_ended_all_tries_again(self, sent: Sent, state: DeliveryState) -> None:
        webhook_id = sent.end_job()
        sent.end(webhook_id, state, Result(500, "no"))
        sent.announced.clear()
        sent.clock.advance(timedelta(days=5))

        answer = sent.api("POST", f"/deliveries/{webhook_id}/redeliver")

        assert answer.status == 200
        assert (answer.body["webhook_id"], answer.body["state"], answer.body["tries"]) == (webhook_id, "waiting", 0)
        assert (answer.body["last_status"], answer.body["last_message"]) == (500, "no")
        item = sent.item(webhook_id)
        assert int(item["due_at"]) == epoch(sent.clock() + GRACE)
        assert int(item["expires_at"]) == epoch(sent.clock() + timedelta(days=30))
        assert item["since"] > item["created_at"]
        assert len(sent.announced) == 1

    def test_lets_one_that_waits_be_tried_now_and_keeps_its_schedule(self, sent: Sent) -> None:
        webhook_id = sent.end_job()
        sent.put_off(webhook_id, Result(503))
        sent.announced[:] = sent.announced[-1:]

        answer = sent.api("POST", f"/deliveries/{webhook_id}/redeliver")

        assert (answer.status, answer.body["tries"], answer.body["next_at"]) == (200, 1, None)
        assert int(sent.item(webhook_id)["due_at"]) == epoch(sent.clock() + GRACE)
        assert len(sent.announced) == 2

    def test_to_an_endpoint_that_was_deleted_is_refused(self, sent: Sent) -> None:
        webhook_id = sent.end_job()
        sent.end(webhook_id, DeliveryState.DEAD, Result(500))
        sent.api("DELETE", f"/webhooks/{sent.endpoint}")

        answer = sent.api("POST", f"/deliveries/{webhook_id}/redeliver")

        assert problem(answer) == (404, "endpoint-not-found")
        assert sent.item(webhook_id)["state"] == "dead"

    def test_to_a_disabled_endpoint_says_how_to_enable_it(self, sent: Sent, dynamodb: "DynamoDBClient") -> None:
        webhook_id = sent.end_job()
        DeliveryStore(dynamodb, TABLE, sent.clock).disable("a", sent.endpoint, "it answered 410 Gone")

        for path in (f"/deliveries/{webhook_id}/redeliver", f"/webhooks/{sent.endpoint}/test"):
            answer = sent.api("POST", path)
            assert problem(answer) == (409, "endpoint-disabled")
            assert "it answered 410 Gone: enable it first" in answer.body["detail"]

    def test_costs_three_units(self, sent: Sent, dynamodb: "DynamoDBClient", template: dict[str, Any]) -> None:
        schema = template["Resources"]["JobTable"]["Properties"]
        meter = Meter(dynamodb, boto3.client("dynamodb"), TABLE, indexes(schema))
        webhook_id = sent.end_job()
        sent.end(webhook_id, DeliveryState.DEAD, Result(500))

        with meter.counting() as cost:
            sent.api("POST", f"/deliveries/{webhook_id}/redeliver")

        assert cost.writes <= 3


class TestATestEvent:
    def test_is_a_delivery_to_the_endpoint_alone_whatever_events_it_wants(self, sent: Sent) -> None:
        endpoint = create(sent.api, events=["job.failed"]).body["endpoint_id"]
        sent.announced.clear()

        answer = sent.api("POST", f"/webhooks/{endpoint}/test")

        assert answer.status == 201
        told = [answer.body[name] for name in ("endpoint_id", "type", "event_id", "state", "tries")]
        assert told == [endpoint, "webhook.test", None, "waiting", 0]
        assert len(sent.announced) == 1
        read = sent.api("GET", f"/deliveries/{answer.body['webhook_id']}")
        assert read.body["body"] == {
            "type": "webhook.test",
            "timestamp": answer.body["created_at"],
            "data": {"endpoint_id": endpoint},
        }

    def test_to_no_endpoint_of_the_tenant_is_refused_and_leaves_nothing(self, sent: Sent, apis: Apis) -> None:
        sent.announced.clear()
        for api, endpoint in ((apis.of("b"), sent.endpoint), (sent.api, "ep_none")):
            assert problem(api("POST", f"/webhooks/{endpoint}/test")) == (404, "endpoint-not-found")

        assert sent.announced == []
        assert sent.table.query(partition("b"), "!", "~") == []

    def test_needs_an_endpoint_with_a_url(self, sent: Sent) -> None:
        sent.table.put({**key(partition("a"), "ENDPOINT#jobs"), "created_at": "2026", "secrets": ["1"]})

        answer = sent.api("POST", "/webhooks/jobs/test")

        assert problem(answer) == (409, "endpoint-disabled")
        assert "no URL of its own" in answer.body["detail"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/deliveries", "GET, HEAD"),
        ("DELETE", "/deliveries/evt_1", "GET, HEAD"),
        ("GET", "/deliveries/evt_1/redeliver", "POST"),
        ("GET", "/webhooks/ep_1/test", "POST"),
    ],
)
def test_another_method_is_refused(sent: Sent, method: str, path: str, allowed: str) -> None:
    answer = sent.api(method, path)

    assert (answer.status, answer.headers["Allow"]) == (405, allowed)


def test_no_id_is_the_same_and_each_has_its_time(clock: FakeClock) -> None:
    made = [new_webhook_id(clock()) for _ in range(1000)]

    assert len({*made}) == 1000
    assert {time_of(webhook_id) for webhook_id in made} == {clock().isoformat(timespec="milliseconds")[:-6] + "Z"}
