"""The main job over real HTTP: gateway, api, table, queue, worker, model, and back."""

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from local import offline_model
from local.stack import EmbeddedStack
from tests.e2e.conftest import poll

ROOT = Path(__file__).parent.parent.parent
GUIDELINES = sorted((ROOT / "../shared/guidelines").glob("*-*.md")) or sorted((ROOT / "examples").glob("*.md"))

Finished = Callable[[str], dict[str, Any]]


def submit(http: httpx2.Client, text: str) -> str:
    answer = http.post("/jobs", json={"input_text": text})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["event_id"])


def words(text: str) -> str:
    """A text without its Markdown and white space, to find one text in another."""
    return re.sub(r"[\W_]+", " ", re.sub(r"\]\([^)]*\)", "]", text)).strip().lower()


def test_each_document_gives_its_own_result_out_of_its_own_text(http: httpx2.Client, finished: Finished) -> None:
    # given every document, all at once
    texts = {path.name: path.read_text(encoding="utf-8") for path in GUIDELINES}
    ids = {name: submit(http, text) for name, text in texts.items()}

    # when they are done
    jobs = {name: finished(event_id) for name, event_id in ids.items()}

    # then each has its own result, which can be found in its text
    assert {job["status"] for job in jobs.values()} == {"completed"}
    assert len({json.dumps(job["result"]) for job in jobs.values()}) == len(texts)
    for name, job in jobs.items():
        result = job["result"]
        source = words(texts[name])
        found = [item for item in result["checklist"] if words(item) in source]
        assert found, f"{name}: no item of the checklist is in the text"
        assert len(found) / len(result["checklist"]) > 0.9
        assert result["summary"]
        assert result["diagram"].startswith("flowchart TD\n")
        assert result["diagram"].count("-->") >= len(result["checklist"]) - 1


def test_a_finished_job_tells_of_its_steps_and_what_they_took(http: httpx2.Client, finished: Finished) -> None:
    job = finished(submit(http, "Doors must be locked at night. Windows should be closed."))

    assert [(step["name"], step["status"]) for step in job["steps"]] == [
        ("summary", "completed"),
        ("checklist", "completed"),
        ("diagram", "completed"),
    ]
    for step in job["steps"]:
        assert step["usage"]["input_tokens"] > 0
        assert re.fullmatch("[0-9a-f]{12}", step["prompt_version"])
        assert step["model"] == offline_model.MODEL, "which says that it is no GPT"
        assert step["cost_usd"] == 0, "it is free, which is not an unknown price"
        assert step["started_at"] <= step["finished_at"]
    assert job["attempts"] == 1
    assert job["created_at"] <= job["started_at"] <= job["finished_at"]
    assert job["error"] is None


def test_the_longest_text_goes_through_in_parts(http: httpx2.Client, finished: Finished) -> None:
    # given a text of 100,000 characters that begins and ends with rules of its own
    filler = "".join(f"## Chapter {n}\n\nPage {n} is about the weather of that year.\n\n" for n in range(2000))
    rules = "# Gates\n\nGates must be locked at noon.\n\n", "# Doors\n\nDoors must be locked at night."
    text = f"{rules[0]}{filler[: 100_000 - len(''.join(rules))]}{rules[1]}"
    assert len(text) == 100_000

    job = finished(submit(http, text))

    assert job["status"] == "completed"
    names = [step["name"] for step in job["steps"]]
    for step in ("summary", "checklist"):
        assert names.index(f"{step}.part01") < names.index(f"{step}.part02") < names.index(step)
    assert [name for name in names if "." not in name] == ["summary", "checklist", "diagram"]
    assert not any(name.endswith(".parts") for name in names)
    assert {step["status"] for step in job["steps"]} == {"completed"}
    assert {"Gates must be locked at noon.", "Doors must be locked at night."} <= set(job["result"]["checklist"])
    assert all(item["source_found"] for item in job["result"]["checklist_items"])


@pytest.mark.thorough
def test_twenty_documents_at_once_all_complete(
    http: httpx2.Client, finished: Finished, state: Callable[[], dict[str, int]]
) -> None:
    texts = [f"Rule {n} must be kept. Section {n} should be read by everyone." for n in range(20)]

    with ThreadPoolExecutor(20) as pool:
        ids = list(pool.map(lambda text: submit(http, text), texts))

    jobs = [finished(event_id) for event_id in ids]
    assert [job["status"] for job in jobs] == ["completed"] * 20
    assert all(f"Rule {n} must be kept." in job["result"]["summary"] for n, job in enumerate(jobs))
    # and every message is used up
    poll(lambda: state()["queue ApproximateNumberOfMessagesNotVisible"] == 0)
    assert state()["dead letters ApproximateNumberOfMessages"] == 0


def test_health_is_open_and_well(http: httpx2.Client) -> None:
    answer = http.get("/health")

    assert answer.status_code == 200
    known = {"status": "ok", "table": "ok", "queue": "ok", "breaker": "closed", "model": None}
    assert answer.json().items() >= known.items()
    assert answer.json().keys() - known.keys() == {"last_sweep_seconds", "oldest_due_seconds"}


def test_logs_are_json_with_the_ids_and_never_the_text(
    http: httpx2.Client, stack: EmbeddedStack, finished: Finished
) -> None:
    secret = "Xylophones must be tuned on Tuesdays"
    event_id = submit(http, f"{secret}.")
    finished(event_id)

    def lines_of_the_job() -> list[str]:
        logs = stack.client("logs")
        lines = [
            event["message"]
            for group in logs.describe_log_groups()["logGroups"]
            for event in logs.filter_log_events(logGroupName=group["logGroupName"])["events"]
        ]
        assert not any("ylophones" in line for line in lines)
        return [line for line in lines if event_id in line]

    lines = poll(lambda: (found := lines_of_the_job()) and any("job completed" in line for line in found) and found)
    steps = [entry for entry in map(json.loads, lines) if entry["message"] == "step completed"]
    assert {entry["step"] for entry in steps} == {"summary", "checklist", "diagram"}
    assert {(entry["tenant"], entry["event_id"]) for entry in steps} == {("local", event_id)}
    assert all(entry["request_id"] for entry in steps)


def test_a_text_in_another_script_goes_through_too(http: httpx2.Client, finished: Finished) -> None:
    job = finished(submit(http, "パスワードは十二文字以上でなければなりません。定期的に確認してください。"))

    assert job["status"] == "completed"
    assert "パスワード" in job["result"]["diagram"]
