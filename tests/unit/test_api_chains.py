"""What the API tells of chains, and of the steps and results of their jobs."""

import sys
from datetime import timedelta
from types import ModuleType

import pytest
from aws_lambda_powertools import Logger
from pydantic import JsonValue

from jobchain.aws.queue import JobQueue
from jobchain.chains import CHAINS, Registry
from jobchain.chains.loading import ChainSource, Deployment
from jobchain.domain import Claim, FinishedStep, JobError, NewJob
from jobchain.spending import NOTHING_SPENT
from jobchain_api.service import JobService
from tests.conftest import Items, make_service
from tests.fakes import FakeClock
from tests.gateway import Answer, Api
from tests.stores import Stores

MISTAKEN = '''
from jobchain import Chain, Text, concatenate

chain = Chain("mistaken", description="One.")


@chain.ask(long=concatenate)
def many(text: Text) -> int:
    """How many?"""
'''
NOW = "2026-11-22T10:00:00.000Z"
COMPARE = {"job_name": "compare_guidelines", "payload": {"first": "A must be kept.", "second": "B must be kept."}}
ITEM: dict[str, JsonValue] = {
    "source": "Lock the door.",
    "text": "Lock it.",
    "category": "Doors",
    "priority": "must",
    "source_found": True,
}


@pytest.fixture
def api(service: JobService, logger: Logger) -> Api:
    return Api(service, logger)


class Job:
    """A job whose steps a test stores itself."""

    def __init__(self, api: Api, stores: Stores, clock: FakeClock) -> None:
        self._api = api
        self._stores = stores
        self._clock = clock
        self.event_id = ""

    def create(self, body: object) -> Claim:
        self.event_id = self._api("POST", "/jobs", body).body["event_id"]
        return self.claim()

    def claim(self) -> Claim:
        return self._stores.claim(self.event_id, self._clock() + timedelta(minutes=5))

    def store(self, claim: Claim, **outputs: JsonValue) -> None:
        for position, (name, output) in enumerate(outputs.items()):
            asked = not name.endswith(".parts")
            step = FinishedStep(name, output, "m" * asked, "v" * asked, NOW, NOW, NOTHING_SPENT)
            self._stores.save_step(claim, position, step)

    def read(self) -> Answer:
        return self._api("GET", f"/jobs/{self.event_id}")

    @property
    def steps(self) -> list[tuple[str, str]]:
        return [(step["name"], step["status"]) for step in self.read().body["steps"]]


@pytest.fixture
def job(api: Api, stores: Stores, clock: FakeClock) -> Job:
    return Job(api, stores, clock)


class TestTheListOfChains:
    def test_tells_what_each_step_needs(self, api: Api) -> None:
        chains = {chain["name"]: chain for chain in api("GET", "/chains").body["chains"]}

        assert chains.keys() == CHAINS.keys()
        assert chains["compare_guidelines"]["steps"] == [
            {"name": "first", "needs": []},
            {"name": "second", "needs": []},
            {"name": "comparison", "needs": ["first", "second"]},
        ]

    def test_tells_how_to_show_each_part_of_a_result(self, api: Api) -> None:
        chains = {chain["name"]: chain for chain in api("GET", "/chains").body["chains"]}
        parts = {part["name"]: part for part in chains["guideline_checklist"]["result"]}

        assert {name: part["form"] for name, part in parts.items()} == {
            "summary": "text",
            "checklist": "list",
            "checklist_items": "checklist",
            "diagram": "diagram",
        }
        assert parts["checklist"]["same_as"] == "checklist_items"
        assert [(field["name"], field["form"], field.get("found")) for field in parts["checklist_items"]["fields"]] == [
            ("source", "quote", "source_found"),
            ("text", "line", None),
            ("category", "heading", None),
            ("priority", "choice", None),
        ]

    def test_tells_what_a_job_may_set(self, api: Api) -> None:
        chains = {chain["name"]: chain["overrides"] for chain in api("GET", "/chains").body["chains"]}

        assert chains["guideline_checklist"] == ["model", "effort", "prompt"]

    def test_tells_what_a_payload_may_hold(self, api: Api) -> None:
        chains = {chain["name"]: chain for chain in api("GET", "/chains").body["chains"]}
        schema = chains["compare_guidelines"]["payload_schema"]

        assert schema["required"] == ["first", "second"]
        assert schema["properties"].keys() == {"first", "second", "first_name", "second_name"}


@pytest.mark.parametrize(
    ("name", "payload", "errors"),
    [
        ("extract_actions", {}, {"payload.text": "is missing: give it"}),
        ("extract_actions", {"text": "\0"}, {"payload.text": "holds a NUL character: remove it"}),
        ("extract_actions", {"text": 7}, {"payload.text": "must be a string"}),
        ("extract_actions", {"text": "x", "guidelines": "x"}, {"payload.guidelines": "unknown field: remove it"}),
        ("compare_guidelines", {"first": "x"}, {"payload.second": "is missing: give it"}),
        ("compare_guidelines", {"first": "x", "second": " "}, {"payload.second": None}),
        ("compare_guidelines", {"first": "x" * 100_001, "second": "y"}, {"payload.first": None}),
        ("compare_guidelines", {"first": "x", "second": "y", "first_name": "x" * 81}, {"payload.first_name": None}),
        ("guideline_checklist", {"text": "x"}, {"payload.guidelines": "is missing: give it", "payload.text": None}),
    ],
)
def test_a_payload_that_does_not_fit_is_refused_by_its_field(
    api: Api, items: Items, name: str, payload: object, errors: dict[str, str | None]
) -> None:
    answer = api("POST", "/jobs", {"job_name": name, "payload": payload})

    assert answer.status == 422
    assert answer.body["errors"].keys() == errors.keys()
    assert all(answer.body["errors"][where] == why for where, why in errors.items() if why)
    assert items.all() == []


def test_two_texts_that_are_too_much_together_are_refused(api: Api) -> None:
    payload = {"first": "守" * 60_000, "second": "守" * 60_000}

    answer = api("POST", "/jobs", {"job_name": "compare_guidelines", "payload": payload})

    assert (answer.status, answer.body["type"]) == (413, "urn:jobchain:problem:body-too-large")


class TestTheStepsOfAJob:
    def test_that_run_at_the_same_time_are_shown_so(self, job: Job) -> None:
        job.create(COMPARE)

        assert job.steps == [("first", "processing"), ("second", "processing"), ("comparison", "pending")]

    def test_keep_the_chains_order_whichever_ends_first(self, job: Job) -> None:
        claim = job.create(COMPARE)
        job.store(claim, second=["B"])

        assert job.steps == [("first", "processing"), ("second", "completed"), ("comparison", "pending")]

    def test_tell_which_of_them_failed(self, job: Job, stores: Stores) -> None:
        claim = job.create(COMPARE)
        stores.claims.fail(claim, JobError("model_failed", "it failed", "second"))

        assert job.steps == [("first", "pending"), ("second", "failed"), ("comparison", "pending")]

    def test_that_work_in_parts_show_each_part_but_not_the_cut(self, job: Job, stores: Stores) -> None:
        claim = job.create({"input_text": "Lock the door."})
        outputs: dict[str, JsonValue] = {"summary.parts": [[0, 5], [5, 14]], "summary.part01": "x"}
        job.store(claim, **outputs)
        running = job.steps

        stores.claims.fail(claim, JobError("model_failed", "it failed", "summary.part02"))

        rest = [("checklist", "pending"), ("diagram", "pending")]
        assert running == [("summary.part01", "completed"), ("summary", "processing"), *rest]
        parts = {step["name"]: step["parts"] for step in job.read().body["steps"]}
        assert parts == {"summary.part01": None, "summary": 2, "checklist": None, "diagram": None}
        assert job.steps == [("summary.part01", "completed"), ("summary", "failed"), *rest]

    def test_that_asked_no_model_name_none(self, job: Job, stores: Stores) -> None:
        claim = job.create({"input_text": "Lock the door."})
        stores.save_step(claim, 0, FinishedStep("checklist", [ITEM], "", "", NOW, NOW, NOTHING_SPENT))

        (step,) = (step for step in job.read().body["steps"] if step["name"] == "checklist")
        assert (step["model"], step["prompt_version"], step["cost_usd"]) == (None, None, 0)


class TestAChainThatCanNotBeUsed:
    """Its module is imported, and its graph is right; only building its step finds the mistake."""

    @pytest.fixture
    def registry(self, monkeypatch: pytest.MonkeyPatch) -> Registry:
        source = ModuleType("mistaken_chains")
        exec(MISTAKEN, vars(source))
        monkeypatch.setitem(sys.modules, "mistaken_chains", source)
        mistaken = ChainSource("mistaken", "mistaken_chains:chain", "mistaken-package")
        return Registry(lambda: Deployment({"mistaken": mistaken}, ""))

    @pytest.fixture
    def api(self, stores: Stores, queue: JobQueue, logger: Logger, registry: Registry) -> Api:
        return Api(make_service(stores, queue, logger, chains=registry), logger, chains=registry)

    def test_is_told_with_the_mistake(self, api: Api) -> None:
        answer = api("GET", "/chains").body

        assert answer["chains"] == []
        (told,) = answer["unusable"]
        assert told["name"] == "mistaken"
        assert "concatenate takes lists and texts, and the step many gives neither" in told["reason"]

    def test_is_told_with_the_same_words_each_time(self, api: Api) -> None:
        assert api("GET", "/chains").body == api("GET", "/chains").body

    def test_takes_no_jobs(self, api: Api, items: Items) -> None:
        request = {"job_name": "mistaken", "payload": {"text": "Lock the door."}}

        answer = api("POST", "/jobs", request)
        (entry,) = api("POST", "/jobs/batch", {"jobs": [request]}).body["results"]

        told = {"job_name": "the chain mistaken can't be used here: GET /chains says why"}
        assert (answer.status, answer.body["errors"]) == (422, told)
        assert entry["errors"] == told
        assert items.all() == []

    def test_takes_no_forks_of_jobs_that_it_had(self, api: Api, job: Job, stores: Stores) -> None:
        job.event_id = "0b6c2f4e-0000-4000-8000-000000000003"
        stores.admission.create(NewJob(job.event_id, "local", "mistaken", {"text": "x"}, "f"), timedelta(days=30))
        job.store(job.claim(), many=3)

        answer = api("POST", f"/jobs/{job.event_id}/fork", {"from_step": "many"})

        assert answer.status == 409
        assert answer.body["detail"].startswith("the chain mistaken can't be used here: GET /chains says why")

    def test_leaves_what_its_jobs_have_stored(self, job: Job, stores: Stores) -> None:
        job.event_id = "0b6c2f4e-0000-4000-8000-000000000002"
        stores.admission.create(NewJob(job.event_id, "local", "mistaken", {}, "f"), timedelta(days=30))
        job.store(job.claim(), many=3)

        assert job.read().body["result"] == {"many": 3}

    def test_is_no_default_chain(self, api: Api) -> None:
        answer = api("POST", "/jobs", {"input_text": "Lock the door."})

        assert answer.status == 422
        assert answer.body["errors"] == {"input_text": "no default chain: give job_name (one of mistaken) and payload"}


class TestTheResultOfAJob:
    def test_is_what_its_chain_shows(self, job: Job) -> None:
        claim = job.create({"input_text": "Lock the door."})
        outputs: dict[str, JsonValue] = {"summary.parts": [[0, 5]], "summary": "Short.", "checklist": [ITEM]}
        job.store(claim, **outputs)

        assert job.read().body["result"] == {
            "summary": "Short.",
            "checklist": ["Lock it."],
            "checklist_items": [ITEM],
        }

    def test_of_a_chain_that_is_gone_is_what_is_stored(self, job: Job, api: Api, stores: Stores) -> None:
        job.event_id = "0b6c2f4e-0000-4000-8000-000000000001"
        stores.admission.create(NewJob(job.event_id, "local", "retired", {}, "f"), timedelta(days=30))
        job.store(job.claim(), outline="Short.")

        assert job.read().body["result"] == {"outline": "Short."}
        assert job.steps == [("outline", "completed")]


UNREADABLE = """
from typing import Annotated

from pydantic import AfterValidator, BaseModel

from jobchain import Chain

RATES = {"EUR": 1.0}


class Amount(BaseModel):
    currency: Annotated[str, AfterValidator(lambda name: RATES[name] and name)]


chain = Chain("amounts", payload=Amount)


@chain.code
def same(currency: str) -> str:
    return currency
"""


class TestAChainWhosePayloadRaisesSomethingElse:
    """Pydantic lets all but ValueError and AssertionError through."""

    @pytest.fixture
    def api(self, stores: Stores, queue: JobQueue, logger: Logger, monkeypatch: pytest.MonkeyPatch) -> Api:
        source = ModuleType("amount_chains")
        exec(UNREADABLE, vars(source))
        monkeypatch.setitem(sys.modules, "amount_chains", source)
        found = ChainSource("amounts", "amount_chains:chain", "amount-package")
        registry = Registry(lambda: Deployment({"amounts": found}, ""))
        return Api(make_service(stores, queue, logger, chains=registry), logger, chains=registry)

    def test_refuses_that_entry_of_a_batch_alone(self, api: Api) -> None:
        entries = [{"job_name": "amounts", "payload": {"currency": name}} for name in ("EUR", "USD")]

        accepted, refused = api("POST", "/jobs/batch", {"jobs": entries}).body["results"]

        assert accepted["status"] == "pending"
        assert refused["errors"] == {"payload": "the chain amounts can't read it (KeyError)"}
