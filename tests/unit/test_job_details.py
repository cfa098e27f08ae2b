"""What is behind a job: its payload, the prompts of its calls, and each call, also those that were answered."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from aws_lambda_powertools import Logger

from jobchain.aws.claims import ClaimStore
from jobchain.aws.queue import JobQueue
from jobchain.chains import CHAINS
from jobchain.chains.chain import Prompt, Step
from jobchain.domain import Attempt, NewJob, Tier
from jobchain.errors import TransientModelError
from jobchain.llm import AnswerText
from jobchain.spending import Spending, Usage
from jobchain_api.service import JobService
from tests.conftest import TABLE
from tests.deployment import INVOCATION, TEXT, Deployment
from tests.fake_model.answers import CHECKLIST, DIAGRAM, SUMMARY
from tests.fake_model.replies import MODEL, USAGE
from tests.fakes import FakeClock
from tests.gateway import Api
from tests.unit.test_long_texts import TEXT as LONG_TEXT
from tests.unit.test_long_texts import ReadingLLM

BUSY = TransientModelError("the model's server answered 503")
ALL = "?include=input,prompts,attempts"


@pytest.fixture
def api(service: JobService, logger: Logger) -> Api:
    return Api(service, logger)


def read(api: Api, event_id: str, query: str = ALL) -> Any:
    answer = api("GET", f"/jobs/{event_id}{query}")
    assert answer.status == 200, answer.body
    return answer.body


class TestTheInput:
    def test_is_the_payload_as_it_is_stored(self, deployment: Deployment, api: Api) -> None:
        payload = {"guidelines": "Grüße, \u202e<script>\n" * 200}
        event_id = deployment.create(payload=payload)

        assert read(api, event_id, "?include=input")["input"] == payload

    def test_is_not_there_unless_it_is_asked_for(self, deployment: Deployment, api: Api) -> None:
        event_id = deployment.create()

        for query in ("", "?include=attempts", "?include=prompts"):
            assert read(api, event_id, query)["input"] is None

    def test_is_the_tenants_alone(self, deployment: Deployment, api: Api) -> None:
        other = "0b6c2f4e-0000-4000-8000-000000000009"
        new = NewJob(other, "theirs", "guideline_checklist", {"guidelines": "secret"}, "f")
        deployment.stores.admission.create(new, timedelta(days=30))

        answer = api("GET", f"/jobs/{other}{ALL}")

        assert answer.status == 404
        assert "secret" not in str(answer.body)

    def test_is_gone_with_the_job(self, deployment: Deployment, api: Api) -> None:
        event_id = deployment.create()
        deployment.run({"nonsense": 1}, SUMMARY, CHECKLIST, DIAGRAM)

        assert api("DELETE", f"/jobs/{event_id}").status == 204

        assert api("GET", f"/jobs/{event_id}{ALL}").status == 404
        assert deployment.items() == []


class TestPrompts:
    def test_are_those_that_were_sent(self, deployment: Deployment, api: Api) -> None:
        event_id = deployment.create()
        deployment.run()

        prompts = read(api, event_id)["prompts"]

        assert [prompt["step"] for prompt in prompts] == ["summary", "checklist", "diagram"]
        sent = [(request.instructions, request.input) for request in deployment.llm.requests]
        assert [(prompt["instructions"], prompt["input"]) for prompt in prompts] == sent
        assert all(prompt["same_as_sent"] is True and prompt["problem"] is None for prompt in prompts)

    def test_of_a_step_that_failed_are_told_too(self, deployment: Deployment, api: Api) -> None:
        event_id = deployment.create()
        deployment.run(SUMMARY, *[{"nonsense": 1}] * 3)

        job = read(api, event_id, "?include=prompts")
        summary, checklist = job["prompts"]

        assert (job["status"], job["failed_attempts"]) == ("failed", None)
        assert (summary["same_as_sent"], checklist["same_as_sent"]) == (True, None)
        first, second = deployment.llm.requests[1:3]
        assert checklist["input"] == first.input
        assert second.input.startswith(f"{checklist['input']}\n\nYour last answer could not be used: ")

    def test_after_an_unfit_answer_are_without_the_complaint(self, deployment: Deployment, api: Api) -> None:
        event_id = deployment.create()
        deployment.run({"nonsense": 1}, SUMMARY, BUSY)

        summary, _ = read(api, event_id)["prompts"]

        assert summary["input"] == deployment.llm.requests[0].input
        assert summary["same_as_sent"] is True

    def test_are_none_before_the_first_call(self, deployment: Deployment, api: Api) -> None:
        assert read(api, deployment.create())["prompts"] == []

    def test_of_one_step_can_be_asked_for(self, deployment: Deployment, api: Api) -> None:
        event_id = deployment.create()
        deployment.run()

        (prompt,) = read(api, event_id, "?include=prompts&step=checklist")["prompts"]

        assert prompt["step"] == "checklist"
        assert read(api, event_id, "?include=prompts&step=nothing")["prompts"] == []

    def test_that_are_too_long_together_are_told_one_by_one(
        self, deployment: Deployment, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("jobchain_api.prompt_views.MAX_PROMPTS_BYTES", 400)
        event_id = deployment.create()
        deployment.run()

        *_, last = read(api, event_id)["prompts"]

        assert (last["step"], last["instructions"], last["input"]) == ("diagram", None, None)
        assert "step=" in last["problem"]
        (alone,) = read(api, event_id, "?include=prompts&step=diagram")["prompts"]
        assert alone["input"] == deployment.llm.requests[-1].input

    @pytest.mark.parametrize("tokens", [100, 150, 300])
    def test_of_the_parts_of_a_long_text_and_their_merges_are_those_that_were_sent(
        self, deployment: Deployment, api: Api, tokens: int
    ) -> None:
        deployment.llm = ReadingLLM()
        deployment.runner = deployment.worker(max_input_tokens=tokens)
        event_id = deployment.create(payload={"guidelines": LONG_TEXT * 3})
        deployment.run()

        prompts = read(api, event_id)["prompts"]

        sent = sorted((request.instructions, request.input) for request in deployment.llm.requests)
        assert sorted((prompt["instructions"], prompt["input"]) for prompt in prompts) == sent
        assert all(prompt["same_as_sent"] is True for prompt in prompts)

    def test_of_a_part_that_failed_are_told_too(self, deployment: Deployment, api: Api) -> None:
        llm = deployment.llm = ReadingLLM()
        llm.faults = {"Rule 2 must be kept.": BUSY}
        deployment.runner = deployment.worker(max_input_tokens=100)
        event_id = deployment.create(payload={"guidelines": LONG_TEXT})
        deployment.run()

        failed = [prompt for prompt in read(api, event_id)["prompts"] if prompt["step"] == "summary.part02"]

        assert ["Rule 2 must be kept." in prompt["input"] for prompt in failed] == [True]

    def test_are_those_that_were_sent_if_the_chain_has_changed_since(
        self, deployment: Deployment, service: JobService, logger: Logger
    ) -> None:
        event_id = deployment.create()
        deployment.run()
        chain = CHAINS["guideline_checklist"]
        diagram = next(step for step in chain.steps if step.name == "diagram")
        summary = chain.steps[0]
        assert isinstance(summary, Step)
        assert isinstance(diagram, Step)
        summary = replace(summary, prompt=diagram.prompt)
        changed = {chain.name: replace(chain, steps=(summary, *chain.steps[1:]))}

        first, second, third = read(Api(service, logger, chains=changed), event_id)["prompts"]

        assert [prompt["same_as_sent"] for prompt in (first, second, third)] == [True, True, True]
        assert first["instructions"] == deployment.llm.requests[0].instructions != third["instructions"]

    def test_say_so_if_the_input_is_another_since(
        self, deployment: Deployment, service: JobService, logger: Logger
    ) -> None:
        event_id = deployment.create()
        deployment.run()
        chain = CHAINS["guideline_checklist"]
        summary = chain.steps[0]
        assert isinstance(summary, Step)
        summary = replace(summary, write_input=lambda _: "another text")
        changed = {chain.name: replace(chain, steps=(summary, *chain.steps[1:]))}

        first, second, third = read(Api(service, logger, chains=changed), event_id)["prompts"]

        assert [prompt["same_as_sent"] for prompt in (first, second, third)] == [False, True, True]
        assert first["instructions"] == deployment.llm.requests[0].instructions

    def test_of_a_job_without_a_version_are_made_by_the_chain_as_it_is(
        self, deployment: Deployment, service: JobService, logger: Logger
    ) -> None:
        event_id = deployment.create()
        deployment.run()
        for item in deployment.items():
            item.pop("version", None)
            deployment.table.put(item)
        chain = CHAINS["guideline_checklist"]
        summary = chain.steps[0]
        assert isinstance(summary, Step)
        summary = replace(summary, prompt=Prompt("Another prompt."))
        changed = {chain.name: replace(chain, steps=(summary, *chain.steps[1:]))}

        first = read(Api(service, logger, chains=changed), event_id)["prompts"][0]

        assert (first["instructions"], first["same_as_sent"], first["chain_version"]) == (
            "Another prompt.",
            False,
            None,
        )

    def test_say_why_they_can_not_be_told(self, deployment: Deployment, service: JobService, logger: Logger) -> None:
        event_id = deployment.create()
        deployment.run()
        chain = CHAINS["guideline_checklist"]

        def broken(_: object) -> str:
            raise KeyError(TEXT)

        summary = chain.steps[0]
        assert isinstance(summary, Step)

        problems = []
        for changed in (
            replace(chain, steps=chain.steps[1:]),
            replace(chain, payload=CHAINS["compare_guidelines"].payload),
            replace(chain, steps=(replace(summary, write_input=broken), *chain.steps[1:])),
        ):
            first = read(Api(service, logger, chains={chain.name: changed}), event_id)["prompts"][0]
            assert (first["input"], first["same_as_sent"]) == (None, None)
            assert first["instructions"] == deployment.llm.requests[0].instructions
            problems.append(first["problem"])
        problems.append(read(Api(service, logger, chains={}), event_id)["prompts"][0]["problem"])

        assert problems == [
            "this deployment's chain has no such step",
            "this deployment's chain takes another payload than when the job was created",
            "this deployment's chain can't make it (KeyError)",
            "this deployment does not have the job's chain",
        ]


class TestTheCalls:
    def test_are_all_told_with_what_each_took(self, deployment: Deployment, api: Api) -> None:
        deployment.llm.takes = timedelta(seconds=2)
        deployment.llm._clock = deployment.clock
        usage = Usage(1000, 300, 200, 150, 400)
        event_id = deployment.create()
        good = AnswerText(MODEL, usage, '{"summary": "Long."}', Tier.STANDARD, "req_2")
        deployment.run({"nonsense": 1}, good, CHECKLIST, DIAGRAM)

        job = read(api, event_id)
        (failed,) = job["failed_attempts"]
        summary, checklist, diagram = job["answered_calls"]

        # The step began with the failed call, and the answered one after that.
        assert job["steps"][0]["started_at"] == failed["started_at"] < summary["started_at"] == failed["finished_at"]
        assert summary == {
            "step": "summary",
            "started_at": failed["finished_at"],
            "finished_at": checklist["started_at"],
            "model": MODEL,
            "tier": "standard",
            "effort": "low",
            "request_id": "req_2",
            "usage": {
                "input_tokens": 1000,
                "cached_tokens": 300,
                "cache_write_tokens": 400,
                "output_tokens": 200,
                "reasoning_tokens": 150,
            },
            "cost_usd": summary["cost_usd"],
            "estimated": False,
        }
        assert (checklist["step"], diagram["step"]) == ("checklist", "diagram")
        assert checklist["usage"]["input_tokens"] == USAGE.input_tokens
        calls = [failed, summary, checklist, diagram]
        assert sum(call["cost_usd"] for call in calls) == pytest.approx(job["cost_usd"])
        assert len(calls) == job["calls"]

    def test_are_told_with_the_effort_that_their_chain_asks_for(self, deployment: Deployment, api: Api) -> None:
        chain = CHAINS["guideline_checklist"]
        summary = chain.steps[0]
        assert isinstance(summary, Step)
        thoughtful = replace(summary, options=summary.options._replace(effort="high"))
        changed = {chain.name: replace(chain, steps=(thoughtful, *chain.steps[1:]))}
        deployment.runner = deployment.worker(chains=changed)
        event_id = deployment.create()
        deployment.run({"nonsense": 1}, SUMMARY, CHECKLIST, DIAGRAM)

        job = read(api, event_id)

        assert [call["effort"] for call in job["failed_attempts"]] == ["high"]
        assert [call["effort"] for call in job["answered_calls"]] == ["high", *["low"] * 2]

    def test_are_told_with_their_effort(self, deployment: Deployment, api: Api) -> None:
        event_id = deployment.create()
        claim = deployment.stores.claim(event_id, deployment.clock() + INVOCATION)
        attempt = Attempt(
            "summary",
            "2026-11-22T10:00:00.000Z",
            "2026-11-22T10:00:01.000Z",
            MODEL,
            Tier.STANDARD,
            Spending(),
            "timeout",
        )
        deployment.stores.claims.save_attempt(claim, 1, MODEL, replace(attempt, effort="low"))

        assert read(api, event_id)["failed_attempts"][0]["effort"] == "low"

    def test_are_not_told_unless_they_are_asked_for(self, deployment: Deployment, api: Api) -> None:
        event_id = deployment.create()
        deployment.run()

        job = read(api, event_id, "?include=input")

        assert (job["failed_attempts"], job["answered_calls"], job["prompts"]) == (None, None, None)

    def test_of_steps_without_a_call_are_none(self, deployment: Deployment, api: Api) -> None:
        deployment.llm = ReadingLLM()
        deployment.runner = deployment.worker(max_input_tokens=100)
        event_id = deployment.create(payload={"guidelines": LONG_TEXT})
        deployment.run()

        steps = {call["step"] for call in read(api, event_id)["answered_calls"]}

        assert "summary.part01" in steps
        # Code merges the parts of the checklist, and cuts the text.
        assert steps.isdisjoint({"checklist", "summary.parts", "checklist.parts"})

    def test_have_no_raw_answer_where_that_is_switched_off(
        self, deployment: Deployment, api: Api, queue: JobQueue, clock: FakeClock
    ) -> None:
        stores = deployment.stores
        stores.claims = ClaimStore(stores.client, TABLE, clock, keep_answers=False)
        deployment.runner = deployment.worker()
        event_id = deployment.create()
        deployment.run({"nonsense": "what the model wrote"}, SUMMARY, CHECKLIST, DIAGRAM)

        (failed,) = read(api, event_id)["failed_attempts"]

        assert (failed["answer"], failed["outcome"]) == (None, "unusable_answer")
        assert failed["cause"]
        assert "what the model wrote" not in str(deployment.items())


def test_every_part_can_be_asked_for_alone_and_with_others(deployment: Deployment, api: Api) -> None:
    event_id = deployment.create()
    deployment.run()
    whole: Mapping[str, Any] = read(api, event_id)
    fields = {"input": ["input"], "prompts": ["prompts"], "attempts": ["failed_attempts", "answered_calls"]}

    for names in (["input"], ["prompts"], ["attempts"], ["input", "attempts"], ["prompts", "input"]):
        asked = {field for name in names for field in fields[name]}
        job = read(api, event_id, f"?include={','.join(names)}")
        for field in ("input", "prompts", "failed_attempts", "answered_calls"):
            assert job[field] == (whole[field] if field in asked else None)
