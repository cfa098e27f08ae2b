"""Steps that a person decides, on the whole stack: jobs wait without a worker, and go on by the command line."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from local import emulator
from local import stack as local_stack
from local.settings import Settings
from local.stack import EmbeddedStack
from tests.e2e.conftest import LIMIT, poll
from tests.e2e.test_cli import environment
from tests.integration.test_chain_packages import write_package
from tests.integration.test_least_privilege import BOOT

CHAIN = '''
from jobchain import Chain, Text

chain = Chain("letters")


@chain.ask
def draft(document: Text) -> str:
    """Write a letter about the document."""


@chain.approve(title="Review the letter")
def review(draft: str) -> str:
    return draft


@chain.code
def words(review: str) -> int:
    return len(review.split())
'''

Jobchain = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    folder = tmp_path_factory.mktemp("packages")
    write_package(folder / "letters", "letters", CHAIN)
    (folder / "chains.txt").write_text("./letters\n")
    environment = local_stack._environment
    # Each call of a function is checked against its own rights.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_stack, "_environment", lambda settings: {**environment(settings), "AUTH": "true"})
        patch.setattr(emulator, "_BOOT", BOOT.format("all") + emulator._BOOT)
        with EmbeddedStack.start(Settings(chains=str(folder / "chains.txt"))) as stack:
            yield stack


@pytest.fixture
def jobchain(stack: EmbeddedStack, tmp_path: Path) -> Jobchain:
    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "jobchain_cli", *arguments, "--url", stack.api_url]
        return subprocess.run(
            command, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=LIMIT, check=False
        )

    return run


def waiting(http: httpx2.Client) -> str:
    """The id of a job whose step waits for a decision."""
    request = {"job_name": "letters", "payload": {"document": "Doors must be locked. Keys must be returned."}}
    event_id: str = http.post("/jobs", json=request).raise_for_status().json()["event_id"]

    def waits() -> bool:
        job = http.get(f"/jobs/{event_id}").raise_for_status().json()
        return bool(job["waiting_for"] and job["waiting_for"]["reason"] == "approval")

    poll(waits)
    return event_id


def test_a_job_waits_without_a_message_and_goes_on_with_an_edit(
    http: httpx2.Client,
    jobchain: Jobchain,
    finished: Callable[[str], dict[str, Any]],
    state: Callable[[], dict[str, int]],
    tmp_path: Path,
) -> None:
    event_id = waiting(http)
    poll(lambda: not any(count for name, count in state().items() if name != "items"))
    shown = jobchain("show", event_id)
    assert "Review the letter: decide it with jobchain approve or jobchain reject" in shown.stdout, shown.stderr

    (tmp_path / "letter.txt").write_text("Four words of mine.\n")
    approved = jobchain("approve", event_id, "--edit", "letter.txt", "--by", "Mia")

    assert approved.returncode == 0, approved.stderr
    job = finished(event_id)
    assert (job["status"], job["result"]["review"], job["result"]["words"]) == ("completed", "Four words of mine.", 4)
    assert [step["approval"] and step["approval"]["by"] for step in job["steps"]] == [None, "Mia", None]
    assert job["calls"] == 1


def test_a_rejected_job_fails_and_asks_again_after_a_retry(
    http: httpx2.Client, jobchain: Jobchain, finished: Callable[[str], dict[str, Any]]
) -> None:
    event_id = waiting(http)
    assert jobchain("reject", event_id, "--comment", "too long").returncode == 0
    failed = http.get(f"/jobs/{event_id}").json()
    assert (failed["status"], failed["error"]["type"]) == ("failed", "approval_rejected")
    assert jobchain("approve", event_id).returncode == 1

    jobchain("retry", event_id)
    poll(lambda: (http.get(f"/jobs/{event_id}").json()["waiting_for"] or {}).get("reason") == "approval")
    assert json.loads(jobchain("approve", event_id, "--json").stdout)["event_id"] == event_id
    assert finished(event_id)["status"] == "completed"


def test_two_who_decide_otherwise_at_the_same_time_are_told_apart(http: httpx2.Client) -> None:
    event_id = waiting(http)
    path = f"/jobs/{event_id}/steps/review/decision"
    answers = [http.post(path, json={"decision": decision}) for decision in ("approve", "approve", "reject")]
    assert [answer.status_code for answer in answers] == [200, 200, 409]
    assert answers[2].json()["type"] == "urn:jobchain:problem:decided-already"


def test_a_step_without_a_decision_is_rejected_by_the_sweeper(http: httpx2.Client, stack: EmbeddedStack) -> None:
    # given a job whose time to decide is over
    event_id = waiting(http)
    client = stack.client("dynamodb")
    items = client.query(
        TableName=stack.table,
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": f"JOB#{event_id}"}},
    )["Items"]
    (parked,) = [item for item in items if item["sk"]["S"].startswith("PARKED#")]
    moved = {parked["sk"]["S"]: ("until", {"S": "2026-01-01T00:00:00.000Z"}), "META": ("due_at", {"N": "1"})}
    for sk, (attribute, past) in moved.items():
        client.update_item(
            TableName=stack.table,
            Key={"pk": {"S": f"JOB#{event_id}"}, "sk": {"S": sk}},
            UpdateExpression="SET #moved = :past",
            ExpressionAttributeNames={"#moved": attribute},
            ExpressionAttributeValues={":past": past},
        )
    late = http.post(f"/jobs/{event_id}/steps/review/decision", json={"decision": "approve"})
    assert late.status_code == 410

    # when the sweeper runs
    answer = stack.client("lambda").invoke(FunctionName=stack.sweeper)
    assert "FunctionError" not in answer, answer["Payload"].read()

    # then
    job = http.get(f"/jobs/{event_id}").json()
    assert (job["status"], job["error"]["type"]) == ("failed", "approval_rejected")
    approval = job["steps"][1]["approval"]
    assert (approval["decision"], approval["at_deadline"]) == ("reject", True)
