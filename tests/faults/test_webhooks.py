"""Receivers fail, the delivery function is killed, its queue is purged: every event arrives, and no tenant waits."""

import random
import socket
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from jobchain.aws.api_keys import ApiKeyStore
from jobchain.domain import utc_now
from jobchain_client.webhooks import WebhookEvent, verify
from tests.e2e.conftest import poll
from tests.faults.conftest import FaultyStack, faulty_stack
from tests.faults.ledger import Killer, needs_proc, report
from tests.webhook_receiver import OK, Receiver, receiver, saying, silent

SEED = 20261129
BATCH = 20
LIMIT_SECONDS = 1500.0
LATE_SECONDS = 5.0
"""How much later a delivery may come where the receiver of another tenant never answers."""


def events_of(server: Receiver, secret: str) -> list[WebhookEvent]:
    """What a receiver was sent, each with a right signature."""
    found = []
    for request in list(server.requests):
        head, _, body = request.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
        found.append(verify(headers, body, secret, tolerance=timedelta(hours=2)))
    return found


def submit_batches(http: httpx2.Client, count: int) -> list[str]:
    """The ids of that many new jobs."""
    texts = [f"The rules of job-hook-{number}." for number in range(count)]
    ids: list[str] = []
    for first in range(0, count, BATCH):
        jobs = [{"input_text": text} for text in texts[first : first + BATCH]]
        results = http.post("/jobs/batch", json={"jobs": jobs}).raise_for_status().json()["results"]
        ids += [result["event_id"] for result in results]
    return ids


def deliveries(world: FaultyStack) -> list[dict[str, Any]]:
    """All deliveries of the stack, in DynamoDB's own form."""
    pages = (
        world.stack.client("dynamodb")
        .get_paginator("scan")
        .paginate(
            TableName=world.stack.table,
            FilterExpression="begins_with(pk, :pk) AND begins_with(sk, :sk)",
            ExpressionAttributeValues={":pk": {"S": "WEBHOOKS#"}, ":sk": {"S": "DELIVERY#"}},
        )
    )
    return [dict(item) for page in pages for item in page["Items"]]


def make_due(world: FaultyStack, delivery: Mapping[str, Any]) -> None:
    """What a delivery waits for is over at once: the minute after its message, or the pause before its next try."""
    client = world.stack.client("dynamodb")
    try:
        client.update_item(
            TableName=world.stack.table,
            Key={"pk": delivery["pk"], "sk": delivery["sk"]},
            UpdateExpression="SET due_at = :past",
            ConditionExpression="due_at = :seen",
            ExpressionAttributeValues={":past": {"N": str(int(time.time()) - 1)}, ":seen": delivery["due_at"]},
        )
    except client.exceptions.ConditionalCheckFailedException:
        return  # a try was made meanwhile


def redeliver_the_dead(http: httpx2.Client) -> int:
    """Redelivers what was given up after ten tries; gives how many these were."""
    dead: list[str] = []
    query = {"state": "dead", "limit": "100"}
    while query.get("cursor") != "":
        page = http.get("/deliveries", params=query).raise_for_status().json()
        dead += [delivery["webhook_id"] for delivery in page["deliveries"]]
        query["cursor"] = page["next_cursor"] or ""
    for webhook_id in dead:
        http.post(f"/deliveries/{webhook_id}/redeliver").raise_for_status()
    return len(dead)


def until_all_are_delivered(world: FaultyStack, count: int) -> tuple[list[dict[str, Any]], int]:
    """Lets time pass and the sweeper run until all deliveries are made, the dead ones redelivered; how many were."""
    redelivered = 0
    deadline = time.monotonic() + LIMIT_SECONDS
    while True:
        found = deliveries(world)
        waiting = [delivery for delivery in found if "due_at" in delivery]
        if len(found) == count and not waiting:
            if not (dead := redeliver_the_dead(world.http)):
                return found, redelivered
            redelivered += dead
        assert time.monotonic() < deadline, f"{len(found)} deliveries, of which {len(waiting)} wait"
        for delivery in waiting:
            make_due(world, delivery)
        world.sweep()
        time.sleep(2)


@needs_proc
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("name", "count", "kills"),
    [
        pytest.param("webhooks", 60, 5, marks=pytest.mark.thorough),
        pytest.param("webhooks-thousand", 1000, 40, marks=pytest.mark.faults),
    ],
)
def test_every_event_arrives_signed_though_receivers_functions_and_the_queue_fail(
    name: str, count: int, kills: int
) -> None:
    chance = random.Random(SEED)
    failing = saying(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")

    def half_the_time(connection: socket.socket) -> None:
        (saying(OK) if chance.random() < 0.5 else failing)(connection)

    with faulty_stack(parameters={"WorkerConcurrency": "4"}) as world, receiver(half_the_time) as server:
        # given a receiver that fails half the time
        created = world.http.post("/webhooks", json={"url": f"http://127.0.0.1:{server.port}/hook"})
        secret = created.raise_for_status().json()["secret"]
        started = time.monotonic()

        # when jobs end while the delivery function is killed again and again, and its queue is purged once
        with Killer(world.stack, random.Random(SEED), (0.2, 1), at_most=kills, service="webhooks") as killer:
            ids = submit_batches(world.http, count)
            poll(lambda: len(server.requests) >= count // 10, LIMIT_SECONDS)
            sqs = world.stack.client("sqs")
            urls = sqs.list_queues()["QueueUrls"]
            (url,) = [url for url in urls if "WebhookQueue" in url and "SlowWebhookQueue" not in url]
            sqs.purge_queue(QueueUrl=url)
            found, redelivered = until_all_are_delivered(world, count)
        events = events_of(server, secret)

    # then each event has arrived at least once, signed, with one id
    arrived = {(event.event_id, event.type) for event in events}
    report(
        name,
        jobs=count,
        requests=len(events),
        lost=count - len(arrived),
        kills=killer.kills,
        redelivered=redelivered,
        seconds=round(time.monotonic() - started),
        tries=dict(Counter(int(delivery["tries"]["N"]) for delivery in found)),
    )
    assert arrived == {(event_id, "job.completed") for event_id in ids}
    assert len({event.webhook_id for event in events}) == count
    assert {delivery["state"]["S"] for delivery in found} == {"delivered"}
    assert killer.kills > 0, "no function was killed"


@pytest.mark.thorough
@pytest.mark.timeout(900)
def test_a_receiver_that_never_answers_delays_no_other_tenant() -> None:
    with faulty_stack(parameters={"AuthMode": "api_key"}) as world, ExitStack() as opened:
        # given two tenants: the receiver of one never answers, that of the other does
        never, prompt = (opened.enter_context(receiver(say)) for say in (silent, saying(OK)))
        keys = ApiKeyStore(world.stack.client("dynamodb"), world.stack.table, utc_now)
        paths: list[tuple[httpx2.Client, str]] = []
        for tenant, server in (("quiet", never), ("other", prompt)):
            key, _ = keys.create(tenant, tenant)
            headers = {"Authorization": f"Bearer {key}"}
            http = httpx2.Client(base_url=world.stack.api_url, headers=headers, timeout=60, trust_env=False)
            url = {"url": f"http://127.0.0.1:{server.port}/"}
            created = opened.enter_context(http).post("/webhooks", json=url).raise_for_status().json()
            paths.append((http, f"/webhooks/{created['endpoint_id']}/test"))
        (quiet, quiet_test), (other, other_test) = paths

        def seconds_of_one() -> float:
            before, began = len(prompt.requests), time.monotonic()
            other.post(other_test).raise_for_status()
            poll(lambda: len(prompt.requests) > before, 60)
            return time.monotonic() - began

        alone = [seconds_of_one() for _ in range(5)]

        # when the one has many deliveries
        for _ in range(100):
            quiet.post(quiet_test).raise_for_status()
        poll(lambda: never.connections > 0, 60)
        beside = [seconds_of_one() for _ in range(15)]

    # then those of the other come about as fast as before
    report("webhooks-isolation", alone=max(alone), beside=max(beside), silent_connections=never.connections)
    assert max(beside) - min(alone) < LATE_SECONDS
