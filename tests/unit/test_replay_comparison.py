"""What is compared of a job and its replay, and what the checks say of it."""

from datetime import UTC, datetime
from typing import Any

import pytest

from jobchain_cli.replay_comparison import Comparison, Pair, Verdict, ordered, pair_of, side_of
from jobchain_cli.replay_words import change
from jobchain_client import Job
from tests.jobs import USAGE, raw_attempt, raw_job, raw_step

VIEW: list[dict[str, Any]] = [
    {"name": "rules", "form": "list", "same_as": "items"},
    {
        "name": "items",
        "form": "checklist",
        "fields": [{"name": "text", "form": "line"}, {"name": "source", "form": "quote", "found": "source_found"}],
    },
    {"name": "best", "form": "record", "fields": [{"name": "quote", "form": "quote", "found": "quote_found"}]},
]


def job(*found: bool, **more: Any) -> Job:
    """A completed job with these quotes, each in the text or not."""
    items = [
        {"text": f"Item {number}", "source": "a", "source_found": is_there} for number, is_there in enumerate(found)
    ]
    result = {"rules": [item["text"] for item in items], "items": items}
    return Job.of(raw_job(**{"result": result, "result_view": VIEW, **more}))


FAILED = {"status": "failed", "error": {"type": "model_refused", "message": "no", "step": "summary"}}
REJECTED = {"failed_attempts": [raw_attempt("checklist", outcome="unusable_answer")]}
BUSY = {"failed_attempts": [raw_attempt("checklist", outcome="model_unavailable")]}


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (job(True), job(True), Verdict.SAME),
        (job(True), job(True, True), Verdict.SAME),
        (job(True, True), job(True, False), Verdict.WORSE),
        (job(True, False), job(True, False, True, False), Verdict.SAME),
        (job(True, False), job(True, True), Verdict.BETTER),
        (job(), job(False), Verdict.WORSE),
        (job(True), job(**FAILED), Verdict.WORSE),
        (job(**FAILED), job(True), Verdict.BETTER),
        (job(**FAILED), job(**FAILED), Verdict.SAME),
        (job(True), job(True, **REJECTED), Verdict.WORSE),
        (job(True, **REJECTED), job(True), Verdict.BETTER),
        (job(True, False), job(True, True, **REJECTED), Verdict.MIXED),
        (job(True), job(True, **BUSY), Verdict.SAME),
        (job(True), job(status="cancelled"), Verdict.WORSE),
    ],
)
def test_the_verdict_goes_by_the_checks_alone(before: Job, after: Job, verdict: Verdict) -> None:
    pair = pair_of(before, after)

    assert pair.verdict is verdict
    assert bool(pair.reasons) is (verdict is not Verdict.SAME)


def test_a_job_that_was_not_run_has_no_verdict_of_the_checks() -> None:
    pair = pair_of(job(True), None, "the budget is used up")

    assert (pair.verdict, pair.reasons, pair.changed) == (Verdict.NOT_RUN, (), ())
    assert pair_of(job(True), None, "it is processing", "job-2").verdict is Verdict.NOT_ENDED


def test_quotes_are_counted_once_wherever_they_are_in_the_result() -> None:
    best = {"quote": "a", "quote_found": False}

    checks = side_of(job(True, False, result={**job(True, False).result, "best": best})).checks

    assert (checks.quotes, checks.quotes_found) == (3, 1)


@pytest.mark.parametrize(
    "result",
    [{}, {"items": None}, {"items": "a"}, {"items": [None, "a", 7, {}, {"source": None}]}, {"best": []}, {"best": 1}],
)
def test_a_result_that_is_not_as_its_view_says_has_no_quotes(result: dict[str, Any]) -> None:
    assert side_of(job(result=result)).checks.quotes == 0


@pytest.mark.parametrize("view", [[None, 7, "a", {}, {"name": None}, {"name": "items", "fields": "x"}], []])
def test_a_view_that_is_none_hides_no_answer(view: list[Any]) -> None:
    pair = pair_of(job(True, result_view=view), job(True, False, result_view=view))

    assert pair.changed


class TestWhatChanged:
    def test_are_the_parts_whose_words_differ(self) -> None:
        before = Job.of(raw_job(result={"summary": "One  two.\n", "checklist": ["A"]}))
        after = Job.of(raw_job(result={"summary": "One two.", "checklist": ["B"]}))

        assert [part.title for part in pair_of(before, after).changed] == ["Checklist"]

    def test_are_parts_that_only_one_of_them_has(self) -> None:
        before, after = Job.of(raw_job(result={"a": "1"})), Job.of(raw_job(result={"b": "1"}))

        parts = pair_of(before, after).parts

        assert [(part.title, part.before, part.after, part.changed) for part in parts] == [
            ("A", "1", None, True),
            ("B", None, "1", True),
        ]


class TestTheNumbers:
    def test_are_of_the_steps_that_ran_again(self) -> None:
        copied = {**raw_step("summary"), "copied": True, "started_at": None, "finished_at": None, "calls": 0}
        parts = [{**raw_step(name), "calls": 2} for name in ("checklist.1", "checklist.2", "diagram")]
        before = Job.of(raw_job(steps=[{**raw_step("summary"), "calls": 1}, *parts]))
        after = Job.of(raw_job(steps=[copied, {**raw_step("checklist"), "calls": 1}, raw_step("diagram", "pending")]))

        pair = pair_of(before, after)

        assert pair.replay
        assert (pair.source.calls, pair.replay.calls) == (6, 1)
        assert pair.source.input_tokens == 3 * USAGE["input_tokens"]
        assert (pair.source.seconds, pair.replay.seconds) == (2.0, 2.0)

    def test_have_no_cost_where_a_price_is_not_known(self) -> None:
        steps = [raw_step("summary"), {**raw_step("checklist"), "cost_usd": None}]

        assert side_of(Job.of(raw_job(steps=steps))).cost_usd is None

    def test_have_no_time_where_no_step_has_ended(self) -> None:
        assert side_of(Job.of(raw_job(steps=[raw_step("summary", "pending")]))).seconds is None


def test_a_job_that_fails_at_once_is_not_counted_as_fast() -> None:
    slow = [{**raw_step("summary"), "finished_at": "2026-11-22T10:00:09.000Z"}]
    pairs = (pair_of(job(True), job(True, steps=slow)), pair_of(job(True), job(**FAILED)))

    before, after = Comparison("r", datetime.now(UTC), {}, pairs).sums

    assert (before.jobs, before.median_seconds, after.median_seconds) == (2, 2.0, 9.0)
    assert Comparison("r", datetime.now(UTC), {}, ()).sums[0].median_seconds is None


def test_what_a_job_was_given_is_shown_up_to_a_limit() -> None:
    pair = pair_of(job(True, input={"text": "a" * 4001, "language": "en", "limits": [1]}), None)

    assert pair.given == (("text", "a" * 4000 + " … (4001 characters in all)"), ("language", "en"), ("limits", "[1]"))


def test_the_worst_come_first_and_then_those_whose_answers_changed() -> None:
    def pair(before: Job, after: Job | None) -> Pair:
        return pair_of(before, after)

    same, other = job(True), job(True, True)
    pairs = [pair(same, None), pair(same, same), pair(same, other), pair(job(False), same), pair(same, job(False))]

    assert [(each.verdict.value, bool(each.changed)) for each in ordered(pairs)] == [
        ("worse", True),
        ("better", True),
        ("same", True),
        ("same", False),
        ("not run", False),
    ]


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [(2, 3, "+50 %"), (4, 1, "-75 %"), (0, 0, "±0"), (0, 2, "+2"), (None, 1, ""), (1, None, "")],
)
def test_changes_are_told_in_per_cent(before: int | None, after: int | None, words: str) -> None:
    assert change(before, after) == words
