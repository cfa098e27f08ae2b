"""The comparison with Celery: what is counted under kills, and that the page claims no more than the numbers do."""

import json
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest

from benchmarks import __main__ as program
from benchmarks import comparison, goals, kills, model_server, reading
from benchmarks.model_server import ModelServer, StepCalls
from benchmarks.report import Fragment
from benchmarks.sides import DEFAULT, FORMS, HARDENED, OURS
from jobchain.chains import CHAINS
from jobchain.chains.chain import StepContext
from tests.conftest import ROOT
from tests.shipped import GuidelinePayload


def rates(ours: float, default: float, hardened: float) -> dict[str, list[float]]:
    return {OURS: [ours], DEFAULT: [default], HARDENED: [hardened]}


def outcome(jobs: int, completed: int, recovery: float = 1.0, failed: int = 0) -> dict[str, float]:
    lost = jobs - completed - failed
    return {"jobs": jobs, "completed": completed, "failed": failed, "unended": lost, "recovery": recovery}


# --- goals and claims --------------------------------------------------------------------------------


def verdicts(fragments: dict[str, Fragment]) -> list[str]:
    summary = goals.summary(fragments)
    assert summary is not None
    return [row.split("|")[-2].strip() for row in summary.body.splitlines() if row.startswith("|")][2:]


def test_a_goal_is_set_by_the_better_of_both_forms() -> None:
    assert verdicts({"20-throughput": Fragment("", "", data={"0.5": rates(30, 1, 60)})}) == ["missed"]
    assert verdicts({"20-throughput": Fragment("", "", data={"0.5": rates(60, 1, 60)})}) == ["reached"]
    assert verdicts({"40-cpu": Fragment("", "", data=rates(10, 12, 8))}) == ["missed"]
    assert verdicts({"50-first-post": Fragment("", "", data=rates(0.2, 0.6, 0.4))}) == ["reached"]


@pytest.mark.parametrize(("completed", "verdict"), [(300, "reached"), (299, "missed")])
def test_no_job_may_be_lost(completed: int, verdict: str) -> None:
    data = {OURS: outcome(300, completed), DEFAULT: outcome(24, 18), HARDENED: outcome(300, 300)}

    assert verdicts({"55-kills": Fragment("", "", data=data)}) == [verdict]


def test_nothing_is_claimed_where_a_side_was_not_measured() -> None:
    fragments = {"20-throughput": Fragment("", "", data={"0.5": {OURS: [30.0], DEFAULT: [1.0]}})}

    assert goals.summary(fragments) is None
    assert reading.summary(fragments) is None


def test_a_claim_names_the_faster_side_first_whichever_it_is() -> None:
    behind = reading.throughput({OURS: 30, DEFAULT: 1.5, HARDENED: 60}, 0.5)
    ahead = reading.throughput({OURS: 60, DEFAULT: 1.5, HARDENED: 30}, 0.5)

    assert "Jobchain runs 20.0 times as many jobs as Celery by default, which waits for one call" in behind
    assert behind.endswith("hardened Celery runs 2.00 times as many jobs as Jobchain.")
    assert ahead.endswith("Jobchain runs 2.00 times as many jobs as hardened Celery.")


def test_a_claim_about_kills_counts_all_sides_alike() -> None:
    ours, default, hardened = outcome(300, 298, failed=1), outcome(24, 18), outcome(300, 300, 38.2)

    assert reading.lost({OURS: ours, DEFAULT: default, HARDENED: hardened}) == (
        "Under `kill -9`, Jobchain lost 1 and failed 1 of 300 jobs, Celery by default lost 6 and failed 0 of 24 jobs "
        "and hardened Celery lost 0 and failed 0 of 300 jobs. Where all completed, seconds from the last kill until "
        "all were done: hardened Celery 38.2."
    )


def test_the_page_says_who_takes_least_cpu() -> None:
    summary = reading.summary({"40-cpu": Fragment("", "", data=rates(30, 14, 8))})

    assert summary is not None
    assert "Celery by default 14.0 and hardened Celery 8.00; hardened Celery takes least." in summary.body


def test_a_ratio_is_that_of_the_medians_to_the_named_form() -> None:
    measured = {OURS: [10.0, 30.0, 20.0], DEFAULT: [1.0, 2.0, 1.0], HARDENED: [40.0, 41.0, 39.0]}

    assert [comparison._ratio(measured, form) for form in FORMS] == ["20.0 ×", "0.500 ×"]


def test_a_run_of_our_side_alone_has_no_comparison(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--quick", "--only", "kills"])

    with pytest.raises(SystemExit):
        program.main()

    assert "--quick does not know kills: choose from jobs, latency" in capsys.readouterr().err


def test_the_hardened_form_runs_as_many_jobs_at_a_time_as_ours() -> None:
    pool = FORMS[HARDENED].pool
    each = int(pool[pool.index("--concurrency") + 1])

    assert FORMS[HARDENED].processes * (each - 1) < 100 <= FORMS[HARDENED].processes * each


def page_rows(title: str) -> dict[str, list[str]]:
    """The cells of a section's table on the published page, by the first of each line."""
    page = (ROOT / "docs" / "explanation" / "benchmarks.md").read_text(encoding="utf-8")
    section = page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    return {first: rest for first, *rest in rows[2:]}


def test_the_readme_says_of_celery_what_the_page_does() -> None:
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    ours, _, hardened, *_ = page_rows("Goals")["CPU per job, ms"]
    of_kills = page_rows("Jobs under kill -9").items()
    jobs = {name: (int(cells[0]), int(cells[2])) for name, cells in of_kills}
    lost = {name: int(cells[4]) for name, cells in of_kills}

    assert ("takes less CPU per job than Jobchain" in readme) == (float(hardened) < float(ours))
    assert "With its defaults Celery loses the jobs of a killed worker." in readme
    assert jobs[DEFAULT][1] < jobs[DEFAULT][0]
    # It may fail one that was killed again and again: that is its own rule.
    assert lost[HARDENED] == 0
    assert jobs[OURS][1] == jobs[OURS][0]


# --- what becomes of jobs ----------------------------------------------------------------------------


def test_each_request_of_a_job_bears_its_number() -> None:
    payload = GuidelinePayload(guidelines=kills.text(17))
    outputs: dict[str, Any] = {}
    for step in CHAINS["guideline_checklist"].calls:
        context = StepContext(payload, outputs)
        asked = step.request(context).input
        outputs[step.name] = step.read_answer(
            step.answer.model_validate(model_server.answer(step.answer.__name__, asked)), context
        )

        assert "oor 17 " in asked


@pytest.fixture
def model() -> Iterator[ModelServer]:
    with model_server.running() as model:
        yield model


def send(model: ModelServer, text: str) -> socket.socket:
    body = json.dumps({"input": text, "text": {"format": {"name": "SummaryAnswer"}}}).encode()
    connection = socket.create_connection(("127.0.0.1", urlsplit(model.url).port or 0))
    connection.sendall(b"POST /v1/responses HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    return connection


def calls(model: ModelServer, count: int) -> list[StepCalls]:
    deadline = time.monotonic() + 20
    while model.answered() < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return sorted(model.calls(), key=lambda one: one.job)


@pytest.mark.slow
def test_the_model_tells_answered_calls_from_those_whose_caller_was_gone(model: ModelServer) -> None:
    model.set_delay(0.5)
    with send(model, kills.text(1)), send(model, kills.text(1)):
        send(model, kills.text(2)).close()
        send(model, "A text without a number must be ignored.").close()

        found = calls(model, 4)

    assert found == [StepCalls(1, "SummaryAnswer", 2, 0), StepCalls(2, "SummaryAnswer", 0, 1)]


def test_jobs_without_an_end_are_lost_and_calls_of_killed_workers_are_counted() -> None:
    done = {"status": "completed", "finished_at": "1970-01-01T00:01:40+00:00"}
    failed, stuck = ({"status": status, "finished_at": None} for status in ("failed", "processing"))
    made = [StepCalls(1, "SummaryAnswer", 3, 0), StepCalls(2, "SummaryAnswer", 1, 2)]

    found = kills.judge([done, done, failed, stuck], made, [20.0, 70.0])

    assert found == kills.Outcome(jobs=4, completed=2, failed=1, unended=1, kills=2, cut=2, again=2, recovery=30.0)
    assert "| never |" in kills.fragment({DEFAULT: found}).body


@dataclass
class FakeSide:
    """A side whose API shows the jobs that it is given."""

    url: str
    jobs: list[dict[str, Any]]
    hopeless: bool = False
    processes: list[int] = field(default_factory=list)

    def running(self) -> list[int]:
        return self.processes

    def gave_up(self) -> bool:
        return self.hopeless

    def cpu_seconds(self) -> float:
        return 0.0

    def memory(self) -> int:
        return 0


@contextmanager
def serving(jobs: list[dict[str, Any]]) -> Iterator[FakeSide]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = json.dumps({"jobs": jobs}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield FakeSide(f"http://127.0.0.1:{server.server_port}", jobs)
        finally:
            server.shutdown()


def test_jobs_are_waited_for_until_all_have_ended() -> None:
    jobs = [{"status": "completed"}, {"status": "failed"}]
    with serving(jobs) as side:
        assert kills.wait(side, 2) == jobs


@pytest.mark.parametrize(("hopeless", "patience"), [(True, 600.0), (False, 0.0)])
def test_jobs_that_nothing_can_run_any_more_are_given_up(hopeless: bool, patience: float) -> None:
    with serving([{"status": "processing"}]) as side:
        side.hopeless = hopeless

        assert kills.wait(side, 1, patience, quiet_for=0) == [{"status": "processing"}]


@pytest.mark.slow
def test_a_process_that_runs_jobs_is_killed_when_the_model_has_answered_so_many_calls(model: ModelServer) -> None:
    command = [sys.executable, "-c", "input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as victim, serving([]) as side:
        side.processes = [victim.pid]
        with kills.killing(side, model, [2.0, 1000.0], random.Random(1)) as times:
            model_server.ask_many(model, 1, 1)
            assert not times
            model_server.ask_many(model, 1, 1)
            assert victim.wait(20) == -signal.SIGKILL

    assert len(times) == 1
