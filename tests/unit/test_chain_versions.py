"""What a job was run with is a version, stored once and named by the job; another one continues it where it fits."""

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any

import pytest
from aws_lambda_powertools import Logger
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, JsonValue

from jobchain import Chain, Long, Mermaid, Text, concatenate
from jobchain.aws.attributes import Item
from jobchain.aws.items import job_key
from jobchain.aws.versions import KEPT_LONGER, VersionStore
from jobchain.aws.writes import epoch, key, update
from jobchain.chains import CHAINS
from jobchain.chains.chain import Chain as CompiledChain
from jobchain.chains.definition import Definition, definition_of
from jobchain.domain import DEADLINE, Job, Status, WaitReason
from jobchain.errors import PermanentModelError, TransientModelError
from jobchain.forks import ForkedFrom
from jobchain.llm import ModelRequest
from jobchain_api.service import JobService
from tests.conftest import TABLE
from tests.deployment import RETENTION, TENANT, TEXT, Deployment
from tests.fakes import Requests
from tests.gateway import Api
from tests.unit.test_forks import fork

BUSY = TransientModelError("the model's server answered 503")
DECLINED = PermanentModelError("model_refused", "declined")
POINTS = {"points": ["long", "hashed"]}
MEMO = {"memo": "Passwords are long and hashed."}
LONG = "\n\n".join(f"Rule {number} must be kept." for number in range(12))

# --- the chain, as one deployment after the other has it ---------------------------------------------


def memo(prompt: str = "List the points.", **options: Any) -> CompiledChain:
    """Two calls, the second of which needs the first."""
    chain = Chain("memo", **options)

    def points(text: Text) -> list[str]: ...

    points.__doc__ = prompt
    chain.ask(points)

    @chain.ask
    def memo(text: Text, points: list[str]) -> str:
        """Write a memo."""

    return chain.compiled


def another_answer_of_a_step_to_come() -> CompiledChain:
    chain = Chain("memo")

    @chain.ask
    def points(text: Text) -> list[str]:
        """List the points."""

    @chain.ask
    def memo(points: list[str]) -> str:
        """Write another memo."""

    @chain.code
    def drawing(memo: str, points: list[str]) -> Mermaid:
        return Mermaid("flowchart TD")

    return chain.compiled


def renamed() -> CompiledChain:
    chain = Chain("memo")

    @chain.ask
    def items(text: Text) -> list[str]:
        """List the points."""

    @chain.ask
    def memo(text: Text, items: list[str]) -> str:
        """Write a memo."""

    return chain.compiled


def another_type() -> CompiledChain:
    chain = Chain("memo")

    @chain.ask
    def points(text: Text) -> str:
        """Tell the points."""

    @chain.ask
    def memo(text: Text, points: str) -> str:
        """Write a memo."""

    return chain.compiled


class Point(BaseModel):
    """A point with its weight."""

    point: str
    weight: int


def objects() -> CompiledChain:
    chain = Chain("memo")

    @chain.ask
    def points(text: Text) -> list[Point]:
        """List the points."""

    @chain.ask
    def memo(text: Text, points: list[Point]) -> str:
        """Write a memo."""

    return chain.compiled


def other_needs() -> CompiledChain:
    chain = Chain("memo")

    @chain.ask
    def outline(text: Text) -> str:
        """Tell the outline."""

    @chain.ask
    def points(text: Text, outline: str) -> list[str]:
        """List the points."""

    @chain.ask
    def memo(text: Text, points: list[str]) -> str:
        """Write a memo."""

    return chain.compiled


def other_payload() -> CompiledChain:
    chain = Chain("memo")

    @chain.ask
    def points(document: Text) -> list[str]:
        """List the points."""

    return chain.compiled


FITTING = {
    "another prompt of a step that is done": lambda: memo("List all points."),
    "another model, effort and cap": lambda: memo(model="gpt-6-sol", effort="high", max_output_tokens=900),
    "other steps after it, and another answer": another_answer_of_a_step_to_come,
}
MISFITS: dict[str, tuple[Callable[[], CompiledChain], str]] = {
    "a step that is done has another name": (renamed, "it has no step points"),
    "a step that is done gives a text in place of a list": (another_type, "its step points gives another type"),
    "a step that is done gives objects in place of texts": (objects, "its step points gives another type"),
    "a step that is done needs a new one": (other_needs, "its step points needs other steps"),
}


def deploy(deployment: Deployment, chain: CompiledChain | None, **changes: Any) -> None:
    """A worker of another deployment, a process of its own."""
    deployment.stores.versions = VersionStore(deployment._client, TABLE)
    deployment.runner = deployment.worker(chains={chain.name: chain} if chain else {}, **changes)


def version_of(chain: CompiledChain) -> str:
    return definition_of(chain, "gpt-6-luna").version


def stored_versions(deployment: Deployment) -> list[Item]:
    items = deployment._client.scan(TableName=TABLE)["Items"]
    return [item for item in items if item["pk"]["S"].startswith("VERSION#")]


@pytest.fixture
def half(deployment: Deployment) -> Deployment:
    """A job whose first step is done, and whose second waits for another try."""
    deploy(deployment, memo())
    deployment.create(job_name="memo", payload={"text": TEXT})
    assert deployment.run(POINTS, BUSY).status is Status.PENDING
    deployment.clock.advance(timedelta(minutes=1))
    return deployment


def asked(deployment: Deployment) -> list[str]:
    """The steps that called the model, in order."""
    return [request.step for request in deployment.llm.requests]


# --- what a version is -----------------------------------------------------------------------------


class TestAVersion:
    def test_is_the_same_wherever_the_chain_is_loaded(self) -> None:
        assert version_of(memo()) == version_of(memo())
        assert len({version_of(chain) for chain in CHAINS.compiled().values()}) == len(CHAINS)

    @pytest.mark.parametrize(
        "other",
        [
            *FITTING.values(),
            *(make for make, _ in MISFITS.values()),
            lambda: memo(temperature=0.5),
        ],
    )
    def test_is_another_one_for_another_graph_prompt_schema_model_or_option(
        self, other: Callable[[], CompiledChain]
    ) -> None:
        assert version_of(other()) != version_of(memo())

    def test_is_another_one_where_the_deployment_asks_another_model(self) -> None:
        assert definition_of(memo(), "gpt-6-sol").version != version_of(memo())

    @pytest.mark.parametrize("name", CHAINS)
    def test_has_all_prompts_and_schemas_of_a_shipped_chain(self, name: str) -> None:
        chain = CHAINS.compiled()[name]
        definition = definition_of(chain, "gpt-6-luna")

        for step in chain.calls:
            assert definition.prompt(step.name, {}) == step.prompt.text
            found = definition.step(step.name)
            assert found is not None
            assert found["answer"]["type"] == "object"
            assert (found["model"], found["effort"]) == (step.options.model, step.options.effort)
            assert found["max_output_tokens"] == step.options.max_output_tokens
            if step.long:
                bounds: dict[str, JsonValue] = {f"{step.name}.parts": [[0, 1], [1, 2]]}
                assert definition.prompt(f"{step.name}.part01", bounds) == step.long.prompt.text


# --- naming it -------------------------------------------------------------------------------------


class TestAJob:
    def test_names_the_version_that_it_was_run_with(self, deployment: Deployment) -> None:
        deploy(deployment, memo())
        deployment.create(job_name="memo", payload={"text": TEXT})
        assert deployment.job().chain_version == ""

        job = deployment.run(POINTS, MEMO)

        version = version_of(memo())
        assert job.status is Status.COMPLETED
        assert job.chain_version == version
        assert [step.chain_version for step in job.steps] == [version, version]

    def test_names_it_as_soon_as_a_step_is_stored(self, deployment: Deployment) -> None:
        # given a worker that vanishes after the first step
        deploy(deployment, memo())
        deployment.create(job_name="memo", payload={"text": TEXT})
        with pytest.raises(Vanished):
            deployment.run(POINTS, Vanished())

        assert deployment.job().status is Status.PROCESSING
        assert deployment.job().chain_version == version_of(memo())

    def test_that_is_put_off_names_it_with_its_failed_call(self, half: Deployment) -> None:
        details = half.stores.jobs.details(TENANT, half.event_id, definitions=True)

        assert details.job.chain_version == version_of(memo())
        assert [attempt.chain_version for attempt in details.attempts] == [version_of(memo())]
        assert [*details.definitions] == [version_of(memo())]

    def test_that_is_retried_names_the_version_of_its_new_run(self, deployment: Deployment) -> None:
        deploy(deployment, memo())
        event_id = deployment.create(job_name="memo", payload={"text": TEXT})
        assert deployment.run(POINTS, DECLINED).status is Status.FAILED
        deploy(deployment, memo("List all points."))

        deployment.stores.jobs.retry(TENANT, event_id)
        job = deployment.run(MEMO)

        first, second = version_of(memo()), version_of(memo("List all points."))
        assert job.status is Status.COMPLETED
        assert job.chain_version == second
        assert [step.chain_version for step in job.steps] == [first, second]

    def test_of_an_earlier_release_names_none_and_goes_on(self, half: Deployment) -> None:
        # given a job whose items do not name a version
        for item in half.items():
            for name in ("chain_version", "version", "last_version"):
                item.pop(name, None)
            half.table.put(item)
        assert half.job().chain_version == ""
        deploy(half, memo("List all points."))

        job = half.run(MEMO)

        assert job.status is Status.COMPLETED
        assert [step.chain_version for step in job.steps] == ["", version_of(memo("List all points."))]


class Vanished(BaseException):
    """A worker that ends at once: nothing catches it."""


# --- another deployment ------------------------------------------------------------------------------


class TestAnotherVersionThatFits:
    @pytest.mark.parametrize("make", FITTING.values(), ids=FITTING)
    def test_goes_on_without_asking_for_a_completed_step_again(
        self, half: Deployment, make: Callable[[], CompiledChain]
    ) -> None:
        before = len(half.llm.requests)
        deploy(half, make())

        job = half.run(MEMO)

        assert job.status is Status.COMPLETED
        assert asked(half)[before:] == ["memo"]
        assert job.chain_version == version_of(make())

    def test_reads_an_output_with_fields_that_were_added_with_a_default_or_dropped(
        self, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # given a worker that vanishes when it has stored an output of the old form
        deploy(deployment, counting(Weighed))
        deployment.create(job_name="memo", payload={"text": TEXT})
        with monkeypatch.context() as patched:
            save = deployment.stores.claims.save_step

            def vanish(*args: Any) -> None:
                save(*args)
                raise Vanished

            patched.setattr(deployment.stores.claims, "save_step", vanish)
            with pytest.raises(Vanished):
                deployment.run({"points": [{"point": "long", "weight": 1}]})
        deployment.clock.advance(timedelta(minutes=6))

        # when a version with the new form runs the job
        deploy(deployment, counting(Reasoned))
        job = deployment.run()

        # then the step that reads it is run
        assert (job.status, job.steps[-1].output) == (Status.COMPLETED, ["long: none"])


class Weighed(BaseModel):
    """A point as it was."""

    point: str
    weight: int


class Reasoned(BaseModel):
    """A point as it is now."""

    point: str
    reason: str = "none"


def counting(model: Any) -> CompiledChain:
    chain = Chain("memo")

    def points(text: Any) -> Any:
        """List the points."""

    def told(points: Any) -> Any:
        return [f"{each.point}: {each.reason}" for each in points]

    points.__annotations__ = {"text": Text, "return": list[model]}
    told.__annotations__ = {"points": list[model], "return": list[str]}
    chain.ask(points)
    chain.code(told)
    return chain.compiled


class TestAnotherVersionThatDoesNotFit:
    @pytest.mark.parametrize(("make", "why"), MISFITS.values(), ids=MISFITS)
    def test_makes_the_job_wait_until_one_that_fits_is_there(
        self, half: Deployment, make: Callable[[], CompiledChain], why: str
    ) -> None:
        before = len(half.llm.requests)
        deploy(half, make())

        job = half.run()

        assert job.status is Status.PENDING
        assert job.waiting_for is not None
        assert job.waiting_for.reason is WaitReason.DEPLOYMENT
        assert job.waiting_for.detail.endswith(f"does not fit what the job has stored: {why}")
        assert len(half.llm.requests) == before
        assert job.chain_version == version_of(memo())

        # and when the version is put back, the job continues
        half.clock.advance(timedelta(minutes=2))
        deploy(half, memo())
        assert half.run(MEMO).status is Status.COMPLETED
        assert asked(half)[before:] == ["memo"]

    @pytest.mark.parametrize(("make", "why"), MISFITS.values(), ids=MISFITS)
    def test_fails_it_at_its_deadline_with_what_to_do(
        self, half: Deployment, make: Callable[[], CompiledChain], why: str
    ) -> None:
        before, version = len(half.llm.requests), version_of(memo())
        deploy(half, make())
        assert half.run().status is Status.PENDING
        half.clock.advance(DEADLINE)

        job = half.run()

        assert job.status is Status.FAILED
        assert job.error is not None
        assert job.error.type == "unknown_version"
        assert why in job.error.message
        assert f"(it was run with version {version}): deploy one that fits and retry the job" in job.error.message
        assert len(half.llm.requests) == before

        # and a retry continues once the version is back
        half.stores.jobs.retry(TENANT, half.event_id)
        deploy(half, memo())
        assert half.run(MEMO).status is Status.COMPLETED

    def test_lets_its_caller_cancel_the_job(self, half: Deployment) -> None:
        deploy(half, renamed())
        half.run()
        half.stores.cancel(TENANT, half.event_id)

        assert half.job().status is Status.CANCELLED

    def test_settles_what_a_worker_that_vanished_has_spent(self, deployment: Deployment) -> None:
        # given a worker that vanished in its second call
        deploy(deployment, memo())
        deployment.create(job_name="memo", payload={"text": TEXT})
        with pytest.raises(Vanished):
            deployment.run(POINTS, Vanished())
        deployment.clock.advance(timedelta(minutes=6))

        # when a version that does not fit claims the job
        deploy(deployment, renamed())
        job = deployment.run()

        # then both calls are in the usage records, and the job still names the version of its output
        assert job.status is Status.PENDING
        assert deployment.spent().calls == 2
        assert job.chain_version == version_of(memo())

    def test_takes_a_job_that_has_not_begun(self, deployment: Deployment) -> None:
        deployment.create(job_name="memo", payload={"text": TEXT})
        deploy(deployment, renamed())

        job = deployment.run({"items": ["long"]}, MEMO)

        assert (job.status, job.chain_version) == (Status.COMPLETED, version_of(renamed()))

    def test_waits_for_a_payload_that_it_does_not_take(self, half: Deployment) -> None:
        deploy(half, other_payload())

        job = half.run()

        assert job.waiting_for is not None
        assert job.waiting_for.reason is WaitReason.DEPLOYMENT
        assert "takes another payload" in job.waiting_for.detail

    @pytest.mark.parametrize("seed", range(6))
    def test_beside_the_other_one_never_runs_the_job_wrongly(self, deployment: Deployment, seed: int) -> None:
        """Workers of both versions get the job's messages in any order, with failed calls between the steps."""
        drawn = random.Random(seed)
        deploy(deployment, memo())
        first = deployment.runner
        deploy(deployment, another_type())
        second = deployment.runner
        deployment.create(job_name="memo", payload={"text": TEXT})
        answers = {"points": {first: POINTS, second: {"points": "long and hashed"}}, "memo": MEMO}
        began = None
        job = deployment.job()
        while not job.status.final:
            deployment.runner = runner = drawn.choice([first, second])
            before = len(deployment.llm.requests)
            done = {step.name for step in deployment.job().steps}
            answer: Any = answers["memo"] if "points" in done else answers["points"][runner]  # type: ignore[index]
            job = deployment.run(*([answer, BUSY] if drawn.random() < 0.7 else [BUSY]))
            if began in (None, runner) and len(deployment.llm.requests) > before:
                began = runner if job.steps else None
            else:
                assert len(deployment.llm.requests) == before, "a version that does not fit called the model"
            deployment.clock.advance(timedelta(minutes=20))

        assert job.status is Status.COMPLETED
        assert len({step.chain_version for step in job.steps}) == 1
        assert deployment.spent().calls == len(deployment.llm.requests)


class TestAJobWhoseTextIsSplit:
    def summing(self, **changes: Any) -> CompiledChain:
        chain = Chain("memo")
        given = {"long": concatenate, **changes}

        @chain.ask(**given)
        def rules(text: Text, other: Text = "none") -> list[str]:
            """List the rules."""

        return chain.compiled

    def started(self, deployment: Deployment, chain: CompiledChain) -> None:
        """A job whose text is split, and of which a part is done."""
        deploy(deployment, chain, max_input_tokens=100)
        deployment.create(job_name="memo", payload={"text": LONG, "other": LONG.replace("kept", "held and kept")})
        job = deployment.run({"rules": ["one"]}, *[BUSY] * 20)
        assert {"rules.parts", "rules.part01"} <= {step.name for step in job.steps}
        deployment.clock.advance(timedelta(minutes=2))

    def test_goes_on_with_another_prompt(self, deployment: Deployment) -> None:
        long = Long(merge=concatenate, of="text")
        self.started(deployment, self.summing(long=long))
        chain = self.summing(long=long, effort="high")
        deploy(deployment, chain, max_input_tokens=100)
        before = len(deployment.llm.requests)

        job = deployment.run(*[{"rules": ["more"]}] * 20)

        assert job.status is Status.COMPLETED
        assert "rules.part01" not in asked(deployment)[before:]

    @pytest.mark.parametrize("told", ["One sentence each.", "One short sentence each."])
    def test_goes_on_where_more_entries_were_merged_than_an_answer_may_have(
        self, deployment: Deployment, monkeypatch: pytest.MonkeyPatch, told: str
    ) -> None:
        # given an output that was merged of many parts, which a step to come needs
        def listing(prompt: str, description: str = "One sentence each.") -> CompiledChain:
            chain = Chain("memo")

            def rules(text: Text) -> Any: ...

            rules.__annotations__["return"] = Annotated[list[str], Field(max_length=2, description=description)]
            rules.__doc__ = prompt
            chain.ask(long=concatenate)(rules)

            @chain.ask
            def memo(rules: list[str]) -> str:
                """Write a memo."""

            return chain.compiled

        def answer(request: ModelRequest) -> Any:
            return BUSY if request.step == "memo" else {"rules": [f"rule {len(deployment.llm.requests)}"]}

        monkeypatch.setattr(deployment.llm, "right_answer", answer)
        deploy(deployment, listing("List the rules."), max_input_tokens=100)
        deployment.create(job_name="memo", payload={"text": LONG})
        rules = deployment.run().steps[-1]
        assert (rules.name, isinstance(rules.output, list) and len(rules.output) > 2) == ("rules", True)

        # when another prompt is deployed, or another description of the type
        deploy(deployment, listing("List all rules.", told), max_input_tokens=100)

        # then the job continues
        deployment.clock.advance(timedelta(hours=2))
        assert deployment.run(MEMO).status is Status.COMPLETED

    @pytest.mark.parametrize(
        ("changes", "why"),
        [
            ({"long": None}, "its step rules does not split a text"),
            ({"long": Long(merge=concatenate, of="other")}, "its step rules splits another text"),
        ],
    )
    def test_waits_for_a_version_that_splits_the_same_text(
        self, deployment: Deployment, changes: dict[str, Any], why: str
    ) -> None:
        self.started(deployment, self.summing(long=Long(merge=concatenate, of="text")))
        deploy(deployment, self.summing(**changes), max_input_tokens=100)
        before = len(deployment.llm.requests)

        job = deployment.run()

        assert job.waiting_for is not None
        assert job.waiting_for.detail.endswith(why)
        assert len(deployment.llm.requests) == before


# --- where it is stored ------------------------------------------------------------------------------


class TestTheDefinition:
    def test_is_stored_once_for_all_jobs_and_processes(self, deployment: Deployment) -> None:
        for number in range(6):
            if number % 2 == 0:
                deploy(deployment, memo())
            deployment.create(number, job_name="memo", payload={"text": TEXT})
            deployment.run(POINTS, MEMO)

        (item,) = stored_versions(deployment)
        assert item["pk"]["S"] == f"VERSION#{version_of(memo())}"

    def test_is_stored_before_anything_names_it(self, deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
        deploy(deployment, memo())
        deployment.create(job_name="memo", payload={"text": TEXT})
        save = deployment.stores.claims.save_step

        def stored_already(*args: Any) -> None:
            assert stored_versions(deployment)
            save(*args)

        monkeypatch.setattr(deployment.stores.claims, "save_step", stored_already)

        assert deployment.run(POINTS, MEMO).status is Status.COMPLETED

    def test_costs_a_process_one_read_and_a_write_only_where_it_is_missing(self, deployment: Deployment) -> None:
        requests = Requests(deployment._client)
        definition, until = definition_of(memo(), "gpt-6-luna"), epoch(deployment.clock() + RETENTION)

        made = []
        for _ in range(2):
            store = VersionStore(deployment._client, TABLE)
            for _ in range(3):
                assert store.keep(definition, until)
            made.append(requests.new())

        assert made == [["GetItem", "PutItem"], ["GetItem"]]

    @given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40)), min_size=1, max_size=30))
    def test_outlives_every_job_that_names_it(self, jobs: list[tuple[int, int]]) -> None:
        """Of several processes; a job expires some days after the one before."""
        table = Remembered()
        stores = [VersionStore(None, "") for _ in range(4)]  # type: ignore[arg-type]
        for store in stores:
            store._table = table  # type: ignore[assignment]
        day, latest = 86_400, 0
        for place, (process, days) in enumerate(jobs):
            until = (30 + place) * day + days * day // 10
            latest = max(latest, until)
            stores[process].keep(DEFINITION, until)
            assert table.expires_at >= latest

        # and it is written about once in `KEPT_LONGER`, not for each job
        passed = latest - 30 * day
        assert table.writes <= 2 + passed / KEPT_LONGER.total_seconds()

    def test_of_copied_outputs_outlives_the_fork(self, half: Deployment, service: JobService, logger: Logger) -> None:
        # given a fork that is made three weeks later, when another version is deployed
        half.run(MEMO)
        half.clock.advance(timedelta(days=21))
        chain = memo("List all points.")
        deploy(half, chain)
        event_id = fork(TestTheApi.of(service, logger, chain), half.event_id, "memo").body["event_id"]

        assert half.run(MEMO, event_id=event_id).status is Status.COMPLETED

        fork_expires = half.meta(event_id)["expires_at"]
        assert [int(item["expires_at"]["N"]) >= fork_expires for item in stored_versions(half)] == [True, True]

    def test_that_is_too_large_is_not_stored_and_its_jobs_run(
        self, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("jobchain.aws.versions.MAX_OUTPUT_BYTES", 100)
        deploy(deployment, memo())
        deployment.create(job_name="memo", payload={"text": TEXT})

        assert deployment.run(POINTS, MEMO).status is Status.COMPLETED
        assert stored_versions(deployment) == []

    def test_that_is_gone_makes_no_job_wait_whose_outputs_can_be_read(self, half: Deployment) -> None:
        half.table.delete_many([key(f"VERSION#{version_of(memo())}", "META")])
        deploy(half, memo("List all points."))

        assert half.run(MEMO).status is Status.COMPLETED


DEFINITION = Definition("0123456789ab", "{}")


class Remembered:
    """One item of the table."""

    def __init__(self) -> None:
        self.expires_at = 0
        self.writes = 0

    def get(self, _key: Item, _attributes: object) -> Item | None:
        return {"expires_at": self.expires_at} if self.expires_at else None

    def put_unless_newer(self, item: Item, attribute: str) -> None:
        self.writes += 1
        self.expires_at = max(self.expires_at, item[attribute])


# --- as callers see it -------------------------------------------------------------------------------


class TestTheApi:
    @staticmethod
    def of(service: JobService, logger: Logger, chain: CompiledChain | None) -> Api:
        chains = {chain.name: chain} if chain else {}
        service._chains = chains
        return Api(service, logger, chains=chains)

    def test_tells_the_version_of_the_job_and_of_each_step(
        self, half: Deployment, service: JobService, logger: Logger
    ) -> None:
        deploy(half, memo("List all points."))
        half.run(MEMO)
        job = self.of(service, logger, memo())("GET", f"/jobs/{half.event_id}").body

        first, second = version_of(memo()), version_of(memo("List all points."))
        assert job["chain_version"] == second
        assert [step["chain_version"] for step in job["steps"]] == [first, second]

    def test_tells_none_of_a_job_that_no_worker_has_run(
        self, deployment: Deployment, service: JobService, logger: Logger
    ) -> None:
        deployment.create(job_name="memo", payload={"text": TEXT})

        job = self.of(service, logger, memo())("GET", f"/jobs/{deployment.event_id}").body

        assert job["chain_version"] is None
        assert [step["chain_version"] for step in job["steps"]] == [None, None]

    def test_shows_the_prompts_of_the_version_that_the_job_was_run_with(
        self, half: Deployment, service: JobService, logger: Logger
    ) -> None:
        api = self.of(service, logger, memo("List all points."))

        points, memo_ = api("GET", f"/jobs/{half.event_id}?include=prompts").body["prompts"]

        assert points["instructions"] == half.llm.requests[0].instructions
        assert points["input"] == half.llm.requests[0].input
        assert (points["same_as_sent"], points["chain_version"]) == (True, version_of(memo()))
        assert (memo_["step"], memo_["same_as_sent"], memo_["chain_version"]) == ("memo", None, version_of(memo()))

    @pytest.mark.parametrize("chain", [None, renamed, other_payload])
    def test_shows_the_instructions_where_the_chain_can_not_make_the_input_again(
        self, half: Deployment, service: JobService, logger: Logger, chain: Callable[[], CompiledChain] | None
    ) -> None:
        api = self.of(service, logger, chain and chain())

        points, _ = api("GET", f"/jobs/{half.event_id}?include=prompts").body["prompts"]

        assert points["instructions"] == half.llm.requests[0].instructions
        assert (points["input"], points["same_as_sent"]) == (None, None)
        assert points["problem"]

    def test_forks_a_job_that_waits_from_the_step_that_has_changed(
        self, half: Deployment, service: JobService, logger: Logger
    ) -> None:
        # given a job that waits, as a step has another name
        deploy(half, renamed())
        half.run()
        api = self.of(service, logger, renamed())

        # when it is forked from there
        event_id = fork(api, half.event_id, "items").body["event_id"]
        job = half.run({"items": ["long"]}, MEMO, event_id=event_id)

        # then the fork is run with the version that is deployed, and without the output that has no step any more
        assert job.status is Status.COMPLETED
        assert [step.name for step in job.steps] == ["items", "memo"]
        assert job.chain_version == version_of(renamed())

    @pytest.mark.parametrize("make", [another_type, objects])
    def test_refuses_a_fork_whose_copies_would_not_fit(
        self, half: Deployment, service: JobService, logger: Logger, make: Callable[[], CompiledChain]
    ) -> None:
        answer = fork(self.of(service, logger, make()), half.event_id, "memo")

        assert answer.status == 409
        assert "its step points gives another type: fork from an earlier step" in answer.body["detail"]

    def test_refuses_a_fork_with_copies_where_the_chains_definition_can_not_be_made(
        self, half: Deployment, service: JobService, logger: Logger
    ) -> None:
        class Unusual:
            @classmethod
            def __get_pydantic_core_schema__(cls, *_: object) -> Any:
                raise LookupError("a secret")

        chain = Chain("memo")

        @chain.ask
        def points(text: Text) -> list[str]:
            """List the points."""

        @chain.code
        def memo(points: list[str]) -> Unusual:
            return Unusual()

        api = self.of(service, logger, chain.compiled)
        before = half.items()

        answer = fork(api, half.event_id, "memo")

        assert answer.status == 409
        assert "the chain memo has a type of which no schema can be made (LookupError)" in answer.body["detail"]
        assert "a secret" not in answer.body["detail"]
        assert half.items() == before

    def test_copies_of_a_fork_name_the_version_that_made_them(
        self, half: Deployment, service: JobService, logger: Logger
    ) -> None:
        half.run(MEMO)
        chain = memo("List all points.")
        deploy(half, chain)

        event_id = fork(self.of(service, logger, chain), half.event_id, "memo").body["event_id"]
        job: Job = half.run(MEMO, event_id=event_id)

        assert [(step.copied, step.chain_version) for step in job.steps] == [
            (True, version_of(memo())),
            (False, version_of(chain)),
        ]
        assert job.chain_version == version_of(chain)


def test_a_chain_whose_definition_can_not_be_made_runs_and_names_no_version(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Definition:
        raise ValueError("of the chain's own types")

    monkeypatch.setattr("jobchain_worker.chain_versions.definition_of", broken)
    deploy(deployment, replace(memo()))
    deployment.create(job_name="memo", payload={"text": TEXT})

    job = deployment.run(POINTS, MEMO)

    assert (job.status, job.chain_version) == (Status.COMPLETED, "")


def test_a_job_that_sets_what_this_version_does_not_know_waits_for_one_that_does(deployment: Deployment) -> None:
    # given what a later version may have stored, before a rollback
    deployment.create()
    about = {"overrides": {"model": "m", "verbosity": "low"}, "forked_from": {"event_id": "e", "kind": "new"}}
    set_in_meta(deployment, about=about)

    job = deployment.run()

    assert job.waiting_for is not None
    assert job.waiting_for.reason is WaitReason.DEPLOYMENT
    assert "verbosity" in job.waiting_for.detail
    assert job.forked_from == ForkedFrom("e", None)
    assert deployment.llm.requests == []


def set_in_meta(deployment: Deployment, **attributes: Any) -> None:
    """Changes META as no code does."""
    table = deployment.stores.jobs._table
    condition, values = "#token = :token", {":token": deployment.meta()["token"]}
    table.write(update(job_key(deployment.event_id), condition, values, attributes))
