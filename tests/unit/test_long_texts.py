"""The worker's way through texts that are too long for one call, with a scripted model and moto's table and queue."""

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from aws_lambda_powertools import Logger
from pydantic import JsonValue

from jobchain.aws.queue import MAX_DELAY, JobQueue
from jobchain.chains import CHAINS
from jobchain.chains.chain import Chain
from jobchain.domain import Job, NewJob, Status, WaitReason
from jobchain.errors import TransientModelError
from jobchain.llm import ModelRequest
from jobchain_worker.demand import MAX_AT_ONCE
from tests.conftest import Items, make_runner
from tests.fake_model.answers import CHECKLIST, DIAGRAM
from tests.fake_model.llm import Said, ScriptedLLM, WorkerVanished
from tests.fakes import FakeClock
from tests.stores import Stores

LIMIT = 100
INVOCATION = timedelta(minutes=5)
# Three parts of 90 bytes each, as there is a token for every byte.
SECTIONS = [f"# Rule {number}\n" + f"Rule {number} must be kept. ".ljust(81, "x") + "\n" for number in (1, 2, 3)]
TEXT = "".join(SECTIONS).strip()


class ReadingLLM(ScriptedLLM):
    """Answers out of what it is given: which rules it has read."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: dict[str, BaseException] = {}
        """What is raised, once, for a call whose material holds a text."""

    def right_answer(self, request: ModelRequest) -> Said:
        rules = re.findall(r"Rule \d must be kept\.", request.input)
        item = {"category": "Rules", "priority": "must"}
        answers: dict[str, dict[str, JsonValue]] = {
            "SummaryAnswer": {"summary": " ".join(rules)},
            "ChecklistAnswer": CHECKLIST,
            "ChecklistPartAnswer": {"checklist": [{**item, "source": rule, "text": rule} for rule in rules]},
            "DiagramAnswer": DIAGRAM,
            "FirstAnswer": {"first": [*rules]},
            "SecondAnswer": {"second": [*rules]},
            "ComparisonAnswer": {"both": [*rules], "only_first": [], "only_second": [], "contradictions": []},
        }
        fault = next((text for text in self.faults if text in request.input), None)
        return self.faults.pop(fault) if fault else answers[request.answer.__name__]


class Stage:
    """A table, a queue, a clock, a model, and one job at a time."""

    def __init__(self, stores: Stores, queue: JobQueue, clock: FakeClock, logger: Logger) -> None:
        self.stores = stores
        self.clock = clock
        self.llm = ReadingLLM()
        self.chains = dict(CHAINS)
        self._queue = queue
        self._logger = logger
        self.limit_is(LIMIT)
        self.event_id = "0b6c2f4e-0000-4000-8000-000000000001"

    def limit_is(self, tokens: int) -> None:
        """A worker whose calls may have at most this many tokens of input."""
        self.runner = make_runner(
            self.stores, self._queue, self.llm, self._logger, max_input_tokens=tokens, chains=self.chains
        )

    def create(self, text: str = TEXT, name: str = "guideline_checklist", **payload: JsonValue) -> None:
        new = NewJob(self.event_id, "local", name, payload or {"guidelines": text}, fingerprint="f")
        self.stores.admission.create(new, retention=timedelta(days=30))

    def run(self) -> Job:
        """One delivery of the job's message."""
        asyncio.run(self.runner.run(self.event_id, self.clock() + INVOCATION))
        return self.job

    @property
    def job(self) -> Job:
        return self.stores.jobs.get("local", self.event_id)

    @property
    def outputs(self) -> dict[str, Any]:
        return {step.name: step.output for step in self.job.steps}


@pytest.fixture
def stage(stores: Stores, queue: JobQueue, clock: FakeClock, logger: Logger) -> Stage:
    return Stage(stores, queue, clock, logger)


def test_a_long_text_goes_through_in_parts_and_becomes_one_result(stage: Stage) -> None:
    stage.create()

    job = stage.run()

    assert job.status is Status.COMPLETED
    rules = [f"Rule {number} must be kept." for number in (1, 2, 3)]
    assert stage.outputs["summary.parts"] == [[0, 91], [91, 182], [182, len(TEXT)]]
    assert [stage.outputs[f"summary.part0{number}"] for number in (1, 2, 3)] == rules
    assert stage.outputs["summary"] == " ".join(rules)
    assert [item["source"] for item in stage.outputs["checklist"]] == rules
    assert all(item["source_found"] for item in stage.outputs["checklist"])


def test_the_parts_are_asked_at_the_same_time_and_what_they_gave_after_them(stage: Stage) -> None:
    stage.create()
    stage.llm.together = 3

    stage.run()

    assert stage.llm.most_in_flight == 3
    merge = CHAINS["guideline_checklist"].calls[0].long
    assert merge
    assert [request.instructions for request in stage.llm.requests[:3]] == [merge.prompt.text] * 3
    for request, section in zip(stage.llm.requests, SECTIONS, strict=False):
        assert section.strip() in request.input
    assert "Rule" not in stage.llm.requests[0].input.replace("Rule 1", "")


def test_not_all_of_many_parts_are_asked_at_the_same_time(stage: Stage) -> None:
    stage.create("Rule 1 must be kept. " * 100)
    stage.llm.together = MAX_AT_ONCE

    job = stage.run()

    assert job.status is Status.COMPLETED
    assert len(stage.outputs["summary.parts"]) > 2 * MAX_AT_ONCE
    assert stage.llm.most_in_flight == MAX_AT_ONCE


def test_a_step_that_only_puts_parts_together_costs_nothing(stage: Stage) -> None:
    stage.create()

    job = stage.run()

    (checklist,) = (step for step in job.steps if step.name == "checklist")
    assert (checklist.model, checklist.spending.calls, checklist.spending.cost_usd) == ("", 0, Decimal(0))
    # three parts each, two merges of two summaries (they are too long for one call together), and the diagram
    assert job.spending.calls == len(stage.llm.requests)
    assert job.spending.calls == sum(step.spending.calls for step in job.steps)


def test_where_the_server_counts_its_tokens_its_count_decides(stage: Stage) -> None:
    # given a model that makes a token of every three bytes, so that the text fits
    stage.llm.counts = lambda text: len(text.encode()) // 3
    stage.create()

    job = stage.run()

    assert job.status is Status.COMPLETED
    assert stage.outputs["summary.parts"] == [[0, len(TEXT)]]
    assert len(stage.llm.requests) == 3


def test_where_the_server_counts_more_parts_are_as_large_as_its_count_allows(stage: Stage) -> None:
    # given a model that makes a token of every two bytes: 160 bytes are 80 of the 100 tokens, the rest is a margin
    stage.llm.counts = lambda text: len(text.encode()) // 2
    stage.create("Rule 1 must be kept. " * 20)

    stage.run()

    sizes = [end - start for start, end in stage.outputs["summary.parts"]]
    assert LIMIT < max(sizes) <= 160


def test_a_short_text_is_not_even_counted(stage: Stage) -> None:
    counted: list[str] = []

    def count(text: str) -> None:
        counted.append(text)

    stage.llm.counts = count
    stage.create("Rule 1 must be kept.")

    job = stage.run()

    assert [step.name for step in job.steps] == ["summary", "checklist", "diagram"]
    assert counted == []


class TestAWorkerThatDies:
    def test_leaves_its_finished_parts_to_the_next_one(self, stage: Stage) -> None:
        # given a worker that crashes during the call for the second part
        stage.create()
        stage.llm.faults = {"Rule 2": WorkerVanished()}
        with pytest.raises(WorkerVanished):
            stage.run()
        assert {"summary.parts", "summary.part01", "summary.part03"} <= stage.outputs.keys()
        stage.clock.advance(INVOCATION + timedelta(seconds=1))
        asked = len(stage.llm.requests)

        # when another worker claims the job
        job = stage.run()

        # then it calls the model for what is missing only
        assert job.status is Status.COMPLETED
        assert [step.name for step in job.steps].count("summary.part01") == 1
        first, *later = stage.llm.requests[asked:]
        assert "Rule 2" in first.input
        answered = stage.llm.requests[0]
        assert not any((again.instructions, again.input) == (answered.instructions, answered.input) for again in later)

    def test_leaves_its_cut_to_the_next_one_whatever_the_model_counts_then(self, stage: Stage) -> None:
        stage.create()
        stage.llm.faults = {"Rule 2": WorkerVanished()}
        with pytest.raises(WorkerVanished):
            stage.run()
        bounds = stage.outputs["summary.parts"]
        stage.clock.advance(INVOCATION + timedelta(seconds=1))
        stage.llm.counts = lambda _: 7

        assert stage.run().status is Status.COMPLETED
        assert stage.outputs["summary.parts"] == bounds
        assert stage.outputs["summary"] == " ".join(f"Rule {number} must be kept." for number in (1, 2, 3))

    def test_leaves_its_cut_to_one_with_another_limit_too(self, stage: Stage) -> None:
        stage.create()
        stage.llm.faults = {"Rule 2": WorkerVanished()}
        with pytest.raises(WorkerVanished):
            stage.run()
        stage.clock.advance(INVOCATION + timedelta(seconds=1))
        stage.limit_is(100_000)

        assert stage.run().status is Status.COMPLETED
        assert stage.outputs["summary"] == " ".join(f"Rule {number} must be kept." for number in (1, 2, 3))


def test_a_part_that_fails_for_now_is_tried_again_alone(stage: Stage) -> None:
    stage.create()
    stage.llm.faults = {"Rule 2": TransientModelError("503")}
    assert stage.run().status is Status.PENDING
    stage.clock.advance(MAX_DELAY)

    job = stage.run()

    assert job.status is Status.COMPLETED
    parts = [request for request in stage.llm.requests if "one part of a guideline for" in request.instructions]
    assert len(parts) == 4


def test_two_texts_are_read_at_the_same_time(stage: Stage) -> None:
    stage.create(name="compare_guidelines", first="Rule 1 must be kept.", second="Rule 2 must be kept.")
    stage.llm.together = 2

    job = stage.run()

    assert job.status is Status.COMPLETED
    assert stage.llm.most_in_flight == 2
    assert [step.name for step in job.steps] == ["first", "second", "comparison"]


def test_two_long_texts_are_read_in_parts(stage: Stage) -> None:
    stage.create(name="compare_guidelines", first=TEXT, second=TEXT.replace("Rule 1", "Rule 9"))

    job = stage.run()

    assert job.status is Status.COMPLETED
    assert stage.outputs["first"] == [f"Rule {number} must be kept." for number in (1, 2, 3)]
    assert stage.outputs["second"] == [f"Rule {number} must be kept." for number in (9, 2, 3)]


class TestAChainThatChangesUnderAJob:
    """A deployment between two deliveries."""

    def interrupted(self, stage: Stage, change: Callable[[Chain], Chain], text: str = TEXT) -> Job:
        stage.create(text)
        stage.llm.faults = {"<<<checklist": TransientModelError("503")}
        assert stage.run().status is Status.PENDING
        stage.clock.advance(MAX_DELAY)
        stage.chains["guideline_checklist"] = change(CHAINS["guideline_checklist"])
        return stage.run()

    @pytest.mark.parametrize("text", [TEXT, "Rule 1 must be kept."])
    def test_and_calls_its_steps_otherwise_waits_for_one_that_fits(self, stage: Stage, items: Items, text: str) -> None:
        job = self.interrupted(stage, renamed, text)

        assert job.status is Status.PENDING
        assert job.waiting_for
        assert job.waiting_for.reason is WaitReason.DEPLOYMENT

        # when the version that it was run with is deployed again
        stage.chains["guideline_checklist"] = CHAINS["guideline_checklist"]
        stage.clock.advance(MAX_DELAY)

        assert stage.run().status is Status.COMPLETED
        assert {"summary", "checklist", "diagram"} <= stage.outputs.keys()
        assert items.due() == []

    def test_and_has_a_step_less_ends_without_it(self, stage: Stage) -> None:
        job = self.interrupted(stage, lambda chain: changed(chain, chain.steps[:2]))

        assert job.status is Status.COMPLETED
        assert "diagram" not in stage.outputs


def renamed(chain: Chain) -> Chain:
    """The chain as it is when its first step has another name."""
    first, second, third = chain.steps
    changes: dict[str, Any] = {
        "needs": ("outline",),
        "write_input": lambda given: f"<<<summary x>>>\n{given.outputs['outline']}\n<<<end x>>>",
    }
    third = replace(third, needs=("checklist",))
    return changed(chain, (replace(first, name="outline"), replace(second, **changes), third))


def changed(chain: Chain, steps: Sequence[Any]) -> Chain:
    return replace(chain, steps=steps)
