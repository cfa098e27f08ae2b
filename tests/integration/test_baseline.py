"""The hardened baseline does what the comparison says of it. Needs `make bench`'s environment, Redis and Postgres."""

import http.client
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import pytest

from benchmarks import client, kills, model_server
from benchmarks.baseline import services
from benchmarks.baseline.services import Baseline
from benchmarks.model_server import ModelServer

AT_ONCE = 8

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(
        not (services.BIN / "celery").exists() or len(services.programs()) < 2,
        reason="needs `make bench`'s .venv-baseline, redis-server and postgresql",
    ),
]


@pytest.fixture
def model() -> Iterator[ModelServer]:
    with model_server.running() as model:
        yield model


@pytest.fixture
def side(model: ModelServer) -> Iterator[Baseline]:
    with services.start(model.base_url, form=services.hardened("threads", AT_ONCE, processes=2)) as side:
        yield side


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def post(side: Baseline, text: str, key: str) -> tuple[int, Any]:
    headers = {"Content-Type": "application/json", "Idempotency-Key": key}
    with closing(http.client.HTTPConnection(urlsplit(side.url).netloc, timeout=20)) as connection:
        connection.request("POST", "/jobs", json.dumps({"input_text": text}), headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def test_a_repeated_post_is_one_job(side: Baseline, model: ModelServer) -> None:
    first, again, other = (post(side, kills.text(number), "key-1") for number in (1, 1, 2))
    jobs = client.ended(side.url, 1)

    assert [first[0], again[0], other[0]] == [201, 200, 422]
    assert first[1]["event_id"] == again[1]["event_id"] == jobs[0]["id"]
    assert model.answered() == client.CALLS


@pytest.mark.timeout(300)
def test_jobs_of_a_killed_worker_go_on_after_their_last_step(side: Baseline, model: ModelServer) -> None:
    # given jobs whose first step is stored
    model.set_delay(2.0)
    client.post(side.url, range(AT_ONCE), text_of=kills.text)
    wait_until(lambda: int(side.backing.query("SELECT count(*) FROM jobs WHERE steps <> '{}'")) == AT_ONCE)

    # when all workers are killed
    for pid in side.running():
        os.kill(pid, signal.SIGKILL)
    jobs = kills.wait(side, AT_ONCE, patience=120)

    # then each job is complete, the calls in flight were made again, and that step was not
    assert [job["status"] for job in jobs] == ["completed"] * AT_ONCE
    made = model.calls()
    assert {call.job: call.answered for call in made if call.step == "SummaryAnswer"} == dict.fromkeys(
        range(AT_ONCE), 1
    )
    assert any(call.cut for call in made)


def test_messages_that_the_broker_lost_are_sent_again(model: ModelServer) -> None:
    form = services.hardened("threads", AT_ONCE, processes=2)
    with services.start(model.base_url, form=form, working=False) as side:
        client.post(side.url, range(3))
        wait_until(lambda: side.backing.messages() == 3)
        side.backing.said("flushall")
        side.backing.query("UPDATE jobs SET due_at = clock_timestamp()")  # the time that a message may take is over

        with side.backing.workers():
            assert [job["status"] for job in client.ended(side.url, 3)] == ["completed"] * 3
