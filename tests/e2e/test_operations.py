"""What an operator does with a running stack: sweep it, and redrive its dead letters."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

from jobchain_cli.redrive import redrive
from local.stack import LocalStack
from tests.e2e.conftest import poll

State = Callable[[], dict[str, int]]


def test_dead_letters_go_back_into_the_queue(
    http: httpx2.Client, stack: LocalStack, finished: Callable[[str], dict[str, Any]], state: State
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


def test_the_sweeper_answers_what_it_did(stack: LocalStack) -> None:
    answer = stack.client("lambda").invoke(FunctionName=stack.sweeper)

    assert json.loads(answer["Payload"].read()).keys() == {"sent", "failed", "unfinished"}


def operate(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "jobchain_cli", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=50, check=False)


def test_the_commands_find_the_local_stack(stack: LocalStack, tmp_path: Path) -> None:
    (tmp_path / ".local").mkdir()
    parts = {
        "endpoint_url": stack.endpoint_url,
        "region": stack.region,
        "queue_url": stack.queue_url,
        "dead_letter_url": stack.dead_letter_url,
        "sweeper": stack.sweeper,
    }
    (tmp_path / ".local/stack.json").write_text(json.dumps(parts))

    swept, redriven = operate(tmp_path, "sweep"), operate(tmp_path, "redrive")

    assert (swept.returncode, json.loads(swept.stdout)["unfinished"]) == (0, False)
    assert (redriven.returncode, redriven.stdout) == (0, "0 dead letters are back in the queue.\n")


def test_without_a_stack_they_say_how_to_get_one(tmp_path: Path) -> None:
    answer = operate(tmp_path, "redrive")

    assert answer.returncode == 1
    assert "make dev" in answer.stderr
    assert "Traceback" not in answer.stderr
