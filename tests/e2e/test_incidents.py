"""What an operator types when an alarm rings, against the whole stack: smoke, pause, retry, logs, letters."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from subprocess import PIPE
from typing import Any, NamedTuple

import httpx2
import pytest

from jobchain.aws.api_keys import ApiKeyStore
from jobchain.domain import utc_now
from jobchain.limits import Limits
from jobchain_cli import incidents
from jobchain_cli import smoke as smoke_module
from jobchain_cli.__main__ import main
from local.dev import StackFile
from local.settings import Settings
from local.stack import EmbeddedStack
from tests.e2e.conftest import LIMIT, poll
from tests.fake_model.replies import SERVER_ERROR, Reply, refused
from tests.fake_model.server import ModelServer

TEXT = "Doors must be locked at night."
NO_JOB = "3f0e1c7a-5d2b-4a7e-9c61-0b8f2d4e6a19"


class Said(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


Run = Callable[..., Said]


class Deployed:
    """A stack that asks for keys, and its model, which refuses all calls with `reply` if that is set."""

    def __init__(self, stack: EmbeddedStack) -> None:
        self.stack = stack
        self.reply: Reply | None = None
        self.keys = ApiKeyStore(stack.client("dynamodb"), stack.table, utc_now)

    def caller(self, tenant: str, limits: Limits | None = None) -> httpx2.Client:
        """A caller of this tenant, with a key of its own."""
        secret, _ = self.keys.create(tenant, tenant, limits or Limits())
        headers = {"Authorization": f"Bearer {secret}"}
        return httpx2.Client(base_url=self.stack.api_url, headers=headers, timeout=60, trust_env=False)

    @contextmanager
    def refusing(self, reply: Reply) -> Iterator[None]:
        """Within, the model answers nothing else."""
        self.reply = reply
        try:
            yield
        finally:
            self.reply = None

    def meta(self, event_id: str) -> dict[str, Any]:
        """The job's META."""
        key = {"pk": {"S": f"JOB#{event_id}"}, "sk": {"S": "META"}}
        found: dict[str, Any] = self.stack.client("dynamodb").get_item(TableName=self.stack.table, Key=key)["Item"]
        return found

    def functions(self) -> dict[str, str]:
        """The physical names of the functions, by those of the template."""
        names = [f["FunctionName"] for f in self.stack.client("lambda").list_functions()["Functions"]]
        return {re.sub(r"^jobchain-(\w+)-\w+$", r"\1", name): name for name in names}

    @contextmanager
    def with_table(self, function: str, table: str) -> Iterator[None]:
        """Within, a function has another table's name in its environment."""
        client, name = self.stack.client("lambda"), self.functions()[function]
        before = client.get_function_configuration(FunctionName=name)["Environment"]
        changed = {"Variables": {**before["Variables"], "TABLE_NAME": table}}
        if not table:
            del changed["Variables"]["TABLE_NAME"]
        client.update_function_configuration(FunctionName=name, Environment=changed)
        try:
            yield
        finally:
            client.update_function_configuration(FunctionName=name, Environment=before)


@pytest.fixture(scope="module")
def deployed() -> Iterator[Deployed]:
    with ModelServer(offline=True) as model:
        settings = Settings(openai_base_url=model.base_url, auth_mode="api_key")
        parameters = {"WorkerTimeoutSeconds": "30", "FirstBackoffSeconds": "1"}
        with EmbeddedStack.start(settings, parameters=parameters) as stack:
            found = Deployed(stack)
            model.rule = lambda _call: found.reply
            yield found


@pytest.fixture
def jobchain(
    deployed: Deployed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Runs `jobchain` in a folder where the stack is announced as `make dev` does."""
    (tmp_path / ".local").mkdir()
    StackFile(tmp_path / ".local").write(deployed.stack)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(smoke_module, "_RETRY_SECONDS", 0.1)

    def run(*arguments: str) -> Said:
        code = main(arguments)
        return Said(code, *capsys.readouterr())

    return run


def post(http: httpx2.Client, **fields: Any) -> str:
    event_id: str = http.post("/jobs", json={"input_text": TEXT, **fields}).raise_for_status().json()["event_id"]
    return event_id


def status(http: httpx2.Client, event_id: str) -> str:
    found: str = http.get(f"/jobs/{event_id}").raise_for_status().json()["status"]
    return found


def until(http: httpx2.Client, event_id: str, wanted: str) -> None:
    poll(lambda: status(http, event_id) == wanted)


# --- smoke -----------------------------------------------------------------------------------------------------------


def test_smoke_runs_a_job_and_leaves_nothing(deployed: Deployed, jobchain: Run) -> None:
    said = jobchain("smoke")

    assert said.code == 0, said.err
    assert said.out.endswith("The stack jobchain works.\n")
    assert "It completed in" in said.out
    assert "3 calls" in said.out
    (event_id,) = re.findall(r"Job (\S+) was accepted", said.out)
    with deployed.caller("smoke-test") as http:
        assert http.get(f"/jobs/{event_id}").status_code == 404
        # The key of this very look is the only one that is left.
        assert len(deployed.keys.list("smoke-test")) == 1


@pytest.mark.thorough
def test_smoke_finds_a_stack_by_its_name(
    deployed: Deployed, jobchain: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given the variables of `make aws-env`, and no announced stack
    (tmp_path / ".local" / "stack.json").unlink()
    monkeypatch.setenv("AWS_ENDPOINT_URL", deployed.stack.endpoint_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", deployed.stack.credentials.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", deployed.stack.credentials.secret_key)

    assert jobchain("smoke", "--stack", "jobchain").code == 0
    missing = jobchain("smoke", "--stack", "jobchian")

    assert (missing.code, missing.err) == (
        1,
        "jobchain: there is no stack jobchian in us-east-1: correct --stack, or set AWS_DEFAULT_REGION and AWS_PROFILE "
        "to where it was deployed\n",
    )


@pytest.mark.thorough
def test_smoke_says_that_the_api_is_not_reachable(jobchain: Run) -> None:
    said = jobchain("smoke", "--url", "http://127.0.0.1:9/v1")

    assert said.code == 1
    assert "GET /health: " in said.err
    assert "http://127.0.0.1:9/v1 is not reachable from here" in said.err


@pytest.mark.thorough
@pytest.mark.parametrize("url", ["ftp://example.com", "http://[", "example"])
def test_smoke_names_a_url_that_is_none(jobchain: Run, url: str) -> None:
    said = jobchain("smoke", "--url", url)

    assert said.code == 2
    assert "--url" in said.err


@pytest.mark.thorough
def test_smoke_names_a_proxy_that_cannot_be_used(jobchain: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "ftp://proxy.example.com")

    said = jobchain("smoke", "--url", "https://api.example.com/v1")

    assert (said.code, "HTTPS_PROXY" in said.err) == (2, True)


@pytest.mark.thorough
def test_smoke_says_that_the_key_is_refused(jobchain: Run) -> None:
    said = jobchain("smoke", "--api-key", "jc_unknown")

    assert said.code == 1
    assert "the API refuses the key: give another one with --api-key" in said.err
    assert "jc_unknown" not in said.out + said.err


@pytest.mark.thorough
def test_smoke_sends_no_key_of_the_environment(jobchain: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a key that is meant for another stack
    monkeypatch.setenv("JOBCHAIN_API_KEY", "jc_of-another-stack")

    assert jobchain("smoke").code == 0


@pytest.mark.thorough
def test_smoke_says_that_the_workers_are_paused(jobchain: Run) -> None:
    jobchain("pause")
    said = jobchain("smoke")
    jobchain("resume")

    assert said.code == 1
    assert "no worker: FlexWorkerFunction and WorkerFunction take no messages. Run `jobchain resume`" in said.err


@pytest.mark.thorough
def test_smoke_names_the_log_of_a_request_that_the_api_could_not_answer(deployed: Deployed, jobchain: Run) -> None:
    with deployed.with_table("ApiFunction", "missing"):
        said = jobchain("smoke")

    assert said.code == 1
    (request_id,) = re.findall(r"`jobchain logs (\S+)` shows why", said.err)
    lines = poll(lambda: jobchain("logs", request_id).out)
    assert re.search(r"  api +INFO +request  route=/health method=GET status=500 ", lines)


@pytest.mark.thorough
def test_smoke_says_where_to_look_if_the_api_function_does_not_start(deployed: Deployed, jobchain: Run) -> None:
    with deployed.with_table("ApiFunction", ""):
        said = jobchain("smoke")

    assert said.code == 1
    assert "the api function did not answer: `jobchain logs --errors --since 15m` shows why" in said.err


@pytest.mark.thorough
def test_smoke_says_why_the_job_failed(deployed: Deployed, jobchain: Run) -> None:
    with deployed.refusing(refused(400)):
        said = jobchain("smoke")

    assert said.code == 3
    assert "the job failed: model_request_refused: " in said.err


@pytest.mark.thorough
def test_smoke_that_is_interrupted_removes_its_job_and_its_key(
    deployed: Deployed, jobchain: Run, tmp_path: Path
) -> None:
    # given a model that does not answer for now, so that the job waits
    known = deployed.keys.list("smoke-test")
    command = [sys.executable, "-m", "jobchain_cli", "smoke"]
    with deployed.refusing(SERVER_ERROR), subprocess.Popen(command, cwd=tmp_path, stdout=PIPE, text=True) as running:
        assert running.stdout
        event_id = next(line for line in running.stdout if "was accepted" in line).split()[2]

        # when it is interrupted
        running.send_signal(signal.SIGINT)
        code = running.wait(LIMIT)

    # then
    assert code == 130
    with deployed.caller("smoke-test") as http:
        assert http.get(f"/jobs/{event_id}").status_code == 404
    assert len(deployed.keys.list("smoke-test")) == len(known) + 1


# --- pause -----------------------------------------------------------------------------------------------------------


def test_paused_workers_take_no_jobs_until_they_are_resumed(deployed: Deployed, jobchain: Run) -> None:
    with deployed.caller("acme") as http:
        # given
        first, again = jobchain("pause"), jobchain("pause")
        assert (first.code, again.code) == (0, 0)
        assert "WorkerFunction was enabled, and is disabled." in first.out
        assert "WorkerFunction is disabled already." in again.out
        assert "jobchain resume" in first.out

        # when jobs come
        ids = [post(http), post(http, tier="flex")]

        # then they wait, whatever the sweeper sends
        jobchain("sweep")
        assert [status(http, event_id) for event_id in ids] == ["pending", "pending"]

        # when the workers are resumed
        resumed = jobchain("resume")
        assert "FlexWorkerFunction was disabled, and is enabled." in resumed.out
        assert "FlexWorkerFunction is enabled already." in jobchain("resume").out

        # then they run
        for event_id in ids:
            until(http, event_id, "completed")


# --- retry -----------------------------------------------------------------------------------------------------------


def test_failed_jobs_of_all_tenants_are_retried_at_once(
    deployed: Deployed, jobchain: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given failed jobs of two tenants, one of which has a daily budget
    budget = Limits(tokens_per_day=1_000_000, jobs_per_minute=1)
    with deployed.caller("retried-a", budget) as one, deployed.caller("retried-b") as other:
        with deployed.refusing(refused(400)):
            jobs = [(one, post(one)), (other, post(other)), (other, post(other))]
            for http, event_id in jobs:
                until(http, event_id, "failed")

        # when they are only looked for
        dry = jobchain("retry", "--failed", "--since", "1h", "--dry-run")

        # then nothing changes
        assert dry.code == 0
        assert re.search(r"^model_request_refused +retried-b +2$", dry.out, re.MULTILINE)
        assert [status(http, event_id) for http, event_id in jobs] == ["failed"] * 3

        # when there are more than may be retried without a question, and no terminal to ask on
        monkeypatch.setattr(incidents, "UNASKED", 1)
        unasked = jobchain("retry", "--failed", "--since", "1h", "--tenant", "retried-b")

        # then it is refused
        assert (unasked.code, "retry 2 failed jobs? Without a terminal to confirm on, give --yes" in unasked.err) == (
            2,
            True,
        )
        assert [status(http, event_id) for http, event_id in jobs] == ["failed"] * 3

        # when they are retried, of this type alone
        none = jobchain(
            "retry", "--failed", "--since", "1h", "--tenant", "retried-a", "--type", "unusable_answer", "--yes"
        )
        assert "Of other types: 1 model_request_refused." in none.out
        done = jobchain("retry", "--failed", "--since", "1h", "--type", "model_*", "--tenant", "retried-a", "--json")
        more = jobchain("retry", "--failed", "--since", "1h", "--tenant", "retried-b", "--yes")

        # then each runs, and keeps its daily budget
        assert (done.code, more.code) == (0, 0), done.err + more.err
        assert json.loads(done.out) == {
            "event_id": jobs[0][1],
            "tenant": "retried-a",
            "job_name": "guideline_checklist",
            "outcome": "retried",
        }
        assert "2 jobs retried." in more.err
        for http, event_id in jobs:
            until(http, event_id, "completed")
        assert deployed.meta(jobs[0][1])["tokens_per_day"] == {"N": "1000000"}


# --- logs ------------------------------------------------------------------------------------------------------------


def test_logs_shows_one_job_across_all_functions(deployed: Deployed, jobchain: Run) -> None:
    with deployed.caller("acme") as http:
        event_id, other = post(http), post(http)
        until(http, event_id, "completed")
        until(http, other, "completed")
    poll(lambda: "job completed" in jobchain("logs", event_id).out)

    said = jobchain("logs", event_id)
    lines = [json.loads(line) for line in jobchain("logs", event_id, "--json").out.splitlines()]

    assert said.code == 0
    assert {line["service"] for line in lines} == {"api", "worker"}
    assert {line["event_id"] for line in lines} == {event_id}
    times = [datetime.fromisoformat(line["timestamp"]) for line in lines]
    assert times == sorted(times)
    assert lines[0]["message"] == "request"
    assert len(said.out.splitlines()) == len(lines)
    assert re.search(
        r"^[-\d]{10} [:.\d]{12}  worker +INFO +step completed  claim=1 step=summary ", said.out, re.MULTILINE
    )


@pytest.mark.thorough
def test_logs_shows_the_errors_of_all_functions(deployed: Deployed, jobchain: Run) -> None:
    # given a message that no worker can read
    deployed.stack.client("sqs").send_message(QueueUrl=deployed.stack.queue_url, MessageBody="hello")

    poll(lambda: "record failed" in jobchain("logs", "--errors", "--since", "1m").out)
    said = jobchain("logs", "--errors", "--json")

    assert {json.loads(line)["level"] for line in said.out.splitlines()} == {"ERROR"}
    assert re.fullmatch(r"\d+ errors? since .*Z\.\n", said.err)


@pytest.mark.thorough
@pytest.mark.parametrize("arguments", [(), (NO_JOB, "--errors")])
def test_logs_takes_a_job_or_errors(jobchain: Run, arguments: tuple[str, ...]) -> None:
    said = jobchain("logs", *arguments)

    assert (said.code, "or give --errors" in said.err) == (2, True)


@pytest.mark.thorough
def test_logs_of_no_job_says_how_far_it_looked(jobchain: Run) -> None:
    said = jobchain("logs", NO_JOB)

    assert (said.code, said.out) == (1, "")
    assert f"has {NO_JOB}" in said.err
    assert "--since" in said.err


# --- letters ---------------------------------------------------------------------------------------------------------


def test_dead_letters_are_listed_dropped_and_redriven(deployed: Deployed, jobchain: Run) -> None:
    # given the letters of a job that has completed, of one that does not exist, and one that names none
    sqs, url = deployed.stack.client("sqs"), deployed.stack.dead_letter_url
    with deployed.caller("acme") as http:
        event_id = post(http)
        until(http, event_id, "completed")
    for body in (json.dumps({"event_id": event_id}), json.dumps({"event_id": NO_JOB}), "hello"):
        sqs.send_message(QueueUrl=url, MessageBody=body)

    # when they are listed, twice
    first, said = jobchain("letters", "list"), jobchain("letters", "list")
    letters = [json.loads(line) for line in jobchain("letters", "list", "--json").out.splitlines()]

    # then each has its job's status, and stays where it is
    assert re.search(rf"^{event_id} +completed +- +0 min +\d+$", first.out, re.MULTILINE)
    assert "3 dead letters." in said.err
    assert {letter["event_id"]: letter["job"] for letter in letters} == {
        event_id: "completed",
        NO_JOB: "no job",
        None: "malformed",
    }
    (malformed,) = (letter["message_id"] for letter in letters if letter["event_id"] is None)

    # when one is dropped
    unasked = jobchain("letters", "drop", malformed)
    unknown = jobchain("letters", "drop", "0000", "--yes")
    dropped = jobchain("letters", "drop", malformed, "--yes")

    # then not without a confirmation
    assert (unasked.code, "give --yes" in unasked.err) == (2, True)
    assert (unknown.code, "no dead letter is named 0000" in unknown.err) == (1, True)
    assert (dropped.code, dropped.out) == (0, "1 dead letter dropped.\n")

    # when the rest is redriven
    redriven = jobchain("letters", "redrive")

    # then workers acknowledge them
    assert redriven.out == "2 dead letters were moved back to the queue.\n"
    assert jobchain("letters", "drop", "--all", "--yes").out == "0 dead letters dropped.\n"
    poll(lambda: "job not found, message acknowledged" in jobchain("logs", NO_JOB).out)
    assert jobchain("letters", "list").err == "0 dead letters.\n"


# --- smoke, where later jobs are delayed ------------------------------------------------------------------------------


@pytest.mark.thorough
def test_smoke_says_what_a_worker_that_cannot_start_has_logged(deployed: Deployed, jobchain: Run) -> None:
    with deployed.with_table("WorkerFunction", ""):
        said = jobchain("smoke", "--timeout", "3")

    assert said.code == 5
    assert "no worker: none has claimed the job after 3 s" in said.err
    (event_id,) = re.findall(r"Job (\S+) was accepted", said.out)
    with deployed.caller("smoke-test") as http:
        assert http.get(f"/jobs/{event_id}").status_code == 404


@pytest.mark.thorough
def test_smoke_says_why_the_model_account_is_refused(deployed: Deployed, jobchain: Run) -> None:
    with deployed.refusing(refused(401)):
        said = jobchain("smoke", "--timeout", "60")

    assert said.code == 3
    assert "the model's server refuses the account" in said.err
