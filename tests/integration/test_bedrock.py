"""A stack whose model is at Bedrock: its workers sign with their own credentials, and there is no key and no secret."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from botocore.credentials import Credentials

from local import emulator
from local import stack as local_stack
from local.settings import Settings
from local.stack import EmbeddedStack
from tests.e2e.conftest import FINAL, poll
from tests.fake_model.answers import outputs_of
from tests.fake_model.bedrock import FOUNDATION, PROFILE, BedrockServer
from tests.fake_model.signatures import Signatures
from tests.integration.test_least_privilege import BOOT, resource


@pytest.fixture(scope="module")
def bedrock() -> Iterator[BedrockServer]:
    with BedrockServer(Signatures(), ends={FOUNDATION: "2099-03-01T00:00:00Z"}) as server:
        yield server


@pytest.fixture(scope="module")
def stack(bedrock: BedrockServer) -> Iterator[EmbeddedStack]:
    """A stack whose every call of AWS is checked by the functions' roles."""
    environment = local_stack._environment
    ours = {"OPENAI_API_KEY": "", "AUTH": "true"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_stack, "_environment", lambda settings: {**environment(settings), **ours})
        patch.setattr(emulator, "_BOOT", BOOT.format("own") + emulator._BOOT)
        parameters = {"ModelProvider": "bedrock", "OpenAIModel": PROFILE, "OpenAIBaseUrl": bedrock.base_url}
        with EmbeddedStack.start(Settings(), parameters=parameters) as stack:
            for function in ("WorkerFunction", "FlexWorkerFunction"):
                bedrock.signatures.accept(role_of(stack, function))
            yield stack


def role_of(stack: EmbeddedStack, function: str) -> Credentials:
    """The temporary credentials that the emulator gives to a function for its role: it makes them of both names."""
    found = stack.client("lambda").get_function_configuration(FunctionName=resource(stack, function))
    digest = hashlib.sha256(f"{found['FunctionArn']}:{found['Role']}".encode()).hexdigest()
    secret, token = (hashlib.sha256(f"{part}:{digest}".encode()).hexdigest() for part in ("secret", "token"))
    return Credentials(f"ASIA{digest[:16].upper()}", secret, token)


@pytest.fixture(scope="module")
def http(stack: EmbeddedStack) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=stack.api_url, timeout=60, trust_env=False) as client:
        yield client


def finished(http: httpx2.Client, text: str) -> dict[str, Any]:
    """A new job with this text, at its end."""
    event_id = http.post("/jobs", json={"input_text": text}).raise_for_status().json()["event_id"]

    def look() -> Any:
        job = http.get(f"/jobs/{event_id}").raise_for_status().json()
        return job if job["status"] in FINAL else None

    found: dict[str, Any] = poll(look, limit_seconds=120)
    return found


def test_a_job_runs_by_calls_that_the_role_of_its_worker_has_signed(
    stack: EmbeddedStack, http: httpx2.Client, bedrock: BedrockServer
) -> None:
    job = finished(http, "job-7 has rules.")

    assert job["status"] == "completed", job["error"]
    assert job["result"]["summary"] == outputs_of("job-7")["summary"]
    assert bedrock.unsigned == []
    assert bedrock.paths.count("/openai/v1/responses") == 3


def test_the_check_of_the_model_asks_the_control_plane(stack: EmbeddedStack, http: httpx2.Client) -> None:
    answer = stack.client("lambda").invoke(
        FunctionName=resource(stack, "WorkerFunction"), Payload=json.dumps({"check": "model"})
    )

    assert json.load(answer["Payload"])["known"] is True
    assert http.get("/health").raise_for_status().json()["model"]["shutdown_date"] == "2099-03-01"


def test_jobs_wait_while_the_role_is_refused(stack: EmbeddedStack, http: httpx2.Client, bedrock: BedrockServer) -> None:
    bedrock.signatures.accepted.clear()

    event_id = http.post("/jobs", json={"input_text": "job-8 has rules."}).raise_for_status().json()["event_id"]

    def account() -> Any:
        waiting = http.get(f"/jobs/{event_id}").json()["waiting_for"]
        return waiting if waiting and waiting["reason"] == "account" else None

    assert "(it answered 403)" in poll(account, limit_seconds=120)["detail"]
    # The api looks at the same account as the worker, once in five seconds.
    poll(lambda: http.get("/health").json()["status"] == "degraded", limit_seconds=60)
