"""`jobchain replay` against a server of its own: what it asks for, when it stops, and what it says."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from jobchain_cli.__main__ import main
from jobchain_cli.errors import Code
from tests.jobs import raw_attempt, raw_job, raw_step

Replay = Callable[..., tuple[int, str, str]]

COST = 3 * 0.0001512
"""What a job costs: three steps."""


class Api:
    """An API with completed jobs. It forks them, and ends each fork at once as `ends` says; unless `refuses`."""

    def __init__(self) -> None:
        self.jobs = {
            f"job-{number}": raw_job(f"job-{number}", title=f"{number}.md", cost_usd=COST) for number in range(1, 5)
        }
        self.overrides = ["model", "effort", "prompt"]
        self.forks: list[tuple[str, dict[str, Any], str]] = []
        self.ends: Callable[[str], dict[str, Any]] = lambda _: {}
        self.refuses: Callable[[str], tuple[int, dict[str, Any]] | None] = lambda _: None
        self._lock = threading.Lock()

    def answer(self, method: str, path: str, body: Any, key: str) -> tuple[int, Any]:
        """The status and the body of an answer."""
        path, _, query = path.partition("?")
        parts = path.strip("/").split("/")
        if path == "/jobs":
            found = [job for job in self.jobs.values() if ("replay=" in query) == bool(job.get("forked_from"))]
            return 200, {"jobs": found, "next_cursor": None}
        if path == "/chains":
            steps = [{"name": "summary", "needs": []}, {"name": "checklist", "needs": ["summary"]}]
            steps.append({"name": "diagram", "needs": ["checklist"]})
            chain = {"name": "guideline_checklist", "description": "", "steps": steps, "payload_schema": {}}
            chain["overrides"] = self.overrides
            return 200, {"chains": [chain], "unusable": []}
        job = self.jobs.get(parts[1])
        if job is None:
            return 404, {"type": "urn:jobchain:problem:job-not-found", "status": 404, "detail": "there is no such job"}
        if method == "GET":
            return 200, job
        with self._lock:
            self.forks.append((parts[1], body, key))
            if refusal := self.refuses(parts[1]):
                return refusal
            event_id = f"fork-of-{parts[1]}"
            origin = {"event_id": parts[1], "from_step": body.get("from_step"), "replay": body["replay"]}
            own = {name: body.get(name) for name in ("model", "effort")}
            changes = {"forked_from": origin, "max_cost_usd": body["max_cost_usd"], **own, **self.ends(parts[1])}
            self.jobs[event_id] = {**job, "event_id": event_id, **changes}
        return 201, {"event_id": event_id, "status": "pending", "created_at": job["created_at"]}

    @property
    def budgets(self) -> list[Decimal]:
        """Those of the forks, in order."""
        return [Decimal(str(body["max_cost_usd"])) for _, body, _ in self.forks]


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def url(api: Api) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            key = self.headers.get("Idempotency-Key") or ""
            status, body = api.answer(self.command, self.path, json.loads(content) if content else None, key)
            said = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_POST = do_GET  # noqa: N815  # as the library calls it

        def log_message(self, *_arguments: Any) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def replay(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Replay:
    """Runs the command in an empty folder."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(["replay", "--url", url, *arguments])
        return code, *capsys.readouterr()

    return run


def failed(kind: str, message: str = "no", **more: Any) -> dict[str, Any]:
    return {"status": "failed", "error": {"type": kind, "message": message, "step": "summary"}, **more}


class TestAReplay:
    def test_forks_each_job_with_what_differs_and_a_part_of_the_budget(
        self, api: Api, replay: Replay, tmp_path: Path
    ) -> None:
        code, out, _ = replay("job-1", "job-2", "--model", "gpt-6-luna", "--effort", "high", "--max-cost-usd", "1")

        assert code == Code.DONE
        # They are sent at the same time.
        assert sorted(job for job, _, _ in api.forks) == ["job-1", "job-2"]
        for job, body, key in api.forks:
            replay_id = body.pop("replay")
            assert body == {"model": "gpt-6-luna", "effort": "high", "max_cost_usd": 0.5}
            assert key == f"{replay_id}:{job}"
        (page,) = tmp_path.glob("replay-*.html")
        assert out.splitlines()[0] == "Replay of 2 jobs of guideline_checklist"
        assert "By the checks: 0 worse, 0 mixed, 0 better, 2 same. The answer changed in 0 of 2." in out
        assert f"Spent ${2 * COST:.6f} of the budget of $1.0." in out
        assert out.splitlines()[-1] == f"Page: {page.name}"
        assert re.fullmatch(r"Dashboard: http://127.0.0.1:\d+/queue#/replays/[0-9a-f-]+", out.splitlines()[-2])

    def test_takes_the_newest_completed_jobs_of_a_chain(self, api: Api, replay: Replay) -> None:
        code, _, _ = replay("--chain", "guideline_checklist", "--last", "3", "--max-cost-usd", "1", "--json")

        assert code == Code.DONE
        assert sorted(job for job, _, _ in api.forks) == ["job-1", "job-2", "job-3"]

    def test_names_each_job_once(self, api: Api, replay: Replay) -> None:
        replay("job-1", "job-1", "--max-cost-usd", "1", "--json")

        assert len(api.forks) == 1

    def test_of_a_step_compares_the_numbers_of_that_step_alone(self, api: Api, replay: Replay) -> None:
        copied = {**raw_step("summary"), "copied": True, "started_at": None, "finished_at": None, "cost_usd": 0}
        again = {"steps": [copied, raw_step("checklist"), raw_step("diagram")], "cost_usd": 0.0001}
        api.ends = lambda _: again

        _, out, _ = replay("job-1", "--from", "checklist", "--max-cost-usd", "1", "--json")

        found = json.loads(out)
        assert api.forks[0][1]["from_step"] == "checklist"
        assert found["before"]["input_tokens"] == found["after"]["input_tokens"] == 2 * 812
        assert found["before"]["cost_usd"] == pytest.approx(2 * 0.0000504)

    def test_says_what_is_worse_and_by_which_check(self, api: Api, replay: Replay) -> None:
        def ends(job: str) -> dict[str, Any]:
            if job == "job-1":
                return failed("unusable_answer")
            if job == "job-2":
                return {"failed_attempts": [raw_attempt("summary", outcome="unusable_answer")]}
            return {"result": {**api.jobs[job]["result"], "summary": "Shorter."}} if job == "job-3" else {}

        api.ends = ends

        code, out, _ = replay("--last", "4", "--max-cost-usd", "1", "--json")

        assert code == Code.FAILED
        found = json.loads(out)
        assert [(job["title"], job["verdict"], job["reasons"]) for job in found["jobs"]] == [
            ("1.md", "worse", ["completed, then failed"]),
            ("2.md", "worse", ["answers that were rejected: 0, then 1"]),
            ("3.md", "same", []),
            ("4.md", "same", []),
        ]
        assert found["changed"] == 1

    def test_of_before_is_shown_again(self, api: Api, replay: Replay, tmp_path: Path) -> None:
        _, out, _ = replay("job-1", "job-2", "--max-cost-usd", "1", "--json")
        made = json.loads(out)

        code, out, _ = replay("--of", made["replay"], "--out", "page.html")

        assert code == Code.DONE
        assert "2 same" in out
        assert "Nothing was changed" in out
        assert "<article" in (tmp_path / "page.html").read_text()
        assert len(api.forks) == 2

    def test_of_before_tells_what_was_to_be_different(self, api: Api, replay: Replay) -> None:
        _, out, _ = replay("job-1", "job-2", "--model", "other", "--effort", "low", "--max-cost-usd", "1", "--json")

        _, out, _ = replay("--of", json.loads(out)["replay"])

        assert "model: other; effort: low." in out
        assert "Nothing was changed" not in out

    def test_leaves_jobs_out_that_were_deleted_since(self, api: Api, replay: Replay) -> None:
        _, out, _ = replay("job-1", "job-2", "--max-cost-usd", "1", "--json")
        del api.jobs["job-1"]

        _, out, err = replay("--of", json.loads(out)["replay"], "--json")

        assert [job["title"] for job in json.loads(out)["jobs"]] == ["2.md"]
        assert "fork-of-job-1: the job that it replays was deleted" in err

    def test_that_does_not_exist_can_not_be_shown_again(self, api: Api, replay: Replay) -> None:
        code, _, err = replay("--of", "r1", "--json")

        assert (code, err) == (Code.ERROR, "jobchain: there are no jobs of a replay r1\n")


class TestTheBudget:
    def test_ends_a_replay_whose_jobs_use_it_up(self, api: Api, replay: Replay) -> None:
        code, out, _ = replay("--last", "4", "--max-cost-usd", str(2.5 * COST), "--parallel", "1", "--json")

        found = json.loads(out)
        assert code == Code.ERROR
        assert len(api.forks) == 2
        assert found["spent_usd"] == pytest.approx(2 * COST)
        assert "is used up" in found["stopped"]
        assert [job["problem"] for job in found["jobs"]].count(found["stopped"]) == 2

    def test_is_kept_where_each_job_uses_all_that_it_may(self, api: Api, replay: Replay) -> None:
        api.ends = lambda _: {"cost_usd": float(api.budgets[-1])}

        _, out, _ = replay("--last", "4", "--max-cost-usd", "0.01", "--json")

        assert 2 <= len(api.forks) <= 4
        assert sum(api.budgets) <= Decimal("0.01")
        assert json.loads(out)["spent_usd"] == pytest.approx(float(sum(api.budgets)))

    def test_ends_a_replay_whose_jobs_get_too_little_for_a_call(self, api: Api, replay: Replay) -> None:
        api.ends = lambda _: failed("budget_exceeded", cost_usd=0, steps=[])

        code, out, _ = replay("--last", "4", "--max-cost-usd", "0.0006", "--json")

        assert code == Code.ERROR
        assert len(api.forks) == 1
        assert "is used up" in json.loads(out)["stopped"]

    def test_counts_a_job_of_unknown_cost_as_all_that_it_may_use(self, api: Api, replay: Replay) -> None:
        api.ends = lambda _: {"cost_usd": None}

        _, out, _ = replay("job-1", "job-2", "--max-cost-usd", "0.1", "--json")

        assert json.loads(out)["spent_usd"] == pytest.approx(0.1)


class TestAReplayStops:
    @pytest.mark.parametrize("status", [401, 403, 422])
    def test_where_what_is_asked_for_is_refused(self, api: Api, replay: Replay, status: int) -> None:
        problem = {"type": "urn:jobchain:problem:p", "status": status, "detail": "model: not allowed by the chain"}
        api.refuses = lambda _: (status, problem)

        code, out, _ = replay("--last", "4", "--model", "x", "--max-cost-usd", "1", "--parallel", "1", "--json")

        found = json.loads(out)
        assert (code, len(api.forks), found["spent_usd"]) == (Code.ERROR, 1, 0)
        assert "not allowed by the chain" in found["stopped"]

    def test_with_the_first_job_where_its_model_has_no_price(self, api: Api, replay: Replay) -> None:
        api.ends = lambda _: failed("budget_unknown", "no price", cost_usd=0)

        _, out, _ = replay("--last", "4", "--model", "unheard-of", "--max-cost-usd", "1", "--json")

        assert len(api.forks) == 1
        assert json.loads(out)["stopped"] == "budget_unknown: no price"

    def test_not_for_one_job_that_can_not_be_forked(self, api: Api, replay: Replay) -> None:
        problem = {"type": "urn:jobchain:problem:job-cannot-be-forked", "status": 409, "detail": "not completed"}
        api.refuses = lambda job: (409, problem) if job == "job-2" else None

        code, out, _ = replay("--last", "4", "--max-cost-usd", "1", "--json")

        found = json.loads(out)
        assert (code, len(api.forks), found["stopped"]) == (Code.ERROR, 4, None)
        (refused,) = [job for job in found["jobs"] if job["verdict"] == "not run"]
        assert refused["problem"].startswith("not completed")

    def test_waiting_for_jobs_that_take_too_long(self, api: Api, replay: Replay) -> None:
        api.ends = lambda _: {"status": "processing"}

        code, out, _ = replay("job-1", "--max-cost-usd", "1", "--timeout", "2", "--json")

        found = json.loads(out)
        assert code == Code.TIMEOUT
        assert found["jobs"][0]["problem"] == "it had not ended in time, and continues"


class TestADryRun:
    def test_tells_how_many_jobs_and_what_they_may_cost_and_makes_none(self, api: Api, replay: Replay) -> None:
        code, out, _ = replay("--last", "4", "--model", "us.openai.gpt-6-luna", "--dry-run")

        assert (code, api.forks) == (Code.DONE, [])
        assert out.splitlines()[0] == "4 jobs of guideline_checklist; 0 calls before."
        each = 3 * (812 * 0.11 + 140 * 0.55) / 1_000_000
        assert f"Expected cost: about ${4 * each:.6f}, for {12 * 812} tokens in and {12 * 140} out" in out

    def test_counts_only_the_steps_that_would_run(self, replay: Replay) -> None:
        _, out, _ = replay("job-1", "--from", "diagram", "--dry-run")

        assert "for 812 tokens in and 140 out" in out

    def test_says_where_the_budget_would_not_do(self, replay: Replay) -> None:
        _, out, _ = replay("--last", "4", "--max-cost-usd", "0.0002", "--dry-run")

        assert "more than --max-cost-usd 0.0002" in out

    def test_says_where_no_price_is_known(self, replay: Replay) -> None:
        _, out, _ = replay("job-1", "--model", "unheard-of", "--dry-run")

        assert "Expected cost: unknown" in out


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((), "name the jobs"),
        (("job-1", "--last", "3"), "name the jobs"),
        (("--chain", "a"), "name the jobs"),
        (("job-1", "--chain", "a", "--max-cost-usd", "1"), "--chain goes with --last"),
        (("job-1", "--prompt", "p.md", "--max-cost-usd", "1"), "--prompt goes with --from"),
        (("job-1", "--model", "m"), "--max-cost-usd is missing"),
        (("--of", "r", "--model", "m"), "--model does not go with --of"),
        (("job-1", "--max-cost-usd", "0"), "use a number of US dollars"),
        (("job-1", "--max-cost-usd", "nan"), "use a number of US dollars"),
        (("job-1", "--max-cost-usd", "1", "--out", "none/page.html"), "there is no folder none"),
        (("job-1", "--max-cost-usd", "1", "--from", "a", "--prompt", "none.md"), "none.md: No such file"),
    ],
)
def test_what_can_not_be_done_is_refused_before_anything_is_asked(
    api: Api, replay: Replay, arguments: tuple[str, ...], why: str
) -> None:
    code, _, err = replay(*arguments)

    assert (code, api.forks) == (Code.USAGE, [])
    assert why in " ".join(err.replace("│", "").split())


def test_what_the_chain_does_not_allow_is_refused_before_anything_is_run(api: Api, replay: Replay) -> None:
    api.overrides = ["effort"]

    code, out, err = replay("job-1", "--model", "other", "--dry-run")

    assert (code, out, api.forks) == (Code.USAGE, "", [])
    assert err == ("jobchain: the chain guideline_checklist allows jobs no model of their own: leave --model out\n")
    assert replay("job-1", "--effort", "low", "--dry-run")[0] == Code.DONE


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("job-9",), "there is no such job"),
        (("job-1", "job-2"), "job-2 is processing: only jobs that have ended"),
    ],
)
def test_jobs_that_can_not_be_compared_are_refused(
    api: Api, replay: Replay, arguments: tuple[str, ...], why: str
) -> None:
    api.jobs["job-2"]["status"] = "processing"

    code, _, err = replay(*arguments, "--max-cost-usd", "1")

    assert (code, api.forks) == (Code.ERROR, [])
    assert why in err


def test_a_prompt_is_read_from_a_file(api: Api, replay: Replay, tmp_path: Path) -> None:
    (tmp_path / "p.md").write_bytes(b"\xef\xbb\xbfDraw it.\n")

    replay("job-1", "--from", "diagram", "--prompt", "p.md", "--max-cost-usd", "1", "--json")

    assert api.forks[0][1]["prompt"] == "Draw it."


@pytest.mark.parametrize(("content", "why"), [(b" \n", "is empty"), (b"\xff", "not UTF-8"), (b"a" * 100_001, "most")])
def test_a_file_that_is_no_prompt_is_refused(
    api: Api, replay: Replay, tmp_path: Path, content: bytes, why: str
) -> None:
    (tmp_path / "p.md").write_bytes(content)

    code, _, err = replay("job-1", "--from", "diagram", "--prompt", "p.md", "--max-cost-usd", "1")

    assert (code, api.forks) == (Code.USAGE if why != "most" else Code.ERROR, [])
    assert why in err
