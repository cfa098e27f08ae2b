"""What an operator does with a running stack: sweep it, redrive its dead letters, and hand out keys."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from jobchain_cli.redrive import redrive
from local.dev import StackFile
from local.settings import Settings
from local.stack import EmbeddedStack
from tests.e2e.conftest import LIMIT, poll

State = Callable[[], dict[str, int]]


def test_dead_letters_go_back_into_the_queue(
    http: httpx2.Client, stack: EmbeddedStack, finished: Callable[[str], dict[str, Any]], state: State
) -> None:
    # given a job whose message is among the dead letters
    sqs = stack.client("sqs")
    event_id = http.post("/jobs", json={"input_text": "Doors must be locked."}).json()["event_id"]
    finished(event_id)
    sqs.send_message(
        QueueUrl=stack.dead_letter_url, MessageBody=json.dumps({"event_id": event_id}), MessageGroupId="local"
    )

    # when they are redriven
    moved = redrive(sqs, stack.dead_letter_url, stack.queue_url)

    # then it is with the workers again, who find nothing left to do
    assert moved == 1
    assert state()["dead letters ApproximateNumberOfMessages"] == 0
    poll(lambda: not any(count for name, count in state().items() if name.startswith("queue")))
    assert finished(event_id)["attempts"] == 1


@contextmanager
def workers_paused(stack: EmbeddedStack) -> Iterator[None]:
    """Within, messages stay in the queue; afterwards, one that is not acknowledged comes back after a second."""
    sqs, functions = stack.client("sqs"), stack.client("lambda")
    sources = [source["UUID"] for source in functions.list_event_source_mappings()["EventSourceMappings"]]
    names: Any = ["VisibilityTimeout"]
    before = sqs.get_queue_attributes(QueueUrl=stack.queue_url, AttributeNames=names)["Attributes"]
    for source in sources:
        functions.update_event_source_mapping(UUID=source, Enabled=False)
    try:
        yield
        sqs.set_queue_attributes(QueueUrl=stack.queue_url, Attributes={"VisibilityTimeout": "1"})
        for source in sources:
            functions.update_event_source_mapping(UUID=source, Enabled=True)
        depths = ("", "NotVisible", "Delayed")
        counts: Any = [f"ApproximateNumberOfMessages{depth}" for depth in depths]

        def handled() -> bool:
            found = sqs.get_queue_attributes(QueueUrl=stack.queue_url, AttributeNames=counts)["Attributes"]
            return not any(int(found[name]) for name in counts)

        poll(handled)
    finally:
        for source in sources:
            functions.update_event_source_mapping(UUID=source, Enabled=True)
        sqs.set_queue_attributes(QueueUrl=stack.queue_url, Attributes=before)


@pytest.mark.parametrize("batch", [False, True], ids=["one by one", "as a batch"])
@pytest.mark.parametrize("deleted", [False, True], ids=["cancelled", "cancelled and deleted"])
def test_a_caller_who_ends_jobs_before_a_worker_gets_their_messages_leaves_no_dead_letters(
    http: httpx2.Client,
    stack: EmbeddedStack,
    state: State,
    finished: Callable[[str], dict[str, Any]],
    batch: bool,
    deleted: bool,
) -> None:
    bodies = [{"input_text": f"Rule {number} must be kept."} for number in range(3)]
    with workers_paused(stack):
        # given jobs whose messages wait in the queue
        if batch:
            answer = http.post("/jobs/batch", json={"jobs": bodies}).raise_for_status().json()
            ids = [result["event_id"] for result in answer["results"]]
        else:
            ids = [http.post("/jobs", json=body).raise_for_status().json()["event_id"] for body in bodies]
        # when their caller ends all but the last
        for event_id in ids[:-1]:
            http.post(f"/jobs/{event_id}/cancel").raise_for_status()
            if deleted:
                http.delete(f"/jobs/{event_id}").raise_for_status()

    # then the workers acknowledge every message, and run the job that is left
    assert state()["dead letters ApproximateNumberOfMessages"] == 0
    assert finished(ids[-1])["status"] == "completed"


def test_the_sweeper_answers_what_it_did(stack: EmbeddedStack) -> None:
    answer = stack.client("lambda").invoke(FunctionName=stack.sweeper)

    told = {"sent", "failed", "unfinished", "backlog", "oldest_due_seconds", "webhooks"}
    assert json.loads(answer["Payload"].read()).keys() == told


def operate(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "jobchain_cli", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=LIMIT, check=False)


def announce(stack: EmbeddedStack, folder: Path) -> None:
    (folder / ".local").mkdir()
    StackFile(folder / ".local").write(stack)


def test_the_commands_find_the_local_stack(stack: EmbeddedStack, tmp_path: Path) -> None:
    announce(stack, tmp_path)

    swept, redriven = operate(tmp_path, "sweep", "--json"), operate(tmp_path, "redrive")

    assert (swept.returncode, json.loads(swept.stdout)["unfinished"]) == (0, False)
    assert (redriven.returncode, redriven.stdout) == (0, "0 dead letters were moved back to the queue.\n")


def test_without_a_stack_they_say_how_to_get_one(tmp_path: Path) -> None:
    answer = operate(tmp_path, "redrive")

    assert answer.returncode == 1
    assert "make dev" in answer.stderr
    assert "Traceback" not in answer.stderr


def restart_api(stack: EmbeddedStack) -> None:
    """Has the next request meet a process of the api function that knows nothing yet."""
    client = stack.client("lambda")
    functions = client.list_functions()["Functions"]
    (name,) = (function["FunctionName"] for function in functions if "ApiFunction" in function["FunctionName"])
    client.update_function_configuration(FunctionName=name, MemorySize=2048)


@pytest.mark.thorough
def test_a_key_lets_in_until_it_is_revoked(tmp_path: Path) -> None:
    # given a stack that asks for keys, and one that an operator made
    with (
        EmbeddedStack.start(Settings(auth_mode="api_key")) as stack,
        httpx2.Client(base_url=stack.api_url, timeout=30, trust_env=False) as http,
    ):
        announce(stack, tmp_path)
        made = operate(tmp_path, "keys", "create", "--tenant", "acme", "--name", "Ana's laptop")
        key = made.stdout.removesuffix("\n")
        assert made.returncode == 0, made.stderr

        def post(**headers: str) -> httpx2.Response:
            return http.post("/jobs", json={"input_text": "Doors must be locked."}, headers=headers)

        # then it lets in, and what is not this key does not
        assert post(Authorization=f"Bearer {key}").status_code == 201
        refused = post()
        assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert refused.json()["type"] == "urn:jobchain:problem:unauthorized"
        assert post(Authorization=f"Bearer {key.swapcase()}").status_code == 401
        assert http.get("/health").status_code == 200

        # when it is revoked by the id that the list shows
        (row,) = operate(tmp_path, "keys", "list", "--tenant", "acme").stdout.splitlines()[1:]
        revoked = operate(tmp_path, "keys", "revoke", row.split()[0])

        # then a process that does not remember it refuses it at once
        assert revoked.returncode == 0, revoked.stderr
        restart_api(stack)
        assert "revoked" in post(Authorization=f"Bearer {key}").json()["detail"]
        assert "revoked 2" in operate(tmp_path, "keys", "list").stdout
