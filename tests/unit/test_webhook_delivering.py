"""Deliveries, from the end of a job to a receiver on this machine, on moto's table and queue."""

import json
import random
import socket
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from aws_lambda_powertools import Logger

from benchmarks.capacity import Meter, indexes
from jobchain.aws.attributes import Item
from jobchain.aws.deliveries import DeliveryStore
from jobchain.aws.due_deliveries import DueDeliveryStore
from jobchain.aws.outbox import GRACE, DeliveryKey
from jobchain.aws.webhook_endpoints import Endpoint, EndpointStore
from jobchain.aws.webhook_queue import WebhookQueue, announcer, read_delivery_message
from jobchain.aws.writes import epoch
from jobchain.errors import Unavailable
from jobchain.webhooks.events import JOB_URLS, Receiver
from jobchain.webhooks.schedule import PAUSES
from jobchain_client.webhooks import TOLERANCE, InvalidWebhook, WebhookEvent, verify
from jobchain_sweeper.sweeper import Sweep
from jobchain_sweeper.webhooks import WebhookSweeper
from jobchain_webhooks.addresses import Reach
from jobchain_webhooks.batch import deliver_all
from jobchain_webhooks.delivering import Delivering, Ending
from jobchain_webhooks.lanes import Lane
from jobchain_webhooks.sender import Sender
from jobchain_webhooks.turns import SLOW_AFTER, Turns
from tests.conftest import TABLE
from tests.deployment import TENANT, Deployment, Fault
from tests.fakes import silence
from tests.webhook_receiver import OK, Say, receiver, saying, silent
from tests.webhook_receiver import Receiver as Server

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sqs import SQSClient

LEFT = timedelta(minutes=1)


def failing(status: int, headers: str = "", body: str = "") -> Say:
    return saying(f"HTTP/1.1 {status} No\r\n{headers}Content-Length: {len(body)}\r\n\r\n{body}".encode())


class Webhooks:
    """A deployment that sends webhooks to a server of a test."""

    def __init__(self, deployment: Deployment, client: "DynamoDBClient", sqs: "SQSClient", logger: Logger) -> None:
        self.deployment = deployment
        self.clock = deployment.clock
        self.endpoints = EndpointStore(client, TABLE, self.clock)
        self.url = sqs.create_queue(QueueName="webhooks")["QueueUrl"]
        self.queue = WebhookQueue(sqs, self.url)
        self.slow_url = sqs.create_queue(QueueName="slow-webhooks")["QueueUrl"]
        slow_queue = WebhookQueue(sqs, self.slow_url)
        self.turns_now = 0.0
        self.fast = Lane(self.queue, Turns(lambda: self.turns_now, slow_after=1), slow_queue)
        self.slow = Lane(slow_queue, Turns(lambda: self.turns_now))
        self.delivering = Delivering(
            store=DeliveryStore(client, TABLE, self.clock),
            sender=Sender(ssl.create_default_context(), Reach.LOCAL, seconds=0.3),
            clock=self.clock,
            logger=logger,
            local=True,
        )
        self._sqs = sqs
        due = DueDeliveryStore(client, TABLE, self.clock)
        self.sweeper = WebhookSweeper(due=due, queue=self.queue, clock=self.clock, logger=logger)

    def sweep(self) -> int:
        """The messages that a run of the sweeper sends."""
        return self.sweeper.sweep(self.clock() + timedelta(minutes=1))

    def endpoint(self, server: Server, **changes: Any) -> tuple[Endpoint, str]:
        return self.endpoints.create(TENANT, f"http://127.0.0.1:{server.port}/hook", **changes)

    def end_job(self, *receivers: Receiver, number: int = 1) -> DeliveryKey:
        """Ends a job of the tenant; gives its newest delivery."""
        given = receivers or self.endpoints.receivers(TENANT, "guideline_checklist")
        self.deployment.create(number, receivers=given)
        self.deployment.stores.jobs.cancel(TENANT, self.deployment.event_id)
        return self.deployment.stores.announced[-1]

    def item(self, key: DeliveryKey) -> Item:
        return self.deployment.table.get(key.item_key) or {}

    def deliver(self, key: DeliveryKey, lane: Lane | None = None) -> Item:
        """One try, in the fast lane if no other is given; the item after it."""
        self.delivering.deliver(key, lane or self.fast, LEFT)
        return self.item(key)

    def in_fast_lane(self, key: DeliveryKey, left: timedelta) -> Ending:
        """What the function calls for each message of the fast lane."""
        return self.delivering.deliver(key, self.fast, left)

    def messages(self, url: str = "") -> list[Mapping[str, Any]]:
        """The messages that wait in the queue, or the one at `url`, as records of an event."""
        found = self._sqs.receive_message(QueueUrl=url or self.url, MaxNumberOfMessages=10).get("Messages", [])
        return [{"messageId": message["MessageId"], "body": message["Body"]} for message in found]

    def delayed(self, url: str = "") -> int:
        name: Any = "ApproximateNumberOfMessagesDelayed"
        return int(self._sqs.get_queue_attributes(QueueUrl=url or self.url, AttributeNames=[name])["Attributes"][name])


@pytest.fixture
def webhooks(deployment: Deployment, dynamodb: "DynamoDBClient", sqs: "SQSClient", logger: Logger) -> Webhooks:
    return Webhooks(deployment, dynamodb, sqs, logger)


def event_of(request: bytes, secret: str, webhooks: Webhooks, tolerance: timedelta = TOLERANCE) -> WebhookEvent:
    """The event of a request, as the receiver's client verifies it."""
    head, _, body = request.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    return verify(headers, body, secret, tolerance=tolerance, now=webhooks.clock())


def webhook_id(request: bytes) -> bytes:
    return request.split(b"webhook-id: ")[1].split(b"\r\n")[0]


class TestADelivery:
    def test_reaches_its_receiver_signed_and_is_not_due_any_more(self, webhooks: Webhooks) -> None:
        with receiver(saying(OK)) as server:
            endpoint, secret = webhooks.endpoint(server)
            item = webhooks.deliver(webhooks.end_job())

        event = event_of(server.requests[0], secret, webhooks)
        assert (event.type, event.event_id) == ("job.cancelled", webhooks.deployment.event_id)
        assert event.webhook_id == item["webhook_id"]
        assert item["endpoint_id"] == endpoint.endpoint_id
        assert (item["state"], int(item["tries"]), int(item["last"]["status"])) == ("delivered", 1, 204)
        assert not {"due_at", "due_shard", "next_at"} & item.keys()
        assert int(item["expires_at"]) == epoch(webhooks.clock() + timedelta(days=7))

    def test_costs_two_units_more_when_it_is_made_and_three_for_each_further_try(
        self, webhooks: Webhooks, dynamodb: "DynamoDBClient", template: dict[str, Any]
    ) -> None:
        schema = template["Resources"]["JobTable"]["Properties"]
        meter = Meter(dynamodb, boto3.client("dynamodb"), TABLE, indexes(schema))
        with receiver(failing(500, body="b" * 5000), saying(OK)) as server:
            webhooks.endpoint(server)
            key = webhooks.end_job()
            with meter.counting() as failed:
                webhooks.deliver(key)
            with meter.counting() as made:
                webhooks.deliver(key)

        # With the three of the ending transaction: five for one that is delivered at once.
        assert failed.writes == 3
        assert made.writes == 2

    def test_that_was_made_is_not_made_again(self, webhooks: Webhooks) -> None:
        with receiver(saying(OK)) as server:
            webhooks.endpoint(server)
            key = webhooks.end_job()
            webhooks.deliver(key)
            webhooks.deliver(key)

        assert server.connections == 1

    def test_that_does_not_exist_is_skipped(self, webhooks: Webhooks) -> None:
        assert webhooks.deliver(DeliveryKey(TENANT, "DELIVERY#none")) == {}

    @pytest.mark.parametrize("status", [301, 400, 404, 429, 500])
    def test_that_fails_is_tried_again_after_five_seconds(self, webhooks: Webhooks, status: int) -> None:
        with receiver(failing(status, body="no\x1b[31m thanks"), saying(OK)) as server:
            webhooks.endpoint(server)
            key = webhooks.end_job()
            item = webhooks.deliver(key)

            assert (int(item["tries"]), int(item["last"]["status"])) == (1, status)
            assert item["last"]["message"] == "no [31m thanks"
            assert (
                epoch(webhooks.clock()) + 4
                <= int(item["due_at"]) - GRACE.total_seconds()
                <= epoch(webhooks.clock()) + 5
            )
            assert webhooks.delayed() == 1

            webhooks.deliver(key)

        ids = [webhook_id(request) for request in server.requests]
        assert ids[0] == ids[1]

    def test_that_gets_no_answer_says_why(self, webhooks: Webhooks) -> None:
        with receiver(silent) as server:
            webhooks.endpoint(server)
            item = webhooks.deliver(webhooks.end_job(), webhooks.slow)

        assert item["last"] == {"message": "there was no answer within 0.3 s"}

    def test_is_given_up_after_72_hours_however_long_the_pauses_that_its_receiver_asks_for(
        self, webhooks: Webhooks
    ) -> None:
        with receiver(*[failing(503, "Retry-After: 86400\r\n")] * 6) as server:
            webhooks.endpoint(server)
            key = webhooks.end_job()
            began = webhooks.clock()
            while (item := webhooks.deliver(key)).get("state") is None and webhooks.clock() < began + timedelta(days=5):
                webhooks.clock.advance(datetime.fromisoformat(item["next_at"]) - webhooks.clock())

        assert item["state"] == "dead"
        assert webhooks.clock() == began + timedelta(hours=72)
        assert int(item["tries"]) == len(server.requests) == 4

    def test_is_put_off_as_long_as_its_receiver_asks(self, webhooks: Webhooks) -> None:
        with receiver(failing(503, "Retry-After: 3600\r\n")) as server:
            webhooks.endpoint(server)
            item = webhooks.deliver(webhooks.end_job())

        # Longer than the queue can delay it: the sweeper sends it then.
        assert int(item["due_at"]) == epoch(webhooks.clock() + timedelta(hours=1))
        assert webhooks.delayed() == 0

    def test_is_given_up_after_ten_tries_within_72_hours(self, webhooks: Webhooks) -> None:
        began = webhooks.clock()
        with receiver(failing(500)) as server:
            webhooks.endpoint(server)
            key = webhooks.end_job()
            item = webhooks.deliver(key)
            while "next_at" in item:
                webhooks.clock.now = type(began).fromisoformat(item["next_at"])
                item = webhooks.deliver(key)

        assert server.connections == len(PAUSES) + 1 == 10
        assert timedelta(hours=60) < webhooks.clock() - began < timedelta(hours=72)
        assert (item["state"], int(item["tries"])) == ("dead", 10)
        assert "due_at" not in item
        assert int(item["expires_at"]) == epoch(webhooks.clock() + timedelta(days=30))

    def test_whose_outcome_is_not_stored_is_made_again_with_the_same_id(self, webhooks: Webhooks) -> None:
        with receiver(saying(OK)) as server:
            webhooks.endpoint(server)
            key = webhooks.end_job()
            webhooks.deployment.faults.script("UpdateItem", "refused")
            with pytest.raises(Unavailable):
                webhooks.deliver(key)
            assert "due_at" in webhooks.item(key)
            item = webhooks.deliver(key)

        assert (server.connections, item["state"]) == (2, "delivered")

    def test_that_two_functions_make_at_the_same_time_is_stored_once(self, webhooks: Webhooks) -> None:
        with receiver(saying(OK)) as server:
            webhooks.endpoint(server)
            key = webhooks.end_job()
            # The slow one has read it before the fast one stores what came of its try.
            slow = webhooks.delivering._store.read(key)
            assert slow
            webhooks.deliver(key)
            outcome = webhooks.delivering._try(slow, webhooks.fast)
            webhooks.delivering._store_outcome(slow.delivery, outcome, webhooks.fast)

        assert (int(webhooks.item(key)["tries"]), webhooks.item(key)["state"]) == (1, "delivered")


class TestAnEndpoint:
    def test_that_answers_gone_is_disabled_and_gets_nothing_more(self, webhooks: Webhooks) -> None:
        with receiver(failing(410)) as server:
            endpoint, _ = webhooks.endpoint(server)
            first, second = webhooks.end_job(number=1), webhooks.end_job(number=2)

            assert webhooks.deliver(first)["state"] == "dead"
            item = webhooks.deliver(second)

        (stored,) = webhooks.endpoints.list(TENANT)
        assert (stored.endpoint_id, stored.disabled_because) == (endpoint.endpoint_id, "it answered 410 Gone")
        assert (item["state"], item["last"]["message"]) == ("dead", "the endpoint was deleted or disabled")
        assert server.connections == 1
        assert webhooks.endpoints.receivers(TENANT, "guideline_checklist") == ()

        assert webhooks.endpoints.enable(TENANT, endpoint.endpoint_id).disabled_at is None
        assert len(webhooks.endpoints.receivers(TENANT, "guideline_checklist")) == 1

    def test_that_was_deleted_gets_nothing(self, webhooks: Webhooks) -> None:
        with receiver(saying(OK)) as server:
            endpoint, _ = webhooks.endpoint(server)
            key = webhooks.end_job()
            webhooks.endpoints.delete(TENANT, endpoint.endpoint_id)
            item = webhooks.deliver(key)

        assert (item["state"], item["last"]["message"]) == ("dead", "the endpoint was deleted or disabled")
        assert server.connections == 0

    def test_whose_url_a_deployment_may_not_call_gets_nothing(self, webhooks: Webhooks) -> None:
        with receiver(saying(OK)) as server:
            webhooks.endpoint(server)
            webhooks.delivering._local = False
            item = webhooks.deliver(webhooks.end_job())

        assert item["state"] == "dead"
        assert item["last"]["message"].startswith("the URL can't be used: it is not encrypted")
        assert server.connections == 0

    def test_gets_two_signatures_while_its_secret_is_replaced(self, webhooks: Webhooks) -> None:
        with receiver(saying(OK)) as server:
            endpoint, old = webhooks.endpoint(server)
            new = webhooks.endpoints.rotate(TENANT, endpoint.endpoint_id)
            webhooks.deliver(webhooks.end_job(number=1))
            webhooks.clock.advance(timedelta(hours=25))
            webhooks.deliver(webhooks.end_job(number=2))
            webhooks.clock.advance(timedelta(hours=-25))

        assert event_of(server.requests[0], old, webhooks).webhook_id
        assert event_of(server.requests[0], new, webhooks).webhook_id
        webhooks.clock.advance(timedelta(hours=25))
        assert event_of(server.requests[1], new, webhooks).webhook_id
        with pytest.raises(InvalidWebhook):
            event_of(server.requests[1], old, webhooks)

    def test_for_the_urls_of_jobs_signs_with_one_secret_and_is_not_disabled_by_one_of_them(
        self, webhooks: Webhooks
    ) -> None:
        with receiver(failing(410), saying(OK)) as server:
            _, secret = webhooks.endpoints.create(TENANT, None)
            own = Receiver(JOB_URLS, (), f"http://127.0.0.1:{server.port}/own")
            gone = webhooks.deliver(webhooks.end_job(own, number=1))
            made = webhooks.deliver(webhooks.end_job(own, number=2))

        assert (gone["state"], made["state"]) == ("dead", "delivered")
        assert event_of(server.requests[1], secret, webhooks).type == "job.cancelled"

    def test_that_never_answers_is_left_to_the_sweeper_after_two_timeouts(self, webhooks: Webhooks) -> None:
        with receiver(silent) as server, receiver(saying(OK)) as other:
            webhooks.endpoint(server)
            keys = [webhooks.end_job(number=number) for number in range(1, 6)]
            items = [webhooks.deliver(key, webhooks.slow) for key in keys]
            webhooks.turns_now = 61
            webhooks.deliver(keys[-1], webhooks.slow)
            fast = Receiver(JOB_URLS, (), f"http://127.0.0.1:{other.port}/own")
            webhooks.endpoints.create(TENANT, None)
            made = webhooks.deliver(webhooks.end_job(fast, number=9))

        assert [int(item["tries"]) for item in items] == [1] * SLOW_AFTER + [0] * 3
        assert all("due_at" in item for item in items)
        assert int(webhooks.item(keys[-1])["tries"]) == 1
        assert made["state"] == "delivered"

    def test_that_never_answers_has_its_deliveries_given_up_after_72_hours(self, webhooks: Webhooks) -> None:
        with receiver(silent) as server:
            webhooks.endpoint(server)
            first, second, third = (webhooks.end_job(number=number) for number in range(1, 4))
            webhooks.deliver(first, webhooks.slow)
            webhooks.deliver(second, webhooks.slow)
            webhooks.clock.advance(timedelta(hours=72, seconds=1))
            item = webhooks.deliver(third, webhooks.slow)

        assert (item["state"], int(item["tries"])) == ("dead", 1)
        assert item["last"]["message"] == "the endpoint did not answer other deliveries in time"


class TestASlowReceiver:
    def test_is_handed_over_to_the_slow_lane_which_is_no_try(
        self, webhooks: Webhooks, dynamodb: "DynamoDBClient", template: dict[str, Any]
    ) -> None:
        schema = template["Resources"]["JobTable"]["Properties"]
        meter = Meter(dynamodb, boto3.client("dynamodb"), TABLE, indexes(schema))
        with receiver(silent, saying(OK)) as server:
            webhooks.endpoint(server)
            key = webhooks.end_job()
            with meter.counting() as cost:
                item = webhooks.deliver(key)
            (record,) = webhooks.messages(webhooks.slow_url)
            made = webhooks.deliver(read_delivery_message(record), webhooks.slow)

        assert (int(item["tries"]), cost.writes) == (0, 0)
        assert (int(made["tries"]), made["state"]) == (1, "delivered")
        assert webhook_id(server.requests[0]) == webhook_id(server.requests[1])

    def test_gets_no_further_try_in_the_fast_lane_for_a_minute(self, webhooks: Webhooks) -> None:
        with receiver(silent, saying(OK)) as server:
            webhooks.endpoint(server)
            keys = [webhooks.end_job(number=number) for number in range(1, 6)]
            for key in keys:
                webhooks.deliver(key)
            handed_over = [read_delivery_message(record) for record in webhooks.messages(webhooks.slow_url)]
            assert server.connections == 1
            webhooks.turns_now = 61
            made = webhooks.deliver(keys[0])

        assert set(handed_over) == set(keys)
        assert made["state"] == "delivered"

    def test_that_answers_after_more_than_a_second_has_its_next_deliveries_handed_over(
        self, webhooks: Webhooks
    ) -> None:
        seconds = iter([0.0, 1.5])
        webhooks.delivering._timer = lambda: next(seconds)
        with receiver(saying(OK)) as server:
            webhooks.endpoint(server)
            first, second = webhooks.end_job(number=1), webhooks.end_job(number=2)
            made, left = webhooks.deliver(first), webhooks.deliver(second)

        assert (made["state"], int(left["tries"]), server.connections) == ("delivered", 0, 1)
        assert [read_delivery_message(record) for record in webhooks.messages(webhooks.slow_url)] == [second]

    def test_that_fails_in_the_slow_lane_is_tried_again_from_there(self, webhooks: Webhooks) -> None:
        with receiver(failing(500)) as server:
            webhooks.endpoint(server)
            webhooks.deliver(webhooks.end_job(), webhooks.slow)

        assert webhooks.delayed() == 0
        assert webhooks.delayed(webhooks.slow_url) == 1

    def test_is_one_with_all_urls_of_a_tenants_jobs_in_the_fast_lane_alone(self, webhooks: Webhooks) -> None:
        names = [{lane.name_of("a", JOB_URLS, url) for url in "uv"} for lane in (webhooks.fast, webhooks.slow)]

        assert [len(found) for found in names] == [1, 2]
        assert webhooks.fast.name_of("a", "ep_1", "u") != webhooks.fast.name_of("b", "ep_1", "u")

    def test_holds_the_fast_lane_for_less_than_five_seconds_whatever_it_does(self, webhooks: Webhooks) -> None:
        for left in (timedelta(0), timedelta(seconds=10), LEFT, timedelta(minutes=15)):
            assert webhooks.fast.wait_seconds(left) + webhooks.fast.try_seconds <= 4

        assert (webhooks.slow.try_seconds, webhooks.slow.wait_seconds(LEFT)) == (10, 45)

    def test_whose_delivery_the_slow_queue_does_not_take_is_left_to_the_sweeper(
        self, webhooks: Webhooks, sqs: "SQSClient", caplog: pytest.LogCaptureFixture
    ) -> None:
        with receiver(silent) as server:
            webhooks.endpoint(server)
            key = webhooks.end_job()
            silence(sqs)
            item = webhooks.deliver(key)

        assert "due_at" in item
        assert "left to the sweeper" in caplog.text


class TestTheSweeper:
    def test_sends_the_message_of_a_delivery_that_was_lost(self, webhooks: Webhooks) -> None:
        with receiver(saying(OK)) as server:
            webhooks.endpoint(server)
            key = webhooks.end_job()
            assert webhooks.sweep() == 0
            webhooks.clock.advance(GRACE)

            assert webhooks.sweep() == 1
            assert [read_delivery_message(record) for record in webhooks.messages()] == [key]
            # It is not sent again at once.
            assert webhooks.sweep() == 0
            assert webhooks.deliver(key)["state"] == "delivered"

        webhooks.clock.advance(timedelta(days=1))
        assert webhooks.sweep() == 0

    def test_sends_a_try_that_is_later_than_the_queue_can_delay_it(self, webhooks: Webhooks) -> None:
        with receiver(failing(500), failing(500), failing(500), saying(OK)) as server:
            webhooks.endpoint(server)
            key = webhooks.end_job()
            for _ in range(3):
                webhooks.deliver(key)
            at = datetime.fromisoformat(webhooks.item(key)["next_at"])
            webhooks.clock.now = at - timedelta(seconds=1)
            assert webhooks.sweep() == 0
            webhooks.clock.now = at

            assert webhooks.sweep() == 1

    def test_sends_ever_more_seldom_what_is_never_tried(self, webhooks: Webhooks) -> None:
        webhooks.end_job(Receiver("ep_1"))
        began, sent = webhooks.clock(), []
        for _ in range(24 * 12):
            webhooks.clock.advance(timedelta(minutes=5))
            if webhooks.sweep():
                sent.append(webhooks.clock() - began)

        assert sent[0] == timedelta(minutes=5)
        assert 5 < len(sent) < 12

    def test_costs_three_units_for_each_message(
        self, webhooks: Webhooks, dynamodb: "DynamoDBClient", template: dict[str, Any]
    ) -> None:
        schema = template["Resources"]["JobTable"]["Properties"]
        meter = Meter(dynamodb, boto3.client("dynamodb"), TABLE, indexes(schema))
        webhooks.end_job(Receiver("ep_1"))
        webhooks.clock.advance(GRACE)

        with meter.counting() as cost:
            webhooks.sweep()

        assert cost.writes == 3

    def test_sends_all_that_is_due_of_a_queue_that_was_purged(
        self, webhooks: Webhooks, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("jobchain_sweeper.webhooks.PAGE", 3)
        keys = {webhooks.end_job(Receiver("ep_1"), number=number) for number in range(1, 25)}
        webhooks.clock.advance(GRACE)

        assert webhooks.sweep() == len(keys)
        found = set()
        while records := webhooks.messages():
            found |= {read_delivery_message(record) for record in records}
        assert found == keys

    def test_leaves_what_the_table_does_not_tell_for_the_next_sweep(self, webhooks: Webhooks) -> None:
        webhooks.end_job(Receiver("ep_1"))
        webhooks.clock.advance(GRACE)
        webhooks.deployment.faults.script("UpdateItem", "refused")

        assert webhooks.sweep() == 0
        assert webhooks.sweep() == 1

    def test_checks_no_delivery_as_a_job(self, webhooks: Webhooks) -> None:
        webhooks.end_job(Receiver("ep_1"))
        webhooks.clock.advance(timedelta(days=2))

        assert webhooks.deployment.sweep() == Sweep()


@pytest.mark.parametrize("seed", range(3))
def test_every_event_arrives_though_receivers_functions_and_the_queue_fail(
    webhooks: Webhooks, logger: Logger, seed: int
) -> None:
    # Few enough that no delivery reaches its last try, whichever of them they meet.
    kinds: list[Fault] = ["refused", "lost"]
    faults = iter(random.Random(seed).choices(kinds, k=6))

    def every_second_time(connection: socket.socket) -> None:
        sent = [webhook_id(request) for request in server.requests]
        (saying(OK) if sent.count(sent[-1]) % 2 == 0 else failing(500))(connection)

    with receiver(every_second_time) as server, ThreadPoolExecutor(1) as threads:
        # given jobs whose ends were announced to a queue that was purged
        _, secret = webhooks.endpoint(server)
        keys = [webhooks.end_job(number=number) for number in range(1, 16)]
        announcer(webhooks.queue, logger)(keys)
        while webhooks.messages():
            pass

        # when functions crash before or after they have stored what became of a try
        for _ in range(140):
            webhooks.clock.advance(timedelta(minutes=30))
            webhooks.sweep()
            webhooks.deployment.faults.choose = lambda name: next(faults, None) if name == "UpdateItem" else None
            while records := webhooks.messages():
                deliver_all(records, LEFT, webhooks.in_fast_lane, threads, logger)
            webhooks.deployment.faults.choose = lambda _: None

    # then each event has arrived at least once, signed, with one id
    assert {webhooks.item(key)["state"] for key in keys} == {"delivered"}
    ids: dict[str | None, set[str]] = {}
    for request in server.requests:
        event = event_of(request, secret, webhooks, tolerance=timedelta(days=10))
        ids.setdefault(event.event_id, set()).add(event.webhook_id)
    assert len(ids) == len(keys)
    assert all(len(found) == 1 for found in ids.values())


class TestABatch:
    def test_is_counted_by_how_its_messages_ended(self, webhooks: Webhooks, logger: Logger) -> None:
        counted: dict[str, int] = {}
        with receiver(saying(OK), failing(410), failing(500)) as server, ThreadPoolExecutor(1) as threads:
            webhooks.endpoints.create(TENANT, None)
            own = Receiver(JOB_URLS, (), f"http://127.0.0.1:{server.port}/own")
            keys = [webhooks.end_job(own, number=number) for number in range(1, 5)]
            announcer(webhooks.queue, logger)([keys[0], *keys])
            deliver_all(webhooks.messages(), LEFT, webhooks.in_fast_lane, threads, logger, counted.__setitem__)

        assert counted == {"delivered": 1, "skipped": 1, "dead": 1, "failed": 2}

    def test_is_what_the_queue_has_of_the_ends_of_jobs(self, webhooks: Webhooks, logger: Logger) -> None:
        announce = announcer(webhooks.queue, logger)
        with receiver(saying(OK)) as server, ThreadPoolExecutor(1) as threads:
            webhooks.endpoint(server)
            keys = [webhooks.end_job(number=number) for number in range(1, 4)]
            announce(keys)
            answer = deliver_all(webhooks.messages(), LEFT, webhooks.in_fast_lane, threads, logger)

        assert answer == {"batchItemFailures": []}
        assert {webhooks.item(key)["state"] for key in keys} == {"delivered"}

    @pytest.mark.parametrize(
        "body",
        [
            "",
            "{}",
            '{"tenant": "local"}',
            '{"tenant": "local", "delivery": "ENDPOINT#ep_1"}',
            '{"tenant": "", "delivery": "DELIVERY#a"}',
            '{"tenant": "local", "delivery": "DELIVERY#a", "more": 1}',
        ],
    )
    def test_with_a_message_that_is_none_has_its_other_messages_delivered(
        self, webhooks: Webhooks, logger: Logger, body: str
    ) -> None:
        with receiver(saying(OK)) as server, ThreadPoolExecutor(1) as threads:
            webhooks.endpoint(server)
            key = webhooks.end_job()
            good = json.dumps({"tenant": TENANT, "delivery": key.sk})
            records = [{"messageId": "bad", "body": body}, {"messageId": "good", "body": good}]
            answer = deliver_all(records, LEFT, webhooks.in_fast_lane, threads, logger)

        assert answer == {"batchItemFailures": [{"itemIdentifier": "bad"}]}
        assert webhooks.item(key)["state"] == "delivered"

    def test_whose_queue_does_not_answer_is_left_to_the_sweeper(
        self, webhooks: Webhooks, logger: Logger, sqs: "SQSClient", caplog: pytest.LogCaptureFixture
    ) -> None:
        silence(sqs)

        announcer(webhooks.queue, logger)([webhooks.end_job(Receiver("ep_1"))])

        assert "deliveries not sent, left to the sweeper" in caplog.text
