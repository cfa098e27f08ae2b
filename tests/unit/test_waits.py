"""Why pending jobs wait, where that is worked out when they are read; and how long a job is tried."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from jobchain.aws.breakers import BreakerStore
from jobchain.aws.paces import PaceStore
from jobchain.breaker import ModelAccount
from jobchain.chains import CHAINS
from jobchain.chains.chain import Chain
from jobchain.domain import Job, NewJob, Status, Tier, WaitingFor, WaitReason, isoformat
from jobchain.observability import Logger
from jobchain.overrides import Overrides
from jobchain.pace import Demand, Granted, Rates
from jobchain_api.account_waits import AccountWaits
from jobchain_api.service import JobService
from jobchain_api.waits import waiting_now
from tests.fakes import FakeClock
from tests.gateway import Api
from tests.stores import Stores
from tests.unit.test_fallbacks import with_options

ACCOUNT = ModelAccount("models.test", "secret", "m")
MADE = "2026-11-22T10:00:00.000Z"
JOB = Job("id", "local", "guideline_checklist", Status.PENDING, MADE, MADE)


class Account:
    """The account's items, and what jobs see of them."""

    def __init__(self, stores: Stores) -> None:
        self.breakers = BreakerStore(stores.client, stores.table, ACCOUNT, stores.clock)
        self._stores = stores

    def reason(self, job: Job = JOB, chains: Mapping[str, Chain] = CHAINS) -> WaitingFor | None:
        stores = self._stores
        rates = Rates(requests=6)

        def paces(model: str) -> dict[Tier, PaceStore]:
            account = replace(ACCOUNT, model=model)
            return {tier: PaceStore(stores.client, stores.table, account, tier, rates, stores.clock) for tier in Tier}

        breakers = BreakerStore(stores.client, stores.table, ACCOUNT, stores.clock)
        waits = AccountWaits(breakers, paces, ACCOUNT.model)
        return waiting_now(job, waits, stores.clock(), chains).waiting_for

    def fill(self, model: str = ACCOUNT.model) -> None:
        stores, account = self._stores, replace(ACCOUNT, model=model)
        pace = PaceStore(stores.client, stores.table, account, Tier.STANDARD, Rates(requests=6), stores.clock)
        while isinstance(pace.reserve([Demand(1, 100)], "local"), Granted):
            pass


@pytest.fixture
def account(stores: Stores) -> Account:
    return Account(stores)


def test_a_job_of_an_idle_account_waits_for_a_worker(account: Account) -> None:
    assert account.reason() == WaitingFor(WaitReason.QUEUE, MADE, None, "the job waits for a worker")


def test_a_job_of_another_model_waits_for_the_limits_of_that_and_for_the_key(
    account: Account, clock: FakeClock
) -> None:
    other = replace(JOB, overrides=Overrides(model="another-model"))
    account.fill()
    account.breakers.look()
    account.breakers.open("model_not_found", clock())

    found = account.reason(other)
    assert found
    assert found.reason is WaitReason.QUEUE

    account.breakers.open("model_unauthorized", clock())
    found = account.reason(other)
    assert found
    assert found.reason is WaitReason.ACCOUNT


@pytest.mark.parametrize("options", [{"fallback_model": "another"}, {"model": "another"}], ids=str)
def test_a_job_that_can_go_on_with_another_model_does_not_wait_for_the_one_that_is_refused(
    account: Account, clock: FakeClock, options: dict[str, str]
) -> None:
    account.breakers.open("model_not_found", clock())
    chains = with_options(**options)

    found = account.reason(JOB, chains)

    assert found
    assert found.reason is WaitReason.QUEUE
    account.breakers.open("model_unauthorized", clock())
    found = account.reason(JOB, chains)
    assert found
    assert found.reason is WaitReason.ACCOUNT, "the key is that of all models"


def test_a_job_whose_fallback_is_used_up_waits_for_its_limits(account: Account, clock: FakeClock) -> None:
    account.breakers.open("model_not_found", clock())
    account.fill("another")

    found = account.reason(JOB, with_options(fallback_model="another"))

    assert found
    assert found.reason is WaitReason.RATE_LIMIT


@pytest.mark.parametrize(
    "job",
    [replace(JOB, flex_until=datetime(2100, 1, 1, tzinfo=UTC)), replace(JOB, job_name="unknown")],
    ids=["flex", "unknown chain"],
)
def test_a_job_that_can_not_go_on_waits_for_the_model_that_is_refused(
    account: Account, clock: FakeClock, job: Job
) -> None:
    account.breakers.open("model_not_found", clock())

    found = account.reason(job, with_options(fallback_model="another"))

    assert found
    assert found.reason is WaitReason.ACCOUNT


def test_a_job_of_an_account_whose_limit_is_used_up_waits_for_that(account: Account, clock: FakeClock) -> None:
    account.fill()

    found = account.reason()

    assert found is not None
    assert (found.reason, found.since) == (WaitReason.RATE_LIMIT, MADE)
    assert found.until is not None
    assert found.until > isoformat(clock() + timedelta(seconds=20))
    assert "6 requests a minute" in found.detail


def test_an_account_that_is_refused_comes_before_its_limit(account: Account, clock: FakeClock) -> None:
    account.fill()
    account.breakers.open("model_unauthorized", clock())

    found = account.reason()

    assert found is not None
    assert (found.reason, found.until) == (WaitReason.ACCOUNT, isoformat(clock() + timedelta(minutes=1)))
    assert not found.retryable


def test_a_stored_reason_comes_first_until_its_time_is_over(account: Account, clock: FakeClock) -> None:
    account.fill()
    stored = WaitingFor(WaitReason.BUDGET, MADE, isoformat(clock() + timedelta(seconds=1)), "used up")
    job = Job("id", "local", "c", Status.PENDING, MADE, MADE, waiting_for=stored)

    assert account.reason(job) == stored
    clock.advance(timedelta(seconds=1))
    found = account.reason(job)
    assert found is not None
    assert (found.reason, found.since) == (WaitReason.RATE_LIMIT, stored.until)


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.PENDING])
def test_a_job_that_is_not_pending_waits_for_nothing(account: Account, status: Status) -> None:
    assert account.reason(Job("id", "local", "c", status, MADE, MADE)) is None


class TestTheDeadline:
    @pytest.fixture
    def api(self, service: JobService, logger: Logger) -> Api:
        return Api(service, logger)

    @pytest.mark.parametrize("seconds", [59, 604_801, 0, -1, "3600", 90.5, True])
    def test_that_is_out_of_range_or_no_whole_number_is_named_with_the_fix(self, api: Api, seconds: object) -> None:
        answer = api("POST", "/jobs", {"input_text": "Doors must be locked.", "deadline_seconds": seconds})

        assert (answer.status, list(answer.body["errors"])) == (422, ["deadline_seconds"])
        assert "60 to 604800" in answer.body["errors"]["deadline_seconds"]

    @pytest.mark.parametrize("seconds", [60, 604_800, 7200.0])
    def test_of_a_job_is_shown(self, api: Api, clock: FakeClock, seconds: float) -> None:
        made = api("POST", "/jobs", {"input_text": "Doors must be locked.", "deadline_seconds": seconds}).body

        job = api("GET", f"/jobs/{made['event_id']}").body

        assert job["deadline_seconds"] == seconds
        assert datetime.fromisoformat(job["deadline_at"]) == clock() + timedelta(seconds=seconds)

    def test_is_a_day_by_default_and_starts_anew_at_a_retry(self, api: Api, clock: FakeClock) -> None:
        path = f"/jobs/{api('POST', '/jobs', {'input_text': 'Doors must be locked.'}).body['event_id']}"
        api("POST", f"{path}/cancel")
        clock.advance(timedelta(hours=5))

        job = api("POST", f"{path}/retry").body

        assert job["deadline_seconds"] == 86_400
        assert datetime.fromisoformat(job["deadline_at"]) == clock() + timedelta(days=1)

    def test_comes_a_day_before_the_job_is_erased_at_the_latest(self, api: Api, clock: FakeClock) -> None:
        body = {"input_text": "Doors must be locked.", "deadline_seconds": 604_800}
        made = api("POST", "/jobs", body).body
        path, erased = f"/jobs/{made['event_id']}", clock() + timedelta(days=30)
        api("POST", f"{path}/cancel")
        clock.advance(timedelta(days=25))

        job = api("POST", f"{path}/retry").body

        assert datetime.fromisoformat(job["deadline_at"]) == erased - timedelta(days=1)

    def test_of_a_new_job_leaves_a_day_to_read_how_it_ended(self, stores: Stores, clock: FakeClock) -> None:
        new = NewJob("id", "local", "guideline_checklist", {}, fingerprint="f", deadline=timedelta(days=7))

        job = stores.admission.create(new, timedelta(days=7))

        assert job.deadline_at == (clock() + timedelta(days=6)).timestamp()

    def test_tells_a_replay_from_another_request(self, api: Api) -> None:
        body = {"input_text": "Doors must be locked."}
        assert api("POST", "/jobs", body, {"Idempotency-Key": "k"}).status == 201

        assert api("POST", "/jobs", body, {"Idempotency-Key": "k"}).status == 200
        assert api("POST", "/jobs", {**body, "deadline_seconds": 60}, {"Idempotency-Key": "k"}).status == 422
