"""The pace of calls without a table of AWS: slots, tenants, and what is learned of a server."""

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from threading import Event, Thread

import pytest

from benchmarks.simulation.pacing import MemoryTable
from jobchain.errors import SettingsError
from jobchain.pace import (
    ADVANCE,
    BURST,
    FAR_HORIZON,
    HORIZON,
    LEAST_HORIZON,
    MAX_DELAY,
    MIN_DELAY,
    RACE,
    STEADY,
    Change,
    Demand,
    Full,
    Granted,
    PaceState,
    Rates,
    Refused,
)
from jobchain.pace_learning import PRESSED_EVERY, shortfall, told
from jobchain.pacer import Pacer
from jobchain.rate_limits import NO_RATE_LIMITS, RateLimit, RateLimits

SECOND = timedelta(seconds=1)
START = datetime(2026, 11, 22, 10, tzinfo=UTC)
JOB = Demand(3, 26_000)
USED = Demand(3, 9000)
TIER = Rates(5000, 2_000_000)


class Account:
    """One account's table, and a worker with a clock that is moved by hand."""

    def __init__(self, configured: Rates = TIER) -> None:
        self.now = START
        self.table = MemoryTable()
        self.worker = Pacer(self.table, configured, lambda: self.now, random.Random(1).random)

    def grants(self, tenant: str, jobs: int, demand: Demand = JOB) -> list[Granted]:
        """Asks for slots of this many jobs, and gives those that are granted."""
        return [
            got for _ in range(jobs) if isinstance(got := self.worker.reserve([demand], tenant, lambda: jobs), Granted)
        ]

    def ahead(self, granted: Iterable[Granted]) -> list[float]:
        return [(got.at - self.now).total_seconds() for got in granted]

    def settle(self, limits: RateLimits = NO_RATE_LIMITS, *, refused: bool = False, used: Demand = USED) -> None:
        self.worker.settle(JOB, JOB, used, limits, refused)

    @property
    def rates(self) -> Rates:
        return self.worker.view().rates

    @property
    def given(self) -> float:
        """How far the limit is given away, in seconds."""
        return (self.worker.view().free_at - self.now).total_seconds()


def tokens(left: float, reset: float | None = None, limit: int = 2_000_000) -> RateLimits:
    """What a bucket of tokens tells of which a part is left."""
    reset = 60 * (1 - left) if reset is None else reset
    return RateLimits(RateLimit(), RateLimit(limit, int(limit * left), reset * SECOND))


# --- when jobs ask ---------------------------------------------------------------------------------


def test_the_jobs_of_a_backlog_ask_evenly_from_the_first_seconds_on() -> None:
    delays = sorted(Full(0, each=0.05).delay(20_000, place / 1000) for place in range(1000))

    assert delays[0] == MIN_DELAY
    assert delays[-1] < 20_000 * 0.05
    assert max(later - earlier for earlier, later in pairwise(delays)) < 1


def test_about_half_as_many_more_jobs_ask_as_there_are_slots() -> None:
    each, waiting, draw = 0.05, 10_000, random.Random(1).random
    delays = [Full(0, each).delay(waiting, draw()) for _ in range(waiting)]

    asks = sum(10 <= delay < 110 for delay in delays)

    assert asks == pytest.approx(1.5 * 100 / each, rel=0.1)


@pytest.mark.parametrize("full", [Full(0, 8), Full(1e6, 8), Full(0, 1e-9), Full(30, 1)])
@pytest.mark.parametrize("waiting", [0, 1, 10**6])
@pytest.mark.parametrize("draw", [0.0, 1.0])
def test_no_job_asks_again_at_once_or_later_than_the_queue_can_delay_it(full: Full, waiting: int, draw: float) -> None:
    assert MIN_DELAY <= full.delay(waiting, draw) <= MAX_DELAY


def test_no_job_asks_before_there_can_be_a_slot() -> None:
    assert Full(wait=40, each=1).delay(1, 0) >= 40


# --- slots -----------------------------------------------------------------------------------------


def test_slots_of_long_jobs_are_granted_further_ahead_than_those_of_short_ones() -> None:
    slow, quick = Account(Rates(requests=15)), Account(Rates(requests=6000))

    furthest = [max(one.ahead(one.grants("acme", 900, Demand(1, 0)))) for one in (slow, quick)]

    assert HORIZON - 4 < furthest[0] <= HORIZON
    assert LEAST_HORIZON - 1 < furthest[1] <= LEAST_HORIZON


def test_a_tenant_that_is_alone_is_granted_no_slots_far_ahead() -> None:
    account = Account(Rates(requests=60))

    granted = account.grants("acme", 300, Demand(3, 0))

    assert max(account.ahead(granted)) <= HORIZON


def test_a_tenant_with_few_jobs_gets_its_first_slots_at_once_behind_a_backlog() -> None:
    account = Account(Rates(requests=60))
    account.grants("large", 300, Demand(3, 0))

    first, *others = account.grants("small", 6, Demand(3, 0))

    assert account.ahead([first]) == [0]
    assert len(others) == 5
    assert max(account.ahead(others)) <= HORIZON + 6 * 3


def test_the_slots_that_a_small_tenant_gets_at_once_come_later_for_others() -> None:
    account = Account(Rates(requests=60))
    account.grants("large", 300, Demand(1, 0))
    before = account.given

    account.grants("small", 1, Demand(3, 0))

    assert account.given == pytest.approx(before + 3, abs=0.01)


@pytest.mark.parametrize("seed", range(5))
def test_calls_that_have_begun_are_never_more_than_a_bucket_ahead_of_the_limit(seed: int) -> None:
    account, draw = Account(Rates(requests=60)), random.Random(seed)
    starts: list[datetime] = []

    for _ in range(900):
        tenant = f"tenant {draw.randrange(40)}" if draw.random() < 0.7 else "large"
        starts += [got.at for got in account.grants(tenant, draw.randrange(3), Demand(1, 0))]
        account.now += draw.random() * SECOND

    most = RACE * ADVANCE + BURST + 1
    assert most < 60
    for number, at in enumerate(sorted(starts), 1):
        assert number <= (at - START).total_seconds() + most


def test_a_job_that_is_larger_than_a_minute_of_the_limit_is_granted_one_minute() -> None:
    account = Account(Rates(requests=60))

    granted = account.grants("acme", 1, Demand(1000, 0))

    assert granted[0].demand == Demand(60, 0)


# --- what the server counts ------------------------------------------------------------------------


def test_until_an_answer_tells_how_the_server_counts_jobs_are_charged_what_they_ask_for() -> None:
    account = Account()

    assert account.grants("acme", 1)[0].demand.tokens == JOB.tokens


def test_a_call_of_which_fewer_tokens_are_missing_than_it_asked_for_shows_that_used_ones_count() -> None:
    account = Account()
    account.grants("acme", 1)

    account.worker.learn(Demand(1, 12_000), tokens(1 - 3000 / 2_000_000))

    assert account.grants("acme", 1)[0].demand.tokens == JOB.tokens // 2


def test_a_call_of_which_all_tokens_are_missing_that_it_asked_for_shows_nothing() -> None:
    account = Account()
    account.grants("acme", 1)

    account.worker.learn(Demand(1, 12_000), tokens(1 - 12_000 / 2_000_000))

    assert account.grants("acme", 1)[0].demand.tokens == JOB.tokens


def test_a_server_that_tells_nothing_is_taken_to_count_what_is_used() -> None:
    account = Account()
    account.grants("acme", 1)

    account.worker.learn(Demand(1, 12_000), NO_RATE_LIMITS)

    assert account.grants("acme", 1)[0].demand.tokens == JOB.tokens // 2


def test_a_limit_that_comes_near_while_used_tokens_are_charged_shows_that_asked_ones_count() -> None:
    account = Account()
    account.grants("acme", 1)
    account.worker.learn(Demand(1, 12_000), tokens(1))

    account.settle(tokens(0.2))
    account.now += 120 * SECOND

    assert account.grants("acme", 1)[0].demand.tokens > 0.9 * JOB.tokens


def test_what_is_known_of_the_count_is_written_once() -> None:
    account = Account()
    account.grants("acme", 1)
    account.worker.learn(Demand(1, 12_000), tokens(1))
    writes = account.table.writes

    for _ in range(20):
        account.worker.learn(Demand(1, 12_000), tokens(1))

    assert account.table.writes == writes


def test_limits_are_known_from_the_first_answer_on() -> None:
    account = Account(Rates())

    account.worker.learn(Demand(1, 12_000), tokens(0.9))

    assert account.rates == Rates(None, 2_000_000)


# --- when the limit comes near ---------------------------------------------------------------------


def test_a_told_limit_that_comes_near_brings_a_pause_as_long_as_what_is_missing_and_no_lower_rate() -> None:
    account = Account()
    account.grants("acme", 1)

    account.settle(tokens(0.1))

    assert account.given == pytest.approx(60 * (0.9 - 0.1) - 0.5, abs=1)
    assert account.rates == TIER


def test_however_often_the_limit_comes_near_no_more_is_left_out_than_is_missing() -> None:
    account = Account()
    given = []

    for _ in range(100):
        account.settle(tokens(0.0), refused=True)
        given.append(account.given)
        account.now += PRESSED_EVERY / 10 * SECOND

    assert max(given) == pytest.approx(60)
    assert min(given) > 60 - PRESSED_EVERY - 1
    assert account.rates == TIER


def test_a_job_that_tells_of_absurd_usage_holds_up_others_for_two_minutes_at_most() -> None:
    account = Account()
    account.grants("acme", 1)

    account.settle(used=Demand(3, 10**12))

    assert account.given <= FAR_HORIZON


def test_a_call_that_is_refused_by_a_server_that_tells_nothing_lowers_the_rate_once_in_half_a_minute() -> None:
    account = Account(Rates(requests=100))
    account.grants("acme", 1)

    for _ in range(20):
        account.settle(refused=True)
        account.now += SECOND

    assert account.rates.requests == pytest.approx(80, rel=0.05)
    account.now += 200 * SECOND
    assert account.rates.requests == 100


def test_calls_that_are_refused_although_all_of_the_limit_should_be_left_lower_the_rate() -> None:
    account = Account()
    account.grants("acme", 1)
    full = RateLimits(RateLimit(5000, 5000, 0 * SECOND), RateLimit(2_000_000, 2_000_000, 0 * SECOND))

    for refusals in range(1, 6):
        assert account.rates == TIER, f"{refusals - 1} refusals may be chance"
        account.settle(full, refused=True)

    assert account.rates == Rates(4000, 1_600_000)


@pytest.mark.parametrize("configured", [TIER, Rates()], ids=["known limits", "unknown limits"])
def test_a_server_that_refuses_one_call_in_thirty_at_any_pace_does_not_lower_it(configured: Rates) -> None:
    account = Account(configured)

    for number in range(900):
        account.now += 0.2 * SECOND
        if refused := number % 30 == 0:
            account.settle(refused=refused)
        else:
            account.worker.learn(JOB, NO_RATE_LIMITS)

    assert account.rates == configured
    assert account.table.state.get("refusals", 0.0) < 1.5


def test_where_limits_are_unknown_a_pace_that_was_found_and_cut_grows_again_within_minutes() -> None:
    account = Account(Rates())

    def refuse() -> None:
        for _ in range(5):
            account.settle(refused=True)

    refuse()
    assert account.rates.requests == 60
    account.now += 180 * SECOND
    assert account.rates.requests == pytest.approx(480), "it doubles each minute"
    refuse()
    cut = account.rates.requests
    found = []
    for _ in range(4):
        account.now += STEADY * SECOND
        found.append(account.rates.requests)

    assert cut == pytest.approx(384)
    assert found == pytest.approx([480, 576, 1248, 3072]), "at first back to what was too much, then further"


def test_a_limit_that_is_lowered_in_the_headers_while_jobs_wait_holds_for_the_next_slot() -> None:
    account = Account(Rates())
    account.settle(tokens(1.0))
    account.grants("acme", 10)

    account.settle(tokens(1.0, limit=200_000))
    assert account.rates.tokens == 200_000
    while not (granted := account.grants("acme", 2)):
        account.now += SECOND

    assert len(granted) <= 2
    assert account.given <= HORIZON + 2 * 60 * JOB.tokens / 200_000


# --- what can't be ---------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), 1e12])
def test_a_limit_that_can_not_be_is_a_setting_that_is_refused(rate: float) -> None:
    with pytest.raises(SettingsError, match="limit of requests a minute"):
        Rates(requests=rate)


@pytest.mark.parametrize(
    "limit",
    [
        RateLimit(0, 0, SECOND),
        RateLimit(-5, 0, SECOND),
        RateLimit(10**12, 0, SECOND),
        RateLimit(100, 0, timedelta(hours=1)),
        RateLimit(),
    ],
)
def test_a_told_limit_that_can_not_be_one_of_a_minute_is_none(limit: RateLimit) -> None:
    assert told(limit) is None
    assert shortfall(limit) == 0


@pytest.mark.parametrize("left", [-1, 101, 10**9, None])
def test_what_is_left_is_not_believed_where_it_can_not_be(left: int | None) -> None:
    assert shortfall(RateLimit(100, left, 30 * SECOND)) == 0


@pytest.mark.parametrize(
    ("limit", "missing"),
    [
        (RateLimit(100, 50, 30 * SECOND), 0),  # a bucket that is half full
        (RateLimit(100, 25, 45 * SECOND), 30),  # a bucket that runs empty
        (RateLimit(100, 80, 50 * SECOND), 0),  # a window that has begun
        (RateLimit(100, 20, 40 * SECOND), 28),  # a window that is used up too early
        (RateLimit(100, 3, 2 * SECOND), 0),  # a window that ends
        (RateLimit(100, 0, 2 * SECOND), 2),
        (RateLimit(100, 90, -9 * SECOND), 0),  # a reset in the past: only what is left counts
        (RateLimit(100, 10, -9 * SECOND), 24),
        (RateLimit(100, 10), 24),
    ],
)
def test_what_is_missing_is_told_by_what_is_left_and_by_the_reset(limit: RateLimit, missing: float) -> None:
    assert shortfall(limit) == pytest.approx(missing)


def test_a_refused_job_is_told_when_to_ask_again() -> None:
    account = Account(Rates(requests=60))
    account.grants("acme", 300, Demand(3, 0))

    got = account.worker.reserve([JOB], "acme", lambda: 300)

    assert isinstance(got, Refused)
    assert account.now + MIN_DELAY * SECOND <= got.until <= account.now + MAX_DELAY * SECOND


# --- without a request -----------------------------------------------------------------------------

NO_LIMIT = Rates()
NEVER = timedelta(hours=1)


def counted(account: Account) -> list[str]:
    """The requests to the account's table from now on."""
    requests: list[str] = []
    read, write = account.table.read, account.table.write

    def counted_read() -> PaceState | None:
        requests.append("read")
        return read()

    def counted_write(change: Change) -> PaceState:
        requests.append("write")
        return write(change)

    account.table.read, account.table.write = counted_read, counted_write  # type: ignore[method-assign]
    return requests


def test_an_account_without_a_known_limit_grants_learns_and_settles_without_a_request() -> None:
    # Given an account without known limits, which a job has just looked at
    account = Account(NO_LIMIT)
    account.grants("acme", 1)
    requests = counted(account)

    # When another job asks, is answered and ends
    granted = account.worker.reserve_at_once([JOB], "acme")
    learned = account.worker.learn_at_once(JOB, NO_RATE_LIMITS)
    settled = account.worker.settles_nothing(Demand(0, 0), JOB, USED, NO_RATE_LIMITS)

    # Then all of that takes no request
    assert granted == account.worker.reserve([JOB], "acme")
    assert (learned, settled, requests) == (True, True, [])


def test_what_is_not_known_takes_a_request() -> None:
    # Given an account that was looked at too long ago
    account = Account(NO_LIMIT)
    account.grants("acme", 1)
    account.now += NEVER

    # When a job asks, is answered and ends
    # Then nothing of that is done at once
    assert account.worker.reserve_at_once([JOB], "acme") is None
    assert not account.worker.learn_at_once(JOB, NO_RATE_LIMITS)
    assert not account.worker.settles_nothing(Demand(0, 0), JOB, USED, NO_RATE_LIMITS)


def test_a_slot_of_a_limit_is_never_granted_without_a_write() -> None:
    # Given an account with a limit, which has just been looked at
    account = Account()
    account.grants("acme", 1)

    # When a job asks at once
    # Then it gets no slot: two workers would get the same one
    assert account.worker.reserve_at_once([JOB], "acme") is None


def test_an_answer_that_tells_a_limit_is_written_and_a_job_that_used_less_is_settled() -> None:
    # Given an account without a known limit
    account = Account(NO_LIMIT)
    account.grants("acme", 1)

    # When an answer tells it
    # Then that is nothing that could be done without a write
    assert not account.worker.learn_at_once(JOB, tokens(0.9))
    account.worker.learn(JOB, tokens(0.9))
    account.grants("acme", 1)
    assert not account.worker.settles_nothing(JOB, JOB, USED, tokens(0.9))


def test_no_job_waits_for_another_ones_request_where_it_needs_none() -> None:
    # Given an account that another thread asks about, and whose answer does not come
    account = Account(NO_LIMIT)
    account.grants("acme", 1)
    asked, answer = Event(), Event()
    read = account.table.read

    def slow_read() -> PaceState | None:
        asked.set()
        answer.wait(10)
        return read()

    account.table.read = slow_read  # type: ignore[method-assign]
    account.now += NEVER
    asking = Thread(target=account.worker.view)
    asking.start()
    assert asked.wait(10)

    # When a job is answered meanwhile
    learned = account.worker.learn_at_once(JOB, NO_RATE_LIMITS)

    # Then it is told at once that this is for a thread
    assert not learned
    answer.set()
    asking.join(10)


def test_refusals_are_forgiven_for_the_answers_that_were_learned_without_a_request() -> None:
    # Given two accounts: one learns of its answers at once, the other as before
    at_once, before = Account(NO_LIMIT), Account(NO_LIMIT)
    for account in (at_once, before):
        account.grants("acme", 1)
    for _ in range(100):
        assert at_once.worker.learn_at_once(JOB, NO_RATE_LIMITS)
        before.worker.learn(JOB, NO_RATE_LIMITS)

    # When a call is refused
    for account in (at_once, before):
        account.settle(refused=True)

    # Then both have learned the same
    assert at_once.table.read() == before.table.read()
