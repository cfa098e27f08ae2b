"""`make sam-api` and `make sam-invoke`: functions in containers, with the emulator's tables and queues."""

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.dev import credentials_of
from local.emulator_clients import Clients
from tests.conftest import ROOT
from tests.e2e.conftest import poll
from tests.targets.conftest import START_LIMIT, answers, api, port, python, result, run, running, say, submit

# Each sample, its function, and what the answer holds.
SAMPLES = {
    "api_get_job.json": ("ApiFunction", '"statusCode": 404'),
    "api_health.json": ("ApiFunction", '"statusCode": 200'),
    "api_post_job.json": ("ApiFunction", '"statusCode": 201'),
    "schedule_model_check.json": ("WorkerFunction", ""),
    # Its job does not exist, so the message is acknowledged.
    "sqs_job.json": ("WorkerFunction", '{"batchItemFailures": []}'),
    "web_docs.json": ("WebFunction", '"statusCode": 200'),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with a `.local` of its own, so that a `make dev` of the developer's is not touched."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("template.yaml", "functions", "layers", "events", ".aws-sam", ".venv-sam"):
        (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.fixture(scope="module")
def dev(project: Path, docker: str) -> Iterator[dict[str, Any]]:
    """What a `make dev` says about its stack, whose queues feed no function: their messages stay for these tests."""
    with running(python("-m", "local", "dev", "--port", port()), cwd=project):
        file = project / ".local" / "stack.json"
        poll(file.exists, START_LIMIT)
        stack: dict[str, Any] = json.loads(file.read_text())
        functions = Clients(stack["endpoint_url"], credentials=credentials_of(stack)).get("lambda")
        for source in functions.list_event_source_mappings()["EventSourceMappings"]:
            functions.update_event_source_mapping(UUID=source["UUID"], Enabled=False)
        say(f"the emulator: {stack['endpoint_url']}, its event sources off")
        yield stack


def test_a_job_posted_to_sam_is_run_by_a_worker_of_sam_and_read_through_sam(
    project: Path, dev: dict[str, Any], tmp_path: Path
) -> None:
    there = port()
    url = f"http://127.0.0.1:{there}"
    sqs = Clients(dev["endpoint_url"], credentials=credentials_of(dev)).get("sqs")
    with running(python("-m", "local", "sam-api", "--port", there), cwd=project), api(url) as client:
        poll(lambda: answers(url), START_LIMIT)
        event_id = submit(client)
        message = sqs.receive_message(QueueUrl=dev["queue_url"], MessageSystemAttributeNames=["All"])["Messages"][0]
        say(f"SQS: {message['Body']}")
        assert json.loads(message["Body"]) == {"event_id": event_id}
        event = json.loads((ROOT / "events" / "sqs_job.json").read_text())
        event["Records"][0] |= {"body": message["Body"], "receiptHandle": message["ReceiptHandle"]}
        (tmp_path / "event.json").write_text(json.dumps(event))

        said = run(
            python("-m", "local", "sam-invoke", "WorkerFunction", "--event", str(tmp_path / "event.json")), cwd=project
        )
        job = result(client, event_id)

    assert '{"batchItemFailures": []}' in said
    assert job["status"] == "completed"
    assert job["result"]["checklist"]


@pytest.mark.parametrize("sample", sorted(SAMPLES))
def test_a_sample_is_answered_by_its_function(project: Path, dev: dict[str, Any], sample: str) -> None:
    function, answer = SAMPLES[sample]

    said = run(python("-m", "local", "sam-invoke", function, "--event", f"events/{sample}"), cwd=project)

    assert answer in said
    assert "errorMessage" not in said


def test_every_sample_is_invoked() -> None:
    assert {path.name for path in (ROOT / "events").iterdir()} == set(SAMPLES)


def test_without_any_emulator_one_is_started_for_as_long_as_sam_runs(docker: str, tmp_path: Path) -> None:
    for name in ("template.yaml", "functions", "layers", "events", ".aws-sam", ".venv-sam"):
        (tmp_path / name).symlink_to(ROOT / name)

    command = python("-m", "local", "sam-invoke", "ApiFunction", "--event", "events/api_post_job.json")
    said = run(command, {"LOCALSTACK_PORT": port()}, cwd=tmp_path)

    assert re.search(r"Emulator +http://127.0.0.1:\d+, for as long as this runs", said)
    assert '"statusCode": 201' in said


def test_a_taken_port_is_named(project: Path, dev: dict[str, Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        said = run(python("-m", "local", "sam-api", "--port", str(number)), cwd=project, fails=True)

    assert f"port {number} of 127.0.0.1 is taken" in said
