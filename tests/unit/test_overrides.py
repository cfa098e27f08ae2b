"""What a job sets for itself in place of its chain: the model, the effort, and in a fork the prompt of a step."""

import io
import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from aws_lambda_powertools import Logger

from jobchain import Chain, Text, ask_again, concatenate
from jobchain.aws.queue import JobQueue
from jobchain.chains import CHAINS
from jobchain.chains.chain import Prompt
from jobchain.chains.mistakes import ChainError
from jobchain.chains.overriding import overridden
from jobchain.domain import DailyBudget, JobError, Status, WaitReason
from jobchain.errors import PermanentModelError, TransientModelError
from jobchain.llm import ModelAnswer, ModelRequest
from jobchain.outcomes import Fault, Outcome
from jobchain.overrides import MAX_PROMPT_CHARACTERS, Overrides
from jobchain.prices import FREE, Price, PriceList
from jobchain_api.service import JobService
from tests.conftest import make_service
from tests.deployment import AFTER_LEASE, TEXT, Deployment, vanish_until_it_fails
from tests.fake_model.llm import WorkerVanished
from tests.fake_model.replies import MODEL
from tests.gateway import Answer, Api

OTHER = "another-model"
PRICES = PriceList({MODEL: FREE, OTHER: Price(*[Decimal("0.001")] * 4)})


@pytest.fixture
def api(service: JobService, logger: Logger) -> Api:
    return Api(service, logger)


def post(api: Api, **more: Any) -> Answer:
    return api("POST", "/jobs", {"input_text": TEXT, **more})


def posted(api: Api, **more: Any) -> str:
    """The id of a job that is accepted."""
    answer = post(api, **more)
    assert answer.status == 201, answer.body
    made: str = answer.body["event_id"]
    return made


def fork(api: Api, event_id: str, from_step: str, **more: Any) -> Answer:
    return api("POST", f"/jobs/{event_id}/fork", {"from_step": from_step, **more})


def forked(api: Api, event_id: str, from_step: str, **more: Any) -> str:
    """The id of a fork that is accepted."""
    answer = fork(api, event_id, from_step, **more)
    assert answer.status == 201, answer.body
    made: str = answer.body["event_id"]
    return made


@pytest.fixture
def done(deployment: Deployment, api: Api) -> str:
    """A job that has completed."""
    event_id = posted(api)
    assert deployment.run(event_id=event_id).status is Status.COMPLETED
    return event_id


class TestAJobsOwnModel:
    def test_is_asked_for_every_step_with_its_effort_and_its_price(self, deployment: Deployment, api: Api) -> None:
        deployment.runner = deployment.worker(prices=PRICES)
        event_id = posted(api, model=OTHER, effort="high")

        job = deployment.run(event_id=event_id)

        assert job.status is Status.COMPLETED
        assert {(request.model, request.effort) for request in deployment.llm.requests} == {(OTHER, "high")}
        body = api("GET", f"/jobs/{event_id}?include=attempts").body
        assert (body["model"], body["effort"], body["changed_prompts"]) == (OTHER, "high", [])
        assert {(call["model"], call["effort"]) for call in body["answered_calls"]} == {(OTHER, "high")}
        assert body["cost_usd"] > 0
        assert deployment.stores.usage.today("local").by_model.keys() == {OTHER}
        deployment.spent(event_id)

    def test_is_no_value_of_a_metrics_dimension_unless_the_deployment_or_a_chain_names_it(
        self, deployment: Deployment, api: Api
    ) -> None:
        for model in (OTHER, MODEL):
            deployment.run(event_id=posted(api, model=model))

        assert [model for _, model, _ in deployment.metered] == ["other", MODEL]
        assert deployment.stores.usage.today("local").by_model.keys() == {OTHER, MODEL}

    def test_has_no_effort_in_the_records_of_calls_that_were_sent_without_it(
        self, deployment: Deployment, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # given a model that takes no effort, and whose first answer does not fit
        ask = deployment.llm.ask

        async def without(request: ModelRequest) -> ModelAnswer:
            return replace(await ask(request), without_effort=request.effort is not None)

        monkeypatch.setattr(deployment.llm, "ask", without)
        event_id = posted(api, effort="high")

        deployment.run("no JSON", event_id=event_id)

        body = api("GET", f"/jobs/{event_id}?include=attempts").body
        assert body["effort"] == "high"
        calls = [*body["failed_attempts"], *body["answered_calls"]]
        assert [call["effort"] for call in calls] == [None] * 4

    def test_is_no_such_value_where_its_workers_vanished_and_it_is_cancelled(
        self, deployment: Deployment, api: Api
    ) -> None:
        event_id = posted(api, model=OTHER)
        with pytest.raises(WorkerVanished):
            deployment.run(WorkerVanished(), event_id=event_id)
        deployment.clock.advance(AFTER_LEASE)
        deployment.metered.clear()

        deployment.stores.jobs.cancel("local", event_id, deployment.meter)

        assert [model for _, model, _ in deployment.metered] == ["other"]
        assert deployment.stores.usage.today("local").by_model.keys() == {OTHER}

    def test_is_no_such_value_where_its_workers_vanished_until_it_failed(
        self, deployment: Deployment, api: Api
    ) -> None:
        event_id = posted(api, model=OTHER)
        vanish_until_it_fails(deployment, event_id)

        assert deployment.job(event_id).status is Status.FAILED
        assert {model for _, model, _ in deployment.metered} == {"other"}

    def test_is_in_no_log_as_it_can_be_any_text(self, deployment: Deployment, api: Api, log: io.StringIO) -> None:
        deployment.run(event_id=posted(api, model="Patient:John-Doe"))
        deployment.run(PermanentModelError("model_not_found", "no"), event_id=posted(api, model="Patient:John-Doe"))

        assert "model called" in log.getvalue()
        assert "John-Doe" not in log.getvalue()

    def test_is_shown_in_lists_before_and_after_the_job_has_ended(self, deployment: Deployment, api: Api) -> None:
        event_id = posted(api, model=OTHER)
        before = api("GET", "/jobs").body["jobs"]
        deployment.run(event_id=event_id)
        after = api("GET", "/jobs").body["jobs"]

        assert [(job["model"], job["effort"]) for job in before + after] == [(OTHER, None)] * 2

    def test_counts_for_the_jobs_budget(self, deployment: Deployment, api: Api) -> None:
        deployment.runner = deployment.worker(prices=PRICES)
        event_id = posted(api, model=OTHER, max_cost_usd=0.5)

        job = deployment.run(event_id=event_id)

        assert job.error
        assert job.error.type == "budget_exceeded"
        assert not deployment.llm.requests

    @pytest.mark.parametrize(("model", "status"), [("no-price", Status.FAILED), (OTHER, Status.COMPLETED)])
    def test_counts_for_the_keys_daily_cost_as_far_as_its_price_is_known(
        self, deployment: Deployment, model: str, status: Status
    ) -> None:
        deployment.runner = deployment.worker(prices=PRICES)
        budget = DailyBudget(cost_usd=Decimal(100))
        deployment.create(overrides=Overrides(model=model), daily_budget=budget)

        job = deployment.run()

        assert job.status is status
        assert bool(deployment.llm.requests) is (status is Status.COMPLETED)

    @pytest.mark.parametrize(
        ("fault", "outcome"),
        [
            (
                PermanentModelError("model_request_refused", "the server refuses the request"),
                Outcome(Status.FAILED, "model_request_refused", Fault.UNCLEAR),
            ),
            (TransientModelError("it failed", type_="server_error"), Outcome(None)),
        ],
    )
    def test_pages_no_operator_where_it_can_not_do_it(
        self, deployment: Deployment, api: Api, fault: Exception, outcome: Outcome
    ) -> None:
        ends: list[Outcome] = []
        deployment.runner = deployment.worker(outcome_meter=ends.append)
        event_id = posted(api, model=OTHER)

        deployment.run(fault, event_id=event_id)

        assert ends == [outcome]

    def test_is_what_a_worker_that_vanishes_is_estimated_by(self, deployment: Deployment, api: Api) -> None:
        deployment.runner = deployment.worker(prices=PRICES)
        event_id = posted(api, model=OTHER)
        deployment.run(event_id=event_id)
        billing = deployment.runner._billing

        own, most = billing.at_risk("guideline_checklist", 100, OTHER)
        assert (own, most.known_cost_usd > 0) == (OTHER, True)
        chains, _ = billing.at_risk("guideline_checklist", 100, None)
        assert chains == MODEL

    def test_is_named_in_what_meta_has_at_risk(self, deployment: Deployment, api: Api) -> None:
        event_id = posted(api, model=OTHER)
        deployment.stores.claims.claim(event_id, deployment.clock(), deployment.runner._billing.at_risk)

        assert deployment.meta(event_id)["at_risk"]["model"] == OTHER

    @pytest.mark.parametrize("type_", ["model_not_found", "model_forbidden"])
    def test_that_the_server_refuses_fails_that_job_alone(self, deployment: Deployment, api: Api, type_: str) -> None:
        refused = PermanentModelError(type_, "the server has no such model")
        event_id = posted(api, model=OTHER)

        job = deployment.run(refused, event_id=event_id)

        assert (job.status, job.error) == (
            Status.FAILED,
            JobError(type_, "the server has no such model", "summary"),
        )
        assert deployment.run(event_id=posted(api)).status is Status.COMPLETED, "no breaker is open"
        assert deployment.run(event_id=posted(api, model="a-third-model")).status is Status.COMPLETED

    @pytest.mark.parametrize("type_", ["model_unauthorized", "model_quota_exceeded", "model_misconfigured"])
    def test_that_the_server_refuses_as_if_by_the_key_makes_that_job_wait_alone(
        self, deployment: Deployment, api: Api, type_: str
    ) -> None:
        event_id = posted(api, model=OTHER)

        job = deployment.run(PermanentModelError(type_, "the key may not use this model"), event_id=event_id)

        assert job.waiting_for
        assert job.waiting_for.reason is WaitReason.ACCOUNT
        assert deployment.run(event_id=posted(api)).status is Status.COMPLETED, "no breaker is open"

    def test_that_is_the_deployments_own_makes_the_job_wait_as_any_other(
        self, deployment: Deployment, api: Api
    ) -> None:
        event_id = posted(api, model=MODEL)

        job = deployment.run(PermanentModelError("model_not_found", "there is no such model"), event_id=event_id)

        assert job.status is Status.PENDING

    def test_tells_a_replay_from_another_request(self, api: Api) -> None:
        def send(**more: Any) -> int:
            return api("POST", "/jobs", {"input_text": TEXT, **more}, {"Idempotency-Key": "k"}).status

        assert send(model=OTHER) == 201
        assert send(model=OTHER) == 200
        assert send(model="a-third-model") == 422
        assert send() == 422

    def test_is_taken_by_each_entry_of_a_batch(self, deployment: Deployment, api: Api) -> None:
        entries = [{"input_text": TEXT, "model": OTHER}, {"input_text": TEXT, "effort": "none"}, {"input_text": TEXT}]
        results = api("POST", "/jobs/batch", {"jobs": entries}).body["results"]

        found = [deployment.job(result["event_id"]).overrides for result in results]
        assert [(each.model, each.effort) for each in found] == [(OTHER, None), (None, "none"), (None, None)]


class TestAFork:
    def test_runs_with_another_model_and_keeps_it_in_its_own_forks(
        self, deployment: Deployment, api: Api, done: str
    ) -> None:
        first = forked(api, done, "checklist", model=OTHER, effort="low")
        second = forked(api, first, "checklist", effort="high")

        deployment.run(event_id=first)
        third = forked(api, first, "diagram")

        assert [
            (each.model, each.effort)
            for each in (deployment.job(event_id).overrides for event_id in (first, second, third))
        ] == [(OTHER, "low"), (OTHER, "high"), (OTHER, "low")]
        assert {step.name: step.copied for step in deployment.job(third).steps} == {"summary": True, "checklist": True}

    def test_asks_its_own_prompt_of_the_step_alone(self, deployment: Deployment, api: Api, done: str) -> None:
        before = [request.instructions for request in deployment.llm.requests]
        event_id = forked(api, done, "checklist", prompt="Write a duty for each sentence.")

        job = deployment.run(event_id=event_id)

        assert job.status is Status.COMPLETED
        checklist, diagram = (request.instructions for request in deployment.llm.requests[3:])
        assert checklist.startswith("Write a duty for each sentence.\n\n")
        note = before[1].rpartition("\n\n")[2]
        assert checklist.endswith(note), "what the model has to know of the material stays"
        assert diagram == before[2]
        by_name = {step.name: step.prompt_version for step in job.steps}
        source = {step.name: step.prompt_version for step in deployment.job(done).steps}
        assert [name for name in by_name if by_name[name] != source[name]] == ["checklist"]

    def test_shows_the_prompt_that_was_sent(self, deployment: Deployment, api: Api, done: str) -> None:
        event_id = forked(api, done, "checklist", prompt="Write a duty for each sentence.")
        deployment.run(event_id=event_id)

        body = api("GET", f"/jobs/{event_id}?include=prompts").body

        assert body["changed_prompts"] == ["checklist"]
        prompts = {prompt["step"]: prompt for prompt in body["prompts"]}
        assert prompts["checklist"]["instructions"].startswith("Write a duty for each sentence.")
        assert {prompt["same_as_sent"] for prompt in body["prompts"]} == {True}
        assert api("GET", f"/jobs/{done}").body["changed_prompts"] == []

    def test_keeps_the_prompts_of_the_fork_that_it_is_of(self, deployment: Deployment, api: Api, done: str) -> None:
        first = forked(api, done, "summary", prompt="Say it in one sentence.")
        deployment.run(event_id=first)

        second = forked(api, first, "checklist", prompt="Write duties.")
        deployment.run(event_id=second)

        body = api("GET", f"/jobs/{second}?include=prompts").body
        assert body["changed_prompts"] == ["summary", "checklist"]
        assert [prompt["instructions"].splitlines()[0] for prompt in body["prompts"][:2]] == [
            "Say it in one sentence.",
            "Write duties.",
        ]
        assert {prompt["same_as_sent"] for prompt in body["prompts"]} == {True}

    def test_stores_its_prompt_compressed_and_erases_it_with_the_job(
        self, deployment: Deployment, api: Api, done: str
    ) -> None:
        event_id = forked(api, done, "checklist", prompt="Write duties. " * 1000)
        deployment.run(event_id=event_id)

        assert "Write duties." not in json.dumps(deployment.items(event_id), default=repr)
        assert sum(len(repr(item.get("prompts", ""))) for item in deployment.items(event_id)) < 1000
        assert api("DELETE", f"/jobs/{event_id}").status == 204
        assert not deployment.items(event_id)

    def test_continues_with_its_prompt_after_a_worker_has_vanished(
        self, deployment: Deployment, api: Api, done: str
    ) -> None:
        event_id = forked(api, done, "checklist", prompt="Write duties.")
        deployment.stores.claim(event_id, deployment.clock())
        deployment.clock.advance(timedelta(seconds=2))

        assert deployment.run(event_id=event_id).status is Status.COMPLETED
        assert deployment.llm.requests[3].instructions.startswith("Write duties.")

    def test_keeps_its_prompts_text_out_of_the_log(self, deployment: Deployment, api: Api, done: str, log: Any) -> None:
        deployment.run(event_id=forked(api, done, "checklist", prompt="Unheard-of words."))

        assert "Unheard-of" not in log.getvalue()


class TestOfALongText:
    def test_parts_and_merge_have_the_jobs_prompt_too(self) -> None:
        chain = CHAINS["guideline_checklist"]
        changed = overridden(chain, Overrides(prompts=("checklist",)), {"checklist": "Write duties."})

        before, step = (next(each for each in of.calls if each.name == "checklist") for of in (chain, changed))
        assert before.long
        assert step.long
        assert step.long.prompt.text.startswith("Write duties.\n\nThe document is one part of a longer one.")
        assert step.long.merge is before.long.merge, "code merges them"
        assert [each.prompt.text for each in changed.calls if each.name != "checklist"] == [
            each.prompt.text for each in chain.calls if each.name != "checklist"
        ]

    def test_the_merge_by_a_call_has_it_too(self) -> None:
        chain = Chain("merged", description="A chain.")

        @chain.ask(long=ask_again)
        def summary(document: Text) -> str:
            """Summarize it."""

        (step,) = overridden(chain.compiled, Overrides(prompts=("summary",)), {"summary": "Say it."}).calls

        assert step.prompt.text.startswith("Say it.\n\nThe document is between two marks")
        assert step.long
        assert isinstance(step.long.merge, Prompt)
        assert step.long.merge.text.startswith("Say it.\n\nEach part is what was made of one part")


def strict_chain(*allowed: Any) -> Chain:
    chain = Chain("strict", description="A chain.", overrides=allowed)

    @chain.ask(long=concatenate)
    def summary(document: Text) -> str:
        """Summarize it."""

    @chain.code
    def words(summary: str) -> int:
        return len(summary.split())

    return chain


class TestAChainThatDoesNotAllowIt:
    @pytest.fixture
    def api(self, deployment: Deployment, queue: JobQueue, logger: Logger) -> Api:
        chains = {"strict": strict_chain("effort").compiled}
        deployment.runner = deployment.worker(chains=chains)
        return Api(make_service(deployment.stores, queue, logger, chains=chains), logger)

    def test_refuses_the_field_by_its_name_and_leaves_nothing_behind(self, deployment: Deployment, api: Api) -> None:
        asked = {"job_name": "strict", "payload": {"document": "Doors."}}

        answer = api("POST", "/jobs", {**asked, "model": OTHER, "effort": "low"})

        assert answer.status == 422
        assert answer.body["errors"] == {"model": "the chain strict allows jobs no model of their own: leave it out"}
        assert api("GET", "/jobs").body["jobs"] == []
        assert api("POST", "/jobs", {**asked, "effort": "low"}).status == 201

    def test_refuses_it_for_forks_too(self, deployment: Deployment, api: Api) -> None:
        made = api("POST", "/jobs", {"job_name": "strict", "payload": {"document": "Doors."}}).body["event_id"]

        answer = fork(api, made, "summary", model=OTHER, prompt="Say it.")

        assert answer.status == 422
        assert answer.body["errors"] == {
            "model": "the chain strict allows jobs no model of their own: leave it out",
            "prompt": "the chain strict allows jobs no prompt of their own: leave it out",
        }

    def test_forks_no_job_that_has_it_from_before(
        self, deployment: Deployment, api: Api, queue: JobQueue, logger: Logger
    ) -> None:
        open_chains = {"strict": strict_chain("model").compiled}
        earlier = Api(make_service(deployment.stores, queue, logger, chains=open_chains), logger)
        body = {"job_name": "strict", "payload": {"document": "Doors."}, "model": OTHER}
        made = earlier("POST", "/jobs", body).body["event_id"]

        answer = fork(api, made, "summary")

        assert answer.status == 409
        assert "no model of their own any more" in answer.body["detail"]

    def test_refuses_the_prompt_of_a_step_of_code(
        self, deployment: Deployment, queue: JobQueue, logger: Logger
    ) -> None:
        chains = {"strict": strict_chain("prompt").compiled}
        deployment.runner = deployment.worker(chains=chains)
        api = Api(make_service(deployment.stores, queue, logger, chains=chains), logger)
        made = api("POST", "/jobs", {"job_name": "strict", "payload": {"document": "Doors."}}).body["event_id"]
        assert deployment.run({"summary": "Doors."}, event_id=made).status is Status.COMPLETED

        answer = fork(api, made, "words", prompt="Count.")

        assert answer.body["errors"] == {"prompt": "the step words calls no model, and has no prompt: leave it out"}


def test_a_chain_that_allows_something_unknown_is_a_mistake_that_names_the_fix() -> None:
    with pytest.raises(ChainError, match=r"overrides= names temperature: use some of model, effort, prompt, or \(\)"):
        strict_chain("temperature")


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("model", "", "must be a model's name"),
        ("model", "two words", "must be a model's name"),
        ("model", "gpt\u00e9", "must be a model's name"),
        ("model", "m" * 201, "at most 200"),
        ("model", 5, "must be a string"),
        ("effort", "most", "'none', 'minimal', 'low', 'medium', 'high', 'xhigh' or 'max'"),
        ("effort", "", "'none'"),
    ],
)
def test_what_no_model_or_effort_is_is_refused(api: Api, field: str, value: Any, why: str) -> None:
    answer = post(api, **{field: value})

    assert answer.status == 422
    assert why in answer.body["errors"][field]


@pytest.mark.parametrize(
    ("prompt", "why"),
    [
        ("", "at least 1 character"),
        (" \u200b\n", "empty"),
        ("a\0b", "NUL"),
        ("a" * (MAX_PROMPT_CHARACTERS + 1), "at most 20000"),
        (["a"], "must be a string"),
    ],
)
def test_what_no_prompt_is_is_refused(api: Api, done: str, prompt: Any, why: str) -> None:
    answer = fork(api, done, "checklist", prompt=prompt)

    assert answer.status == 422
    assert why in answer.body["errors"]["prompt"]


def test_too_many_long_prompts_of_forks_of_forks_are_refused(deployment: Deployment, api: Api, done: str) -> None:
    details = deployment.stores.jobs.details("local", done)
    assert details.prompts == {}
    longest = "\U0001f512" * MAX_PROMPT_CHARACTERS
    first = forked(api, done, "summary", prompt=longest)
    deployment.run(event_id=first)
    second = forked(api, first, "checklist", prompt=longest)
    deployment.run(event_id=second)

    answer = fork(api, second, "diagram", prompt=longest)

    assert answer.status == 422
    assert "shorten it" in answer.body["errors"]["prompt"]
    assert replace(deployment.job(second).overrides, prompts=()).given == ()
