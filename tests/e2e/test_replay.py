"""`jobchain replay` against the whole stack: another model answers the same jobs, under one budget."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from jobchain.spending import Usage
from local.settings import Settings
from local.stack import EmbeddedStack
from tests.e2e.conftest import LIMIT, poll
from tests.e2e.test_cli import environment
from tests.fake_model.answers import content
from tests.fake_model.journal import Call
from tests.fake_model.replies import Reply, json_reply, output_text, response, usage_of_response
from tests.fake_model.server import ModelServer

OTHER = "us.openai.gpt-6-luna"
"""A model with a price of its own in prices.json: a tenth more."""

Replay = Callable[..., "subprocess.CompletedProcess[str]"]


def as_other_model(call: Call) -> Reply | None:
    """The answers of the other model: it says more, and to one job nothing that can be used."""
    request = json.loads(call.body)
    text = content(call.step, call.marker)
    if request["model"] == OTHER:
        text = "{}" if call.marker == "job-702" else text.replace("The summary of", "All that matters of")
    usage = usage_of_response(Usage(len(call.body) // 4, output_tokens=len(text) // 4))
    return json_reply("answer", response(output_text(text), model=request["model"], usage=usage))


@pytest.fixture(scope="module")
def model() -> Iterator[ModelServer]:
    with ModelServer() as server:
        server.rule = as_other_model
        yield server


@pytest.fixture(scope="module")
def stack(model: ModelServer) -> Iterator[EmbeddedStack]:
    with EmbeddedStack.start(Settings(openai_base_url=model.base_url)) as stack:
        yield stack


@pytest.fixture
def http(stack: EmbeddedStack) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=stack.api_url, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def done(stack: EmbeddedStack) -> list[str]:
    """Six jobs that have completed, the oldest first."""
    with httpx2.Client(base_url=stack.api_url, timeout=60, trust_env=False) as client:
        jobs = [{"input_text": f"About job-70{number}.", "title": f"{number}.md"} for number in range(6)]
        made = client.post("/jobs/batch", json={"jobs": jobs}).raise_for_status().json()["results"]
        ids = [job["event_id"] for job in made]
        poll(lambda: all(client.get(f"/jobs/{one}").json()["status"] == "completed" for one in ids))
    return ids


@pytest.fixture
def replay(stack: EmbeddedStack, tmp_path: Path) -> Replay:
    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "jobchain_cli", "replay", "--url", stack.api_url, *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=LIMIT, check=False
        )

    return run


def usage(http: httpx2.Client) -> Any:
    return http.get("/usage").raise_for_status().json()


def test_compares_the_newest_jobs_with_what_another_model_answers(
    http: httpx2.Client, model: ModelServer, done: list[str], replay: Replay, tmp_path: Path
) -> None:
    before, calls = usage(http), len(model.journal.calls())

    said = replay(
        *("--chain", "guideline_checklist", "--last", "6", "--model", OTHER, "--max-cost-usd", "0.5"),
        *("--json", "--out", "page.html"),
    )

    assert said.returncode == 3, said.stderr  # one of them fails with the other model
    found = json.loads(said.stdout)
    assert found["verdicts"] == {"worse": 1, "mixed": 0, "better": 0, "same": 5, "not ended": 0, "not run": 0}
    assert found["changed"] == 6
    assert (found["before"]["completed"], found["after"]["completed"]) == (6, 5)
    worst = found["jobs"][0]
    assert (worst["title"], worst["verdict"], worst["after"]["rejected"]) == ("2.md", "worse", 3)
    assert worst["after"]["error"].startswith("unusable_answer")
    assert {job["before"]["event_id"] for job in found["jobs"]} == set(done)
    assert all(job["after"]["models"] in ([OTHER], []) for job in found["jobs"])
    (summary,) = [part for part in found["jobs"][1]["parts"] if part["title"] == "Summary"]
    assert summary["changed"]
    assert re.sub("All that matters of", "The summary of", summary["after"]) == summary["before"]

    # What it cost is in the usage, and nothing else of it is in the tenant's numbers.
    after = usage(http)
    assert len(model.journal.calls()) == calls + 5 * 3 + 3
    assert (after["total"]["calls"], after["replays"]["calls"]) == (before["total"]["calls"] + 18, 18)
    assert after["replays"]["cost_usd"] == pytest.approx(found["spent_usd"], abs=1e-9)
    assert found["spent_usd"] == pytest.approx(found["after"]["cost_usd"], abs=1e-9)
    assert found["spent_usd"] < 0.5
    assert after["total"]["completed"] == before["total"]["completed"] == 6
    assert {job["event_id"] for job in http.get("/jobs").json()["jobs"]} == set(done)
    ours = http.get("/jobs", params={"replay": found["replay"]}).json()["jobs"]
    assert {job["forked_from"]["event_id"] for job in ours} == set(done)
    assert sum(job["max_cost_usd"] for job in ours) >= found["spent_usd"]

    page = (tmp_path / "page.html").read_text()
    assert "<del>The summary</del> of job-700." in page
    assert "<ins>All that matters</ins> of job-700." in page
    assert page.count("<article") == 6

    # It can be looked at again.
    again = json.loads(replay("--of", found["replay"], "--json").stdout)
    assert again["settings"] == {"model": OTHER}
    assert (again["verdicts"], again["after"], again["jobs"][0]) == (found["verdicts"], found["after"], worst)


def test_makes_no_more_jobs_once_the_budget_is_used_up(http: httpx2.Client, done: list[str], replay: Replay) -> None:
    before = usage(http)["replays"]["cost_usd"]

    told = replay(*done, "--model", OTHER, "--dry-run")
    expected = float(re.findall(r"Expected cost: about \$([0-9.]+)", told.stdout)[0])
    said = replay(*done, "--model", OTHER, "--max-cost-usd", f"{expected / 2:.6f}", "--json")

    assert said.returncode in (1, 3), said.stderr
    found = json.loads(said.stdout)
    spent = usage(http)["replays"]["cost_usd"] - before
    assert spent == pytest.approx(found["spent_usd"], abs=1e-9)
    assert spent <= expected / 2
    assert "is used up" in found["stopped"]
    assert 0 < found["verdicts"]["not run"] < 6
    assert usage(http)["replays"]["cost_usd"] - before == pytest.approx(spent)


def test_runs_a_step_again_with_another_prompt(
    model: ModelServer, done: list[str], replay: Replay, tmp_path: Path
) -> None:
    (tmp_path / "prompt.md").write_text("Draw it with few words.\n", encoding="utf-8")
    calls = len(model.journal.calls())

    said = replay(*(done[0], done[1], "--from", "diagram", "--prompt", "prompt.md", "--max-cost-usd", "0.1", "--json"))

    assert said.returncode == 0, said.stderr
    found = json.loads(said.stdout)
    made = model.journal.calls()[calls:]
    assert [call.step for call in made] == ["diagram", "diagram"]
    assert all("Draw it with few words." in call.body for call in made)
    assert (found["before"]["calls"], found["after"]["calls"]) == (2, 2)
    assert found["verdicts"]["same"] == 2
    assert found["settings"] == {"prompt": "prompt.md", "from step": "diagram"}
