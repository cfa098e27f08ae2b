"""What the command line prints of a job's failed calls, of why it waits, and of estimates."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobchain_cli.watching import Board, Watched
from jobchain_cli.words import MAX_CALLS, job_lines, list_lines, source_lines, stats_lines
from jobchain_client import Job, Stats
from tests.jobs import USAGE, job_of, raw_attempt, raw_step

EVIL = "[red]a[/red]\x1b[2J\nb"
ESTIMATED = {"calls": 1, "input_tokens": 310, "output_tokens": 64, "cost_usd": 0.0004}


def waiting(seconds: float = 27.5, **fields: Any) -> dict[str, Any]:
    """What a job waits for, for `seconds` from now."""
    until = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
    return {"reason": "retry", "since": until, "until": until, "detail": "try 2: it answered 503", **fields}


def lines(job: Job) -> list[str]:
    """The lines of a job after the first two."""
    return [*job_lines(job)][2:]


def tried(**fields: Any) -> dict[str, Any]:
    """A step that is tried again."""
    return {**raw_step("checklist", "pending"), "failed_tries": 2, **fields}


class TestAJobThatWaits:
    def test_says_when_it_is_retried_and_why(self) -> None:
        (line, *_) = lines(job_of(status="pending", waiting_for=waiting()))

        assert line.startswith("  retrying automatically in 27 s (at 20")
        assert line.endswith(" UTC): try 2: it answered 503")

    def test_for_the_next_day_says_so(self) -> None:
        waits = waiting(
            3 * 3600 + 90, reason="budget", detail="the key's limit tokens_per_day is used up for today (UTC)"
        )

        (line, *_) = lines(job_of(status="pending", waiting_for=waits))

        assert line.startswith("  continuing automatically in 3 h 1 min (at 20")
        assert line.endswith("the key's limit tokens_per_day is used up for today (UTC)")

    def test_shows_a_time_that_has_passed_as_now(self) -> None:
        assert "automatically in 0 s (at" in lines(job_of(status="pending", waiting_for=waiting(-60)))[0]

    def test_shows_a_reason_that_this_version_does_not_know(self) -> None:
        waits = waiting(reason="weather", until=None, detail="a storm")

        assert lines(job_of(status="pending", waiting_for=waits))[0] == (
            "  waiting (weather), continuing soon: a storm"
        )

    def test_names_the_next_try_of_its_step_and_its_time(self) -> None:
        waits = {**waiting(), "until": "2026-11-22T10:00:11.120Z"}

        job = job_of(status="pending", waiting_for=waits, steps=[raw_step("summary"), tried()])

        assert lines(job)[1:] == ["  summary: completed in 2.0 s", "  checklist: try 3, at 10:00:11 UTC"]

    def test_is_shown_so_while_it_is_watched(self) -> None:
        board = Board([Watched("a.md", "job-1")])
        board.show(0, job_of(status="pending", waiting_for=waiting()))

        assert board.summary().startswith("a.md: pending retrying automatically in 27 s")

    def test_has_no_such_line_once_it_runs_again(self) -> None:
        job = job_of(status="processing", waiting_for=None, steps=[tried(status="processing")])

        assert lines(job) == ["  checklist: processing, try 3"]


class TestFailedCalls:
    def test_are_listed_under_their_step_with_time_outcome_and_cause(self) -> None:
        steps = [raw_step("summary"), {**raw_step("checklist", "failed"), "calls": 2, "model": "gpt-6-luna"}]
        calls = [
            raw_attempt("summary", outcome="unusable_answer", cause="summary: Field required"),
            raw_attempt("checklist.part02"),
            raw_attempt("checklist", cause=None),
        ]

        assert lines(job_of(status="failed", steps=steps, failed_attempts=calls))[:5] == [
            "  summary: completed in 2.0 s",
            "    failed call at 10:00:00 UTC, 1.5 s: unusable_answer: summary: Field required",
            "  checklist: failed after 2 calls of gpt-6-luna",
            "    failed call at 10:00:00 UTC, 1.5 s: model_unavailable: The server is overloaded.",
            "    failed call at 10:00:00 UTC, 1.5 s: model_unavailable",
        ]

    def test_of_a_part_are_listed_under_the_part_once_it_is_completed(self) -> None:
        steps = [raw_step("summary.part01"), raw_step("summary", "processing")]

        shown = lines(job_of(status="processing", steps=steps, failed_attempts=[raw_attempt("summary.part01")]))

        assert [line.partition(":")[0].strip() for line in shown] == [
            "summary.part01",
            "failed call at 10",
            "summary",
        ]

    def test_are_the_newest_ones_if_there_are_many(self) -> None:
        calls = [raw_attempt("summary", cause=f"no. {number}") for number in range(MAX_CALLS + 3)]

        shown = lines(job_of(status="failed", steps=[raw_step("summary", "failed")], failed_attempts=calls))

        assert shown[1] == "    3 earlier failed calls: --json prints them"
        assert [line.rpartition(" ")[2] for line in shown[2:]] == [str(number) for number in range(3, MAX_CALLS + 3)]

    def test_control_no_terminal(self) -> None:
        calls = [raw_attempt("summary", outcome=EVIL, cause=EVIL)]

        shown = "".join(lines(job_of(steps=[raw_step("summary")], failed_attempts=calls)))

        assert "\x1b" not in shown
        assert "[red]a[/red]" in shown


class TestEstimates:
    def test_are_told_with_the_cost_of_a_job(self) -> None:
        (line,) = source_lines(job_of(cost_usd=0.0061, estimated=ESTIMATED))

        assert line == (
            "Answered by gpt-6-luna: at most 812 tokens in, 140 out, for at most $0.006100; "
            "of which estimated: 1 call, 310 tokens in, 64 out, $0.000400."
        )

    @pytest.mark.parametrize(("cost", "words"), [(0, "at no cost"), (None, "at an unknown price")])
    def test_of_free_models_and_of_unknown_prices_have_no_cost(self, cost: float | None, words: str) -> None:
        (line,) = source_lines(job_of(cost_usd=cost, estimated={**ESTIMATED, "calls": 2, "cost_usd": cost}))

        assert line.endswith(f"140 out, {words}; of which estimated: 2 calls, 310 tokens in, 64 out.")

    def test_are_marked_in_a_list(self) -> None:
        jobs = [
            job_of(cost_usd=0.5, estimated=ESTIMATED),
            job_of(cost_usd=0.25),
            job_of(cost_usd=0),
            job_of(cost_usd=None),
        ]

        costs = [line.split("  ")[-1] for line in list_lines(jobs)]

        assert costs == ["USD", "max 0.500000", "0.250000", "0.000000", "unknown"]

    def test_are_told_with_the_usage_of_the_day_by_model_and_key(self) -> None:
        spent = {"usage": USAGE, "calls": 1, "retries": 0, "cost_usd": 0.0061}
        estimated = {**spent, "calls": 5, "estimated": ESTIMATED}
        today = {"date": "2026-11-22", "created": 3, **estimated, "by_model": {"gpt-6-luna": estimated}}
        stats = Stats.of({"jobs": {}, "today": {**today, "by_key": {"": spent, "3f9c": spent}}, "queue": None})

        used = (
            "at most 812 tokens in, 140 out, for at most $0.006100; of which estimated: 1 call, 310 tokens in, 64 out"
        )

        assert [*stats_lines(stats)][1:] == [
            f"Today (2026-11-22 UTC): 3 created, {used}, $0.000400",
            f"  by model: gpt-6-luna, 5 calls, {used}, $0.000400",
            "  by key: (no key), 1 call, 812 tokens in, 140 out, for $0.006100",
            "  by key: 3f9c, 1 call, 812 tokens in, 140 out, for $0.006100",
        ]
