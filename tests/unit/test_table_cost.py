"""What jobs cost in the table's units, counted by DynamoDB's rules, item by item.

Where a number is of an item or an index, its name says which: META, INPUT, STEP, ATTEMPT, USAGE (the tenant's day);
`recent`, `due`, `unfinished`. The writes of a transaction count twice. docs/explanation/table.md has the same numbers.
"""

import asyncio
import json
import random
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar, cast

import boto3
import pytest
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import JsonValue

from benchmarks.capacity import Meter, Units, indexes, size
from benchmarks.simulation import limits
from benchmarks.simulation.inputs import Inputs
from jobchain.aws.items import DISPATCH_GRACE
from jobchain.aws.queue import JobQueue
from jobchain.aws.versions import VersionStore
from jobchain.chains import CHAINS
from jobchain.domain import DailyBudget, NewJob, Tier
from jobchain.errors import CallReport, LimitReached, TransientModelError
from jobchain.limits import Limits
from jobchain.spending import Spending, Usage
from jobchain_sweeper.sweeper import Sweep, Sweeper
from jobchain_worker.consumer import Consumer
from tests.conftest import TABLE, Items, make_runner, make_service, make_sweeper
from tests.fake_model.answers import CHECKLIST, CONTENTS, DIAGRAM, SUMMARY
from tests.fake_model.llm import Said, SchemaLLM
from tests.fake_model.replies import USAGE
from tests.fake_model.script import asked
from tests.fakes import FakeClock, FakeContext
from tests.gateway import Answer, Api
from tests.stores import Stores

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from jobchain.llm import ModelRequest

R = TypeVar("R")

SMALL = "Passwords must be long."
LEASE = timedelta(minutes=5)
NEVER = 10_000_000_000
"""After each job of these tests has expired, in seconds since 1970."""

# By the share of each length among the words of English texts, and of each letter among their letters, in per mille.
_LENGTHS = dict(zip(range(1, 13), (30, 167, 211, 157, 109, 85, 79, 60, 45, 30, 17, 10), strict=True))
_LETTERS = dict(
    zip(
        "etaoinshrdlcumwfgypbvkjxqz",
        (127, 91, 82, 75, 70, 67, 63, 61, 60, 43, 40, 28, 28, 24, 24, 22, 20, 20, 19, 15, 10, 8, 2, 2, 1, 1),
        strict=True,
    )
)


def text_of(size_: int, words: int = 4000) -> str:
    """A text of pseudo-random words, the same each time: the nth of them is used as often as 1/n, as in a language."""
    drawn = random.Random(1)
    lengths = drawn.choices(list(_LENGTHS), list(_LENGTHS.values()), k=words)
    known = ["".join(drawn.choices(list(_LETTERS), list(_LETTERS.values()), k=length)) for length in lengths]
    shares = [1 / rank for rank in range(1, words + 1)]
    sentences: list[str] = []
    while sum(map(len, sentences)) + len(sentences) < size_:
        sentences.append(" ".join(drawn.choices(known, shares, k=drawn.randint(5, 25))).capitalize() + ".")
    return " ".join(sentences)[:size_]


class Table:
    """The api, a worker and the sweeper on one table, and what their calls of it cost."""

    def __init__(
        self, meter: Meter, stores: Stores, api: Api, consumer: Consumer, sweeper: Sweeper, llm: "LongTextLLM"
    ) -> None:
        self.stores = stores
        self.api = api
        self.llm = llm
        self._meter = meter
        self._consumer = consumer
        self._sweeper = sweeper

    def post(self, text: str = SMALL) -> tuple[str, Units]:
        """The id of a job that is created, and what that costs."""
        answer, cost = self.call("POST", "/jobs", {"input_text": text})
        return answer.body["event_id"], cost

    def call(
        self, method: str, url: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> tuple[Answer, Units]:
        with self._meter.counting() as cost:
            answer = self.api(method, url, body, headers)
        assert answer.status < 300, answer.body
        return answer, cost

    def beside(self, method: str, url: str) -> Units:
        """What a request costs that comes while a worker is counted, whose count does not have it."""
        with self._meter.counting() as cost:
            assert self.api(method, url).status < 300
        return cost

    def work(self, event_id: str, *, crashes: bool = False) -> Units:
        """What a worker costs that gets the job's message; one that `crashes` makes no call of the table after that."""
        record = {"messageId": "m", "body": json.dumps({"event_id": event_id})}
        context = cast(LambdaContext, FakeContext(LEASE))
        # A worker looks at the account's limits once in some seconds, for all of its jobs.
        control = self._consumer._runner._control
        control.breakers.look()
        for pace in control.paces(control.model).values():
            pace.view()
        # And it stores a version of a chain once, for all of them.
        for chain in CHAINS.values():
            self.store_version(chain.name)
        with self._meter.counting() as cost:
            if crashes:
                with pytest.raises(Crash):
                    self._consumer.consume({"Records": [record]}, context)
            else:
                assert self._consumer.consume({"Records": [record]}, context) == {"batchItemFailures": []}
        return cost

    def store_version(self, name: str) -> Units:
        """What it costs that a worker has the definition of a chain stored."""
        versions = self._consumer._runner.versions
        versions.prepare()
        _, definition = versions._made[name]
        assert definition is not None
        with self._meter.counting() as cost:
            self.stores.versions.keep(definition, NEVER)
        return cost

    def sweep(self, deadline: Any) -> tuple[Sweep, Units]:
        with self._meter.counting() as cost:
            done = self._sweeper.sweep(deadline)
        return done, cost

    def measure(self, done: Callable[[], R]) -> tuple[Units, R]:
        """What anything else costs, and what it gives."""
        with self._meter.counting() as cost:
            result = done()
        return cost, result

    def status(self, event_id: str) -> str:
        return str(self.api("GET", f"/jobs/{event_id}").body["status"])


class Crash(BaseException):
    """A worker that ends at once: nothing catches it."""


class LongTextLLM(SchemaLLM):
    """Answers the parts of long texts too."""

    def right_answer(self, request: "ModelRequest") -> Said:
        step = asked(request.input, request.answer.__name__).step
        return CONTENTS["checklist" if step == "ChecklistPartAnswer" else step]


@pytest.fixture
def parts_of(
    dynamodb: "DynamoDBClient",
    template: dict[str, Any],
    queue: JobQueue,
    event_loop: asyncio.AbstractEventLoop,
    clock: FakeClock,
    logger: Logger,
) -> Callable[[int], Table]:
    """A table whose worker cuts texts of more tokens than this."""

    def build(max_input_tokens: int) -> Table:
        schema = template["Resources"]["JobTable"]["Properties"]
        meter = Meter(dynamodb, boto3.client("dynamodb"), TABLE, indexes(schema))
        stores = Stores(dynamodb, TABLE, clock)
        llm = LongTextLLM(clock=clock)
        runner = make_runner(stores, queue, llm, logger, max_input_tokens=max_input_tokens)
        sweeper = make_sweeper(stores, queue, logger, page_size=25)
        api = Api(make_service(stores, queue, logger), logger)
        return Table(meter, stores, api, Consumer(runner, event_loop, clock, logger), sweeper, llm)

    return build


@pytest.fixture
def table(parts_of: Callable[[int], Table]) -> Table:
    """A table whose worker cuts no text."""
    return parts_of(1_000_000)


def units(reads: float = 0, calls: int = 0, **by_item: int) -> Units:
    """Writes by item and index, reads and calls."""
    return Units(Counter(by_item), reads, calls)


def unanswered() -> TransientModelError:
    """A call that timed out: the server may have worked on it."""
    return TransientModelError("the model did not answer in time", report=CallReport(maybe_billed=True))


POST = units(INPUT=1, META=2, USAGE=2, recent=1, due=1, unfinished=1, calls=2)
"""The text in a put of its own; then META, which is new in all three indexes, and the day in a transaction."""

# The claim: META and its status in `unfinished`. A put for each step. The end, a transaction of META and the day: META
# is changed in `recent` and leaves the other two. Read are the job, and META between two steps.
WORK = units(META=1 + 2, STEP=3, USAGE=2, recent=1, due=1, unfinished=1 + 1, reads=1 + 2, calls=2 + 3 + 2 + 1)


def test_a_short_job_costs_twenty_units(table: Table) -> None:
    event_id, post = table.post()
    work = table.work(event_id)
    _, get = table.call("GET", f"/jobs/{event_id}")

    assert (post, work, get) == (POST, WORK, units(reads=1, calls=1))
    # With the two of a limit on the pace of calls, a job takes 22.
    assert post.writes + work.writes == 20
    assert post.table_writes + work.table_writes == 13


def test_a_version_of_a_chain_is_written_once_and_read_once_by_each_process(
    table: Table, dynamodb: "DynamoDBClient", clock: FakeClock
) -> None:
    first = table.store_version("guideline_checklist")
    again = table.store_version("guideline_checklist")
    table.stores.versions = VersionStore(dynamodb, TABLE)
    other = table.store_version("guideline_checklist")

    # 2.4 KB, compressed from 11 KB.
    assert (first.writes, first.reads, first.calls) == (3, 1, 2)
    assert again == units()
    assert other == units(reads=1, calls=1)


@pytest.mark.parametrize(("title", "entries", "more"), [(100, 6, 0), (200, 16, 3)])
def test_a_title_and_metadata_are_in_meta_which_is_small_unless_both_are_long(
    table: Table, title: int, entries: int, more: int
) -> None:
    notes = {f"key {number}": "value" for number in range(entries)}
    answer, post = table.call("POST", "/jobs", {"input_text": SMALL, "title": "n" * title, "metadata": notes})
    work = table.work(answer.body["event_id"])

    assert post.by_item == POST.by_item + Counter(METADATA=1)
    assert work.by_item == WORK.by_item + Counter(META=more)


@pytest.mark.parametrize("query", ["title=policy", "metadata.team=legal", "title=policy&metadata.team=legal"])
def test_a_filtered_list_reads_a_thousand_entries_of_the_index_at_most(
    table: Table, query: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given the wanted job behind 60 others that have ended, and 40 entries in place of 1,000
    monkeypatch.setattr("jobchain.aws.jobs.MAX_SEEN", 40)
    wanted = {"title": "Policy.docx", "metadata": {"team": "legal"}}
    first = table.call("POST", "/jobs", {"input_text": SMALL, **wanted})[0].body["event_id"]
    clock.advance(timedelta(seconds=1))
    entries = [{"input_text": SMALL, "title": "other.docx"}] * 60
    for entry in table.call("POST", "/jobs/batch", {"jobs": entries})[0].body["results"]:
        table.stores.jobs.cancel("local", entry["event_id"])

    page, cost = table.call("GET", f"/jobs?{query}")
    rest, more = table.call("GET", f"/jobs?{query}&cursor={page.body['next_cursor']}")

    assert ([*page.body["jobs"]], [job["event_id"] for job in rest.body["jobs"]]) == ([], [first])
    # Half a unit for each 4 KB of what was read, whatever passes: 40 entries of under 300 bytes in four requests,
    # and 21 in three. The secret of the cursors is read too, and META of the job that has not ended.
    assert cost.reads <= 0.5 * (40 * 300 / 4096 + 4) + 1
    assert more.reads <= 0.5 * (21 * 300 / 4096 + 3) + 1


def test_an_unfinished_job_is_read_with_the_tenants_recent_jobs_once_in_five_minutes(
    table: Table, clock: FakeClock
) -> None:
    # given a full page of ended jobs, which no caller has read
    for _ in range(60):
        table.work(table.post()[0])
    event_id, _ = table.post()

    _, first = table.call("GET", f"/jobs/{event_id}")
    _, second = table.call("GET", f"/jobs/{event_id}")

    # The job; and what 50 jobs took, from `recent`.
    assert first == units(reads=1 + 2.5, calls=2)
    assert second == units(reads=1, calls=1)


@pytest.mark.parametrize(("length", "ratio", "written", "read"), [(20_000, 2.44, 9, 3), (100_000, 2.65, 37, 10)])
def test_a_text_is_written_once_compressed_and_read_once(
    table: Table, length: int, ratio: float, written: int, read: int
) -> None:
    text = text_of(length)
    assert len(text) / len(zlib.compress(text.encode())) == pytest.approx(ratio, abs=0.01)

    event_id, post = table.post(text)
    work = table.work(event_id)
    _, get = table.call("GET", f"/jobs/{event_id}")

    assert post == units(INPUT=written, META=2, USAGE=2, recent=1, due=1, unfinished=1, calls=2)
    # A unit for each 4 KB of the job; the looks at META between the steps do not read the text, nor does its caller.
    assert work == Units(WORK.by_item, reads=read + 2, calls=WORK.calls)
    assert get == units(reads=1, calls=1)


def test_each_failed_call_costs_a_unit_and_each_wait_a_release_and_a_claim(table: Table, clock: FakeClock) -> None:
    event_id, post = table.post()
    too_many = TransientModelError("the model's server refuses calls for now", retry_after=timedelta(seconds=20))
    table.llm.script.add(too_many, {"unfit": True}, SUMMARY, unanswered(), CHECKLIST, DIAGRAM)
    worked = []
    while table.status(event_id) != "completed":
        worked.append(table.work(event_id))
        clock.advance(timedelta(minutes=2))

    # A claim: META and `unfinished`. A release: META and the day in a transaction; `due_at` moves, which takes an entry
    # out of `due` and `unfinished` and puts one in; the job has totals now, which `recent` holds.
    assert worked == [
        # 429: its attempt, then the release. It cost nothing, but the day counts calls.
        units(META=1 + 2, ATTEMPT=1, USAGE=2, recent=1, due=2, unfinished=1 + 2, reads=1, calls=4),
        # The unfit answer, the summary, the timeout: two attempts and a step.
        units(META=1 + 2, ATTEMPT=2, STEP=1, USAGE=2, recent=1, due=2, unfinished=1 + 2, reads=2, calls=7),
        # The rest, as of any job.
        units(META=1 + 2, STEP=2, USAGE=2, recent=1, due=1, unfinished=1 + 1, reads=1 + 1, calls=6),
    ]
    assert (post.writes, sum(work.writes for work in worked)) == (8, 12 + 14 + 11)


def test_a_long_text_in_forty_parts_costs_a_unit_a_part(parts_of: Callable[[int], Table]) -> None:
    table = parts_of(1000)
    event_id, post = table.post(text_of(38_000))
    work = table.work(event_id)
    _, get = table.call("GET", f"/jobs/{event_id}")

    calls = len(table.llm.requests)
    assert table.status(event_id) == "completed"
    assert post == units(INPUT=15, META=2, USAGE=2, recent=1, due=1, unfinished=1, calls=2)
    # Summary and checklist each come to a step that cuts the text, 40 parts, and one that merges them; the summary's
    # merge is a call, as is the diagram.
    assert calls == 40 + 1 + 40 + 1
    assert work == units(
        META=3,
        STEP=2 * (1 + 40 + 1) + 1,
        USAGE=2,
        recent=1,
        due=1,
        unfinished=2,
        # The job with its text of 15 KB. After each wave META alone, whatever the job has stored: one wave that cuts,
        # eight of ten parts, two that merge, and the diagram.
        reads=4 + 11,
        calls=2 + 85 + 11 + 1,
    )
    # All steps, each with its effort, by a consistent read of META, METADATA and steps.
    assert get == units(reads=12, calls=1)


def test_a_batch_of_a_hundred_costs_six_units_a_job(table: Table) -> None:
    answer, cost = table.call("POST", "/jobs/batch", {"jobs": [{"input_text": SMALL}] * 100})

    assert len(answer.body["results"]) == 100
    # 99 jobs and the day fit in a transaction, and 25 texts in one request.
    assert cost == units(INPUT=100, META=200, USAGE=2 * 2, recent=100, due=100, unfinished=100, calls=5 + 2)


def test_a_replay_costs_what_it_wrote_and_deleted(table: Table) -> None:
    request = "POST", "/jobs", {"input_text": SMALL}, {"Idempotency-Key": "k"}
    table.call(*request)
    answer, cost = table.call(*request)

    assert answer.status == 200
    # A text that is deleted at once, and the transaction that was canceled: no index has changed.
    assert cost == units(INPUT=1 + 1, META=2, USAGE=2, calls=3)


def test_a_fork_costs_a_job_a_unit_for_each_copied_step_and_the_check_of_its_source(table: Table) -> None:
    event_id, _ = table.post()
    table.work(event_id)

    answer, cost = table.call("POST", f"/jobs/{event_id}/fork", {"from_step": "diagram"})
    work = table.work(answer.body["event_id"])

    # META twice: the fork's own, and that of its source, which is only looked at. The texts and copies are one request.
    # Read are the source, and the definition of its chain.
    assert cost == POST + units(STEP=2, META=2, reads=2, calls=2)
    # A worker that makes one call in place of three.
    assert work == units(META=1 + 2, STEP=1, USAGE=2, recent=1, due=1, unfinished=1 + 1, reads=1, calls=4)


def test_a_fork_of_a_long_text_copies_its_parts(parts_of: Callable[[int], Table]) -> None:
    table = parts_of(1000)
    event_id, post = table.post(text_of(10_000))
    table.work(event_id)
    steps = sum(step.name.startswith("summary") for step in table.stores.jobs.get("local", event_id).steps)

    _, cost = table.call("POST", f"/jobs/{event_id}/fork", {"from_step": "checklist"})

    assert cost.by_item == post.by_item + Counter(STEP=steps, META=2)


@pytest.fixture
def crashed(table: Table, clock: FakeClock) -> tuple[str, Units]:
    """A job whose worker crashed in its second call, after its lease has ended; and what that worker cost."""

    def crash() -> None:
        if len(table.llm.requests) == 2:
            raise Crash

    event_id, _ = table.post()
    table.llm.meanwhile = crash
    work = table.work(event_id, crashes=True)
    table.llm.meanwhile = lambda: None
    clock.advance(LEASE + timedelta(minutes=1))
    return event_id, work


def test_a_recovery_costs_a_claim_and_a_settlement(table: Table, clock: FakeClock, crashed: tuple[str, Units]) -> None:
    event_id, before = crashed
    done, swept = table.sweep(clock() + timedelta(minutes=1))
    after = table.work(event_id)

    # The claim, and the step that was stored.
    assert before == units(META=1, STEP=1, unfinished=1, reads=1 + 1, calls=2 + 1 + 1)
    assert done == Sweep(sent=1)
    assert swept == DUE_SWEEP
    assert table.status(event_id) == "completed"
    assert after == units(
        # The claim; settlement and end, of 2 KB each: META has what was recorded for the worker that vanished.
        META=1 + 4 + 4,
        USAGE=2 + 2,
        STEP=2,
        # The totals at the settlement and at the end.
        recent=1 + 1,
        # The claim moves `due_at` to the end of its lease, as the sweeper has set it later; and the end.
        due=2 + 1,
        unfinished=2 + 1,
        # The job, and again with the failed calls of the worker that vanished; META after each wave.
        reads=1 + 1 + 1,
        calls=2 + 1 + 1 + 2 + 1 + 1,
    )


def test_a_worker_that_reports_late_costs_a_correction(table: Table, clock: FakeClock) -> None:
    event_id, _ = table.post()
    slow = table.stores.claim(event_id, clock() + LEASE)
    clock.advance(LEASE + timedelta(seconds=1))
    table.work(event_id)
    bill = {"gpt-6-luna": Spending(USAGE, Decimal("0.001"), calls=1)}
    cost, added = table.measure(lambda: table.stores.claims.report_late(slow, bill))

    assert added
    # A read of META, then a transaction of META and the day; `recent` has the totals.
    assert cost == units(META=2, USAGE=2, recent=1, reads=1, calls=2)


def test_a_cancelled_job_costs_its_end_and_a_retry_its_start(table: Table) -> None:
    event_id, _ = table.post()
    _, cancel = table.call("POST", f"/jobs/{event_id}/cancel")
    _, retry = table.call("POST", f"/jobs/{event_id}/retry")
    work = table.work(event_id)

    # The end, as a worker makes it, between two reads.
    assert cancel == units(META=2, USAGE=2, recent=1, due=1, unfinished=1, reads=2, calls=3)
    # META alone, in a transaction: the day counts created jobs.
    assert retry == units(META=2, recent=1, due=1, unfinished=1, reads=2, calls=3)
    assert work == WORK


def test_a_request_to_cancel_a_job_that_runs_costs_a_unit(table: Table) -> None:
    event_id, _ = table.post()
    asked_for: list[Units] = []
    table.llm.meanwhile = lambda: asked_for.append(table.beside("POST", f"/jobs/{event_id}/cancel"))
    work = table.work(event_id)

    assert table.status(event_id) == "cancelled"
    assert asked_for == [units(META=1, reads=2, calls=3)]
    # One step, and the end.
    assert work.by_item == units(META=1 + 2, STEP=1, USAGE=2, recent=1, due=1, unfinished=2).by_item


def test_a_deletion_costs_two_units_for_each_item(table: Table) -> None:
    event_id, _ = table.post()
    table.work(event_id)
    _, cost = table.call("DELETE", f"/jobs/{event_id}")

    # All in one transaction, after two reads.
    assert cost == units(META=2, INPUT=2, STEP=3 * 2, recent=1, reads=2, calls=3)


SHARDS = 8 + 8 + 4
"""Those of jobs that were sent, that could not be sent, and that are sent later."""

# The sweeper reads each shard of `due`, half a unit each, and the META of the job that it finds. It moves `due_at`,
# which takes an entry out of `due` and `unfinished` and puts one in.
DUE_SWEEP = units(META=1, due=2, unfinished=2, reads=SHARDS * 0.5 + 1, calls=SHARDS + 1 + 1)


def test_a_job_that_waits_for_five_minutes_costs_a_sweep_and_a_later_claim(table: Table, clock: FakeClock) -> None:
    event_id, _ = table.post()
    _, idle = table.sweep(clock() + timedelta(minutes=1))
    clock.advance(DISPATCH_GRACE)
    done, swept = table.sweep(clock() + timedelta(minutes=1))
    work = table.work(event_id)
    copy = table.work(event_id)

    assert idle == units(reads=SHARDS * 0.5, calls=SHARDS)
    assert (done, swept) == (Sweep(sent=1), DUE_SWEEP)
    # It is due in ten minutes now, after the lease of five: the claim moves that, so 2 units of `due`, 1 more of
    # `unfinished`.
    assert work == Units(WORK.by_item + Counter(due=2, unfinished=1), WORK.reads, WORK.calls)
    # The second message finds a job that has ended, by one read.
    assert copy == units(reads=1, calls=1)


def test_a_due_job_that_a_worker_holds_costs_a_sweep(table: Table, clock: FakeClock) -> None:
    event_id, _ = table.post()
    clock.advance(DISPATCH_GRACE - timedelta(minutes=1))
    table.stores.claim(event_id, clock() + LEASE)
    clock.advance(timedelta(minutes=1))

    assert table.sweep(clock() + timedelta(minutes=1)) == (Sweep(), DUE_SWEEP)


def test_a_job_whose_message_is_not_sent_at_first_costs_a_mark_and_a_sweep(table: Table, clock: FakeClock) -> None:
    event_id, _ = table.post()
    marked, _ = table.measure(lambda: table.stores.due.mark_due(event_id, clock()))
    done, swept = table.sweep(clock() + timedelta(minutes=1))
    work = table.work(event_id)

    assert marked == units(META=1, due=2, unfinished=2, calls=1)
    assert (done, swept) == (Sweep(sent=1), DUE_SWEEP)
    assert work == WORK


def test_a_flex_job_costs_three_units_more_than_others(table: Table) -> None:
    answer, post = table.call("POST", "/jobs", {"input_text": SMALL, "tier": "flex"})
    work = table.work(answer.body["event_id"])

    assert post == POST
    # The claim makes it due when the lease has ended; until then it was due when its time for flex calls is over.
    assert work == Units(WORK.by_item + Counter(due=2, unfinished=1), WORK.reads, WORK.calls)


def test_a_job_that_fails_as_worker_lost_costs_its_end(table: Table, clock: FakeClock) -> None:
    event_id, _ = table.post()
    most = Spending(Usage(50_040, 0, 16_384, 0, 50_040), Decimal("0.014447"), calls=1)
    for _ in range(5):
        table.stores.claims.claim(event_id, clock() + LEASE, lambda *_: ("gpt-6-luna", most))
        clock.advance(LEASE + timedelta(seconds=1))
    done, cost = table.sweep(clock() + timedelta(minutes=1))

    assert done == Sweep(failed=1)
    # The end, as a worker makes it, after the sweeper's look at the index, META and the job with its text.
    assert cost == units(META=2, USAGE=2, recent=1, due=1, unfinished=1, reads=SHARDS * 0.5 + 2, calls=SHARDS + 3)


def test_lists_and_counts_cost_reads_alone(table: Table) -> None:
    event_id, _ = table.post()
    _, listed = table.call("GET", "/jobs")
    _, counted = table.call("GET", "/stats")
    table.work(event_id)
    _, listed_later = table.call("GET", "/jobs")

    # A page of `recent`, and META of a job that has not ended.
    assert listed == units(reads=0.5 + 1, calls=2)
    # The index `unfinished`, and the day.
    assert counted == units(reads=0.5 + 1, calls=2)
    assert listed_later == units(reads=0.5, calls=1)


def test_the_events_of_a_job_cost_reads_alone(table: Table) -> None:
    event_id, _ = table.post()
    table.work(event_id)
    page, cost = table.call("GET", f"/jobs/{event_id}/events")
    _, again = table.call("GET", f"/jobs/{event_id}/events?after={page.body['next_after']}")

    # META, its steps, and a look for failed calls.
    assert cost == again == units(reads=3, calls=3)


def test_the_state_of_a_job_with_every_option_fits_in_a_unit(table: Table, clock: FakeClock, items: Items) -> None:
    """Over 1 KB, each of its writes would cost twice."""
    event_id = "0e57051e-3af6-4263-a869-a4fdd0df93d1"
    new = NewJob(
        event_id=event_id,
        tenant="a-tenant-of-thirty-two-characters",
        job_name="guideline_checklist",
        payload={},
        fingerprint="24ad09186f96b3900a9b7aefdaf12e1779a56f195d70759b7e4f2977b294bfc9",
        max_cost_usd=Decimal("12.345678"),
        tier=Tier.FLEX,
        flex_for=timedelta(hours=12),
        key_id="0123456789abcdef",
        daily_budget=DailyBudget(123_456_789, Decimal("12.345678")),
    )
    table.stores.admission.create(new, retention=timedelta(days=30))
    most = Spending(Usage(65_536, 0, 16_384, 0, 65_536), Decimal("0.014447123"), calls=1)
    # Of a job that was run with two versions of its chain, one after the other.
    risk = lambda *_: ("gpt-6-luna-2026-09-30", most)  # noqa: E731
    claim = table.stores.claims.claim(event_id, clock() + LEASE, risk, version=lambda _: "0a1b2c3d")
    claim = replace(claim, chain_version="4e5f6a7b")
    bill = {"gpt-6-luna-2026-09-30": Spending(Usage(12_345, 1234, 12_345, 1234), Decimal("0.012345678"), calls=3)}
    table.stores.claims.release(claim, timedelta(0), {"summary": 1, "checklist": 1}, bill)
    table.stores.claims.claim(event_id, clock() + LEASE, lambda *_: ("gpt-6-luna-2026-09-30", most))

    assert size(items.meta(event_id)) <= 1024


# --- the job that the simulation reckons with ------------------------------------------------------


class LongAnswers(LongTextLLM):
    """Answers so that each step's output has about 2 KB."""

    def right_answer(self, request: "ModelRequest") -> Said:
        sentences = text_of(1900).split(". ")
        match asked(request.input, request.answer.__name__).step:
            case "summary":
                return {"summary": ". ".join(sentences)}
            case "checklist":
                common = {"source": "No sentence of the text.", "category": "Doors", "priority": "must"}
                return {"checklist": _json([{"text": text, **common} for text in sentences[:12]])}
        nodes = [{"id": f"n{place}", "label": text, "kind": "step"} for place, text in enumerate(sentences)]
        edges = [{"source": "n0", "target": node["id"], "label": ""} for node in nodes[1:]]
        return {"nodes": _json(nodes), "edges": _json(edges)}


def _json(values: list[dict[str, str]]) -> JsonValue:
    return [dict[str, JsonValue](value) for value in values]


@pytest.fixture
def inputs() -> Inputs:
    return Inputs.load()


def test_the_simulation_reckons_with_what_is_counted(table: Table, dynamodb: "DynamoDBClient", inputs: Inputs) -> None:
    table.llm.right_answer = LongAnswers().right_answer  # type: ignore[method-assign]
    event_id, post = table.post(text_of(8000))
    work = table.work(event_id)
    _, get = table.call("GET", f"/jobs/{event_id}")
    both = post + work
    steps = work.by_item["STEP"]

    assert table.status(event_id) == "completed"
    # Of 4 KB: the text is 3.6 KB when it is compressed, by a ratio of 2.26. Two of the outputs stay over 1 KB.
    assert (post.by_item["INPUT"], steps) == (4, 5)
    assert {
        "create_writes": post.writes,
        "claim_writes": WORK.writes - 3 - CLOSE,
        "step_writes": pytest.approx(steps / 3, abs=0.01),
        "finish_writes": CLOSE,
        "job_reads": work.reads,
        "get_reads": get.reads,
        "tenant_writes": both.partitions["", "TENANT#local"],
        "recent_writes": both.by_item["recent"],
        "unfinished_writes": both.by_item["unfinished"],
        "due_writes": both.by_item["due"],
    } == {name: inputs[f"table.{name}"] for name in COUNTED}
    assert both.writes == pytest.approx(limits.job_writes(inputs), abs=0.1)
    names: list[dict[str, Any]] = [{}, *({"IndexName": name} for name in ("recent", "due", "unfinished"))]
    stored = [item for name in names for item in dynamodb.scan(TableName=TABLE, **name)["Items"]]
    job = sum(size(item) for item in stored if item["pk"]["S"].startswith("JOB#"))
    assert job / 1000 == pytest.approx(inputs["work.job_kilobytes"], abs=0.05)


CLOSE = 7
COUNTED = (
    *("create_writes", "claim_writes", "step_writes", "finish_writes", "job_reads", "get_reads"),
    *("tenant_writes", "recent_writes", "unfinished_writes", "due_writes"),
)


def test_a_deferred_step_costs_what_the_simulation_reckons_with(table: Table, inputs: Inputs) -> None:
    event_id, _ = table.post()
    table.llm.script.add(TransientModelError("the model's server refuses calls for now"))
    work = table.work(event_id)

    assert work.writes == inputs["table.claim_writes"] + inputs["table.release_writes"]


@pytest.mark.thorough
def test_120_jobs_a_second_fit_in_a_new_table(table: Table, inputs: Inputs) -> None:
    """Counted: jobs of 8 KB through api and worker, each posted by itself, by what 120 of them take."""
    jobs = 10
    table.llm.right_answer = LongAnswers().right_answer  # type: ignore[method-assign]
    total = Units()
    posted = [table.post(text_of(8000)) for _ in range(jobs)]
    for event_id, post in posted:
        total += post + table.work(event_id)
    a_second = {name: units / jobs * 120 for name, units in total.by_item.items()}
    of_table = total.table_writes / jobs * 120

    assert {table.status(event_id) for event_id, _ in posted} == {"completed"}
    # The table and each index have limits of their own; here they share one, which is harder.
    assert of_table == pytest.approx(2160)
    assert {name: a_second[name] for name in ("recent", "due", "unfinished")} == {
        "recent": pytest.approx(240),
        "due": pytest.approx(240),
        "unfinished": pytest.approx(360),
    }
    assert sum(a_second.values()) == pytest.approx(3000)
    assert sum(a_second.values()) + 120 * inputs["table.limiter_writes"] < inputs["limit.table_writes"]
    # One tenant's partitions: its day in the table, and its part of two indexes.
    busiest = {place: units / jobs * 120 for place, units in total.partitions.items() if place[1].endswith("local")}
    assert busiest == {
        ("", "TENANT#local"): pytest.approx(480),
        ("recent", "local"): pytest.approx(240),
        ("unfinished", "local"): pytest.approx(360),
    }
    assert max(busiest.values()) < inputs["limit.partition_writes"]


def test_a_limit_on_jobs_costs_two_units_a_job_and_a_refusal_none(table: Table, clock: FakeClock) -> None:
    admission, limits = table.stores.admission, Limits(jobs_per_minute=8)
    new = iter(
        NewJob(f"0b6c2f4e-0000-4000-8000-{number:012}", "acme", "guideline_checklist", {"guidelines": SMALL}, "f")
        for number in range(100)
    )
    retention = timedelta(days=30)

    first, _ = table.measure(lambda: admission.create_many([next(new)], retention, limits))
    assert (first.writes, first.reads) == (POST.writes + 2, 0)

    admission.create_many([next(new) for _ in range(7)], retention, limits)
    refused, (outcome,) = table.measure(lambda: admission.create_many([next(new)], retention, limits))

    assert isinstance(outcome, LimitReached)
    # The text, written and deleted, and a canceled transaction, as for a replay; then the eight items are read at once.
    assert refused.reads == 1
    assert refused.by_item["recent"] == 0
