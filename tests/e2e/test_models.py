"""A stack that asks its model by Chat Completions, next to the one that asks by the Responses API."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import httpx2
import pytest

from local import offline_model
from local.settings import Settings
from local.stack import EmbeddedStack
from tests.conftest import ROOT
from tests.e2e.conftest import FINAL, poll

pytestmark = pytest.mark.thorough

TEXT = "Doors must be locked at night. Windows should be closed. Never leave a key in a lock."


@pytest.fixture(scope="module")
def chat_stack() -> Iterator[EmbeddedStack]:
    settings = Settings(openai_api="chat", openai_model=offline_model.MODEL)
    with EmbeddedStack.start(settings) as stack:
        yield stack


@pytest.fixture
def chat(chat_stack: EmbeddedStack) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=chat_stack.api_url, timeout=30, trust_env=False) as client:
        yield client


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths by which the offline model, which runs in this process, is asked for answers."""
    paths: list[str] = []
    for path in ("/v1/responses", "/v1/chat/completions"):
        answer = offline_model._ANSWERS[path]

        def noted(request: Mapping[str, Any], path: str = path, answer: Any = answer) -> dict[str, Any]:
            paths.append(path)
            found: dict[str, Any] = answer(request)
            return found

        monkeypatch.setitem(offline_model._ANSWERS, path, noted)
    return paths


def run(http: httpx2.Client) -> dict[str, Any]:
    """The final job of the text."""
    event_id = http.post("/jobs", json={"input_text": TEXT}).raise_for_status().json()["event_id"]

    def final() -> dict[str, Any] | None:
        job: dict[str, Any] = http.get(f"/jobs/{event_id}").raise_for_status().json()
        return job if job["status"] in FINAL else None

    found: dict[str, Any] = poll(final)
    return found


def test_a_job_has_the_same_result_and_the_same_books_by_either_api(
    http: httpx2.Client, chat: httpx2.Client, asked: list[str]
) -> None:
    by_responses = run(http)
    assert set(asked) == {"/v1/responses"}
    asked.clear()
    by_chat = run(chat)
    assert set(asked) == {"/v1/chat/completions"}

    assert by_chat["status"] == by_responses["status"] == "completed"
    assert by_chat["result"] == by_responses["result"]
    assert by_chat["usage"] == by_responses["usage"]
    assert min(by_chat["usage"]["input_tokens"], by_chat["usage"]["output_tokens"]) > 0
    assert [step["usage"] for step in by_chat["steps"]] == [step["usage"] for step in by_responses["steps"]]
    assert {step["model"] for step in by_chat["steps"]} == {offline_model.MODEL}
    assert chat.get("/stats").json()["today"]["usage"] == by_chat["usage"]


def invoke_worker(stack: EmbeddedStack) -> Any:
    client = stack.client("lambda")
    names = [function["FunctionName"] for function in client.list_functions()["Functions"]]
    (worker,) = (name for name in names if "WorkerFunction" in name and "Flex" not in name)
    event = (ROOT / "events" / "schedule_model_check.json").read_bytes()
    answer = client.invoke(FunctionName=worker, Payload=event)
    assert "FunctionError" not in answer
    return json.loads(answer["Payload"].read())


def test_health_tells_what_the_worker_found_of_the_model(chat_stack: EmbeddedStack, chat: httpx2.Client) -> None:
    assert chat.get("/health").json()["model"] is None

    found = invoke_worker(chat_stack)

    assert found == {"model": offline_model.MODEL, "checked": True, "known": True, "days_left": None}
    # The api answers with what it has found for five seconds.
    told = poll(lambda: chat.get("/health").json()["model"])
    assert told == {"name": offline_model.MODEL, "known": True, "shutdown_date": None, "days_left": None}


def test_a_worker_that_has_looked_at_the_model_still_runs_jobs(chat_stack: EmbeddedStack, chat: httpx2.Client) -> None:
    invoke_worker(chat_stack)

    assert run(chat)["status"] == "completed"
