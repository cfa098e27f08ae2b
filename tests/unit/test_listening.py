"""`jobchain listen`: each end of a job is forwarded once, signed, whatever the API and the receiver do."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
import standardwebhooks
from hypothesis import given
from hypothesis import strategies as st

from jobchain.domain import isoformat
from jobchain_cli.following import Follower
from jobchain_cli.forwarding import Event, Forwarder
from jobchain_cli.listening import Forwarded, Listener, Looked
from jobchain_client import Job, Jobchain, JobchainError, Unauthorized
from jobchain_client.webhooks import verify
from tests.jobs import raw_job
from tests.unit import test_cli
from tests.unit.test_cli import EVIL, FakeApi, Run
from tests.webhook_receiver import OK, Receiver, receiver, repeating, saying

served, api, url, home = test_cli.served, test_cli.api, test_cli.url, test_cli.home
offline, run = test_cli.offline, test_cli.run

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
START = datetime(2026, 11, 29, 10, tzinfo=UTC)
METADATA = {"source": "handbook"}


class World:
    """An API whose jobs a test changes, and its time."""

    def __init__(self) -> None:
        self.now = START
        self.jobs: dict[str, dict[str, Any]] = {}
        self.is_down = False
        self.fails_at: str | None = None
        self.asked: list[str] = []
        transport = httpx2.MockTransport(self._answer)
        self.client = Jobchain("https://api.test/v1", "jc_key", retry_seconds=0, transport=transport)
        self.follower = Follower(self.client, timedelta(hours=1), lambda: self.now)

    def later(self, **span: float) -> None:
        self.now += timedelta(**span)

    def create(self, event_id: str, **ago: float) -> None:
        created = isoformat(self.now - timedelta(**ago))
        raw = {**raw_job(event_id), "created_at": created, "metadata": METADATA}
        self.jobs[event_id] = {**raw, "status": "pending", "finished_at": None}

    def end(self, event_id: str, status: str = "completed") -> None:
        self.later(milliseconds=1)
        self.jobs[event_id] |= {"status": status, "finished_at": isoformat(self.now)}

    def retry(self, event_id: str) -> None:
        self.jobs[event_id] |= {"status": "pending", "finished_at": None}

    def look(self) -> list[str]:
        self.later(seconds=2)
        return [job.event_id for job in self.follower.look()]

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.path.removeprefix("/v1")
        self.asked.append(path)
        if self.is_down or path == self.fails_at:
            raise httpx2.ConnectError("refused")
        if path == "/jobs":
            return self._list(request.url.params)
        job = self.jobs.get(path.removeprefix("/jobs/"))
        return httpx2.Response(200, json=job) if job else httpx2.Response(404, json={})

    def _list(self, query: httpx2.QueryParams) -> httpx2.Response:
        assert query["replays"] == "true"
        found = [
            {name: value for name, value in job.items() if name not in ("steps", "result", "metadata")}
            for job in self.jobs.values()
            if job["created_at"] >= isoformat(datetime.fromisoformat(query["created_after"]))
            and query.get("status") in (None, job["status"])
        ]
        found.sort(key=lambda job: job["created_at"], reverse=True)
        first, size = int(query.get("cursor", "0")), int(query["limit"])
        more = str(first + size) if len(found) > first + size else None
        return httpx2.Response(200, json={"jobs": found[first : first + size], "next_cursor": more})


@pytest.fixture
def world() -> World:
    return World()


# --- following -------------------------------------------------------------------------------------------------------


def test_what_had_ended_before_is_not_told(world: World) -> None:
    world.create("old")
    world.end("old")

    assert world.look() == []
    assert world.look() == []


def test_each_end_is_told_once_with_the_metadata(world: World) -> None:
    world.create("a")
    world.look()
    world.create("b")
    world.end("b")
    world.end("a", "failed")
    world.later(seconds=2)

    ended = world.follower.look()

    assert [(job.event_id, job.status, job.metadata) for job in ended] == [
        ("b", "completed", METADATA),
        ("a", "failed", METADATA),
    ]
    assert world.look() == []


def test_a_job_that_is_retried_and_ends_again_is_told_again(world: World) -> None:
    world.look()
    world.create("a")
    world.end("a", "failed")
    assert world.look() == ["a"]

    world.retry("a")
    world.end("a")

    assert world.look() == ["a"]


def test_a_job_that_was_created_long_before_is_told_when_it_ends(world: World) -> None:
    world.create("old", days=7)
    world.look()
    assert world.look() == []

    world.end("old")

    assert world.look() == ["old"]
    assert world.look() == []


def test_a_job_that_grows_old_while_it_runs_is_told_when_it_ends(world: World) -> None:
    world.look()
    world.create("a")
    world.look()
    for _ in range(5):
        world.later(hours=1)
        assert world.look() == []

    world.end("a")

    assert world.look() == ["a"]
    assert world.look() == []


def test_a_job_that_is_deleted_before_its_end_is_read_is_told_as_the_list_had_it(world: World) -> None:
    world.look()
    world.create("a")
    world.end("a")
    details = world.jobs["a"]
    answer = world._answer

    def vanishing(request: httpx2.Request) -> httpx2.Response:
        told = answer(request)
        world.jobs.pop("a", None)
        return told

    world.follower.client = Jobchain("https://api.test/v1", transport=httpx2.MockTransport(vanishing))

    (job,) = world.follower.look()

    assert (job.event_id, job.status, job.metadata) == ("a", details["status"], {})


def test_an_old_job_that_is_deleted_is_forgotten(world: World) -> None:
    world.create("old", days=1)
    world.look()
    del world.jobs["old"]

    assert world.look() == []
    assert world.follower.waits_for == 0


def test_many_jobs_are_read_page_after_page(world: World) -> None:
    world.look()
    names = [f"job-{number:03}" for number in range(250)]
    for name in names:
        world.create(name)
        world.end(name)

    assert world.look() == names


def test_an_api_that_is_down_for_most_of_an_hour_loses_nothing(world: World) -> None:
    world.look()
    world.is_down = True
    world.create("a")
    world.end("a")
    for _ in range(20):
        with pytest.raises(JobchainError):
            world.look()
        world.later(minutes=2, seconds=50)
    world.is_down = False

    assert world.look() == ["a"]


def test_a_look_that_fails_in_its_middle_loses_nothing(world: World) -> None:
    world.look()
    for name in ("a", "b"):
        world.create(name)
        world.end(name)
    world.fails_at = "/jobs/b"
    with pytest.raises(JobchainError):
        world.look()
    world.fails_at = None

    assert world.look() == ["a", "b"]


def test_a_look_without_news_is_one_request(world: World) -> None:
    world.create("a")
    world.end("a")
    world.look()
    world.asked.clear()

    world.look()

    assert world.asked == ["/jobs"]


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["create", "end", "retry", "look", "fault", "delete", "wait"]), st.integers(0, 4)),
    max_size=40,
)


@given(ACTIONS)
def test_whatever_happens_each_end_that_a_look_can_see_is_told_once(actions: list[tuple[str, int]]) -> None:
    world = World()
    world.look()
    told: list[tuple[str, str]] = []
    wanted: list[tuple[str, str]] = []
    unseen: dict[str, str] = {}
    made = 0
    for action, number in actions:
        name = f"job-{number}-{made}"
        there = [job for job in world.jobs.values() if job["event_id"].startswith(f"job-{number}-")]
        if action == "create" and not there:
            world.create(name)
            made += 1
        elif action == "end" and there and there[0]["status"] == "pending":
            world.end(there[0]["event_id"])
            unseen[there[0]["event_id"]] = there[0]["finished_at"]
        elif action == "retry" and there and there[0]["status"] == "completed":
            unseen.pop(there[0]["event_id"], None)
            world.retry(there[0]["event_id"])
        elif action == "delete" and there:
            unseen.pop(there[0]["event_id"], None)
            del world.jobs[there[0]["event_id"]]
        elif action == "wait":
            # Less than the span in all, so that every job stays within it.
            world.later(minutes=1)
        elif action == "fault":
            world.is_down = True
            with pytest.raises(JobchainError):
                world.follower.look()
            world.is_down = False
        elif action == "look":
            wanted += unseen.items()
            unseen.clear()
            told += [(job.event_id, isoformat(job.finished_at)) for job in world.follower.look() if job.finished_at]

    assert sorted(told) == sorted(wanted)


# --- events and requests ---------------------------------------------------------------------------------------------


def event(**fields: Any) -> Event:
    return Event.of(Job.of(raw_job("job-1", **{"title": "policy.md", "metadata": METADATA, **fields})))


def test_an_event_is_the_one_that_the_deployment_sends() -> None:
    raw = raw_job("job-1")
    error = {"type": "deadline_exceeded", "message": "a secret text", "step": "summary"}

    made = event(status="failed", error=error)

    assert json.loads(made.body) == {
        "type": "job.failed",
        "timestamp": raw["finished_at"],
        "data": {
            "event_id": "job-1",
            "status": "failed",
            "job_name": raw["job_name"],
            "title": "policy.md",
            "metadata": METADATA,
            "created_at": raw["created_at"],
            "finished_at": raw["finished_at"],
            "error": {"type": "deadline_exceeded", "step": "summary"},
        },
    }


def test_an_end_has_the_same_id_in_each_run_and_another_end_another_one() -> None:
    again = event(finished_at="2026-11-22T11:00:00.000Z")

    assert event().webhook_id == event().webhook_id
    assert len({event().webhook_id, event(status="failed").webhook_id, again.webhook_id}) == 3


def sent(served: Receiver) -> tuple[dict[str, str], bytes]:
    """The headers and the body of the only request."""
    (request,) = served.requests
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")[1:]
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}, body


def test_a_request_is_verified_by_the_client_and_by_the_reference_library() -> None:
    made = event(title="Zürich")
    with receiver(saying(OK)) as served:
        forwarder = Forwarder(f"http://127.0.0.1:{served.port}/hook?a=b", SECRET)
        tried = forwarder.send(made)
        forwarder.close()

    headers, body = sent(served)
    assert (tried.status, tried.is_delivered) == (204, True)
    assert served.requests[0].startswith(b"POST /hook?a=b HTTP/1.1")
    assert verify(headers, body, SECRET).webhook_id == made.webhook_id
    assert standardwebhooks.Webhook(SECRET).verify(body, headers)["data"]["title"] == "Zürich"
    assert headers["content-type"] == "application/json; charset=utf-8"


def test_a_redirect_is_not_followed_and_an_endless_answer_not_read() -> None:
    moved = saying(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
    endless = repeating(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536)
    with receiver(moved, endless) as served:
        forwarder = Forwarder(f"http://127.0.0.1:{served.port}/hook", SECRET)
        first, second = forwarder.send(event()), forwarder.send(event())
        forwarder.close()

    assert (first.status, first.is_delivered) == (302, False)
    assert (second.status, second.is_delivered) == (200, True)
    assert served.connections == 2


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (httpx2.ConnectError("Connection refused"), "no answer: Connection refused"),
        (httpx2.ReadTimeout(""), "no answer within 10 s"),
        (httpx2.RemoteProtocolError(""), "no answer: RemoteProtocolError"),
    ],
)
def test_a_receiver_that_does_not_answer_is_told_with_the_reason(error: Exception, why: str) -> None:
    def refuse(_: httpx2.Request) -> httpx2.Response:
        raise error

    tried = Forwarder("http://localhost:1/", SECRET, httpx2.MockTransport(refuse)).send(event())

    assert (tried.status, tried.why, tried.is_delivered) == (None, why, False)


# --- listening -------------------------------------------------------------------------------------------------------


class Scene:
    """A listener in a time of its own, whose receiver answers what it is told to."""

    def __init__(self, world: World, *answers: int, retries: int = 0) -> None:
        self.world = world
        self.answers = list(answers)
        self.times: list[float] = []
        self.ids: list[str] = []
        self.now = 0.0
        forwarder = Forwarder("http://localhost:3000/", SECRET, httpx2.MockTransport(self._answer))
        self.listener = Listener(
            world.follower, forwarder, lambda job: job.status != "cancelled", retries, 2.0, self._clock, self._sleep
        )
        world.look()

    def _clock(self) -> float:
        return self.now

    def _sleep(self, seconds: float) -> None:
        self.now += seconds
        self.world.later(seconds=seconds)

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.times.append(self.now)
        self.ids.append(request.headers["webhook-id"])
        return httpx2.Response(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])

    def until(self, seconds: float) -> list[Forwarded | Looked]:
        """What it does in this time."""
        done: list[Forwarded | Looked] = []
        running: Iterator[Forwarded | Looked] = self.listener.run()
        while self.now < seconds:
            done.append(next(running))
        return done


def test_what_is_not_wanted_is_not_forwarded(world: World) -> None:
    scene = Scene(world, 204)
    for name, status in (("a", "completed"), ("b", "cancelled")):
        world.create(name)
        world.end(name, status)

    scene.until(10)

    assert len(scene.times) == 1


def test_a_refused_event_is_tried_again_as_often_as_the_user_wants_with_the_same_id(world: World) -> None:
    scene = Scene(world, 500, retries=6)
    world.create("a")
    world.end("a")

    done = [each for each in scene.until(200) if isinstance(each, Forwarded)]

    assert [each.again for each in done] == [1, 2, 5, 10, 30, 30, None]
    assert scene.times == [0, 1, 3, 8, 18, 48, 78]
    assert len(set(scene.ids)) == 1
    assert scene.listener.left == 0


def test_without_retries_a_refused_event_is_tried_once(world: World) -> None:
    scene = Scene(world, 500)
    world.create("a")
    world.end("a")

    scene.until(60)

    assert scene.times == [0]


def test_an_event_is_not_tried_again_once_it_was_accepted_and_others_go_on_meanwhile(world: World) -> None:
    scene = Scene(world, 500, 204, retries=3)
    world.create("a")
    world.end("a")
    scene.until(0.5)
    world.create("b")
    world.end("b")

    scene.until(30)

    assert len(scene.times) == 3
    assert len(set(scene.ids)) == 2


def test_an_api_that_is_down_is_asked_again_and_one_that_refuses_the_key_ends_it(world: World) -> None:
    scene = Scene(world, 204)
    world.is_down = True
    assert all(isinstance(each, Looked) and each.error for each in scene.until(10))

    refuse = httpx2.MockTransport(lambda _: httpx2.Response(401, json={}))
    world.follower.client = Jobchain("https://api.test/v1", transport=refuse)

    with pytest.raises(Unauthorized):
        scene.until(20)


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--forward", "localhost:3000/hook"], "it has no scheme; set it to http://localhost:3000/hook"),
        (["--forward", "ftp://localhost"], "its scheme is 'ftp'"),
        (["--forward", "http://localhost/#a"], "it has a query or a fragment"),
        (["--forward", "http://localhost", "--since", "x"], "--since 'x': use a number"),
        (["--forward", "http://localhost", "--event", "job.started"], "job.started"),
        ([], "--forward"),
    ],
)
def test_what_can_not_be_listened_with_is_named(run: Run, api: FakeApi, arguments: list[str], why: str) -> None:
    said = run("listen", *arguments)

    assert said.code == 2
    assert why in said.err
    assert api.requests == []


def test_a_secret_of_the_environment_that_is_none_is_named_and_not_shown(
    run: Run, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBCHAIN_WEBHOOK_SECRET", "whsec_short")

    said = run("listen", "--forward", "http://localhost:3000")

    assert said.code == 2
    assert "JOBCHAIN_WEBHOOK_SECRET can't be used: the secret is no base64" in said.err
    assert "whsec_short" not in said.err


LIMIT = 60.0


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("as_json", [False, True])
def test_the_command_prints_a_line_for_each_event_and_ctrl_c_ends_it(
    home: Any, api: FakeApi, url: str, as_json: bool
) -> None:
    ended = {**raw_job("job-1"), "title": EVIL.replace("\ud800", "")}
    api.says("GET /jobs", {"jobs": [], "next_cursor": None})
    api.says("GET /jobs", {"jobs": [], "next_cursor": None})
    api.says("GET /jobs", {"jobs": [], "next_cursor": None})
    api.says("GET /jobs", {"jobs": [ended], "next_cursor": None})
    api.says("GET /jobs/job-1", ended)
    with receiver(saying(OK)) as served:
        command = [sys.executable, "-m", "jobchain_cli", "listen", "--url", url, "--poll", "0.2"]
        command += ["--forward", f"http://127.0.0.1:{served.port}/hook", *(["--json"] if as_json else [])]
        with subprocess.Popen(
            command, env={**os.environ, "PYTHONUNBUFFERED": "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            try:
                assert process.stdout is not None
                line = process.stdout.readline().decode()
                process.send_signal(signal.SIGINT)
                out, err = (text.decode() for text in process.communicate(timeout=LIMIT))
            finally:
                process.kill()

    secret = err.partition("to keep one): ")[2].split()[0]
    headers, body = sent(served)
    assert verify(headers, body, secret).event_id == "job-1"
    assert (process.returncode, out) == (130, "")
    assert "Stopped: 1 requests, 0 not accepted." in err
    assert "Traceback" not in err
    if as_json:
        assert json.loads(line)["status"] == 204
    else:
        assert "job.completed  job-1 [red]a[/red]" in line
        assert "-> 204 in" in line
    assert not any(bad in line for bad in ("\x1b", "\x9b", "\u202e"))
