"""A job's items: large and strange outputs, and how small META stays."""

import random
import string
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from jobchain.aws.attributes import Item, to_item
from jobchain.aws.items import packed, spending_of, totals, unpacked
from jobchain.aws.records import attempt_item, attempt_of, copied_step_item, step_item, step_of
from jobchain.domain import Attempt, Claim, DailyBudget, FinishedStep, Status, Tier
from jobchain.errors import TransientModelError
from jobchain.spending import NOTHING_SPENT, Estimate, Spending, Usage, summed
from tests.deployment import AFTER_LEASE, INVOCATION, TENANT, Deployment
from tests.fake_model.llm import WorkerVanished

COUNTS = st.integers(0, 10**12)
COSTS = st.integers(0, 10**15).map(lambda units: Decimal(units) / 10**12)
SPENDINGS = st.builds(
    Spending,
    st.builds(Usage, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS),
    COSTS,
    COUNTS,
    COUNTS,
    COUNTS,
    st.builds(Estimate, COUNTS, COUNTS, COUNTS, COSTS),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
CLAIM = Claim("id", "local", "guideline_checklist", 1, None, 1_800_000_000, {}, (), uid="0123abcd")


class TestATextAsItIsStored:
    @given(st.text())
    @example("x" * 1024)
    @example("x" * 1025)
    @example("\x00" * 2000)
    @example("ä" * 512 + "x")
    def test_is_read_as_it_was(self, text: str) -> None:
        assert unpacked(packed(text)) == text

    @given(st.text(min_size=1025))
    def test_is_compressed_from_a_kilobyte_on(self, text: str) -> None:
        assert isinstance(packed(text), bytes)

    @given(st.text(max_size=256))
    def test_is_left_as_it_is_below_that(self, text: str) -> None:
        assert packed(text) == text

    def test_takes_a_third_of_its_room_if_it_is_prose(self) -> None:
        prose = " ".join(f"Rule {number}: passwords must be long and stored hashed." for number in range(1000))

        assert len(packed(prose)) * 3 < len(prose)


class TestARecord:
    @given(output=JSON, spending=SPENDINGS, failed=SPENDINGS, request_id=st.none() | st.text(min_size=1))
    def test_of_a_step_is_read_as_it_was_stored(
        self, output: JsonValue, spending: Spending, failed: Spending, request_id: str | None
    ) -> None:
        step = FinishedStep("summary", output, "m", "v", "s", "f", spending, failed, request_id, Tier.FLEX)
        more = replace(step, called_at="c", request_hash="h", effort="low")

        assert step_of(step_item(CLAIM, 1, 0, "m", step)) == step
        assert step_of(step_item(CLAIM, 1, 0, "m", more)) == more
        copied = replace(
            more, called_at=None, spending=NOTHING_SPENT, failed=NOTHING_SPENT, request_id=None, copied=True
        )
        assert step_of(copied_step_item("id", "0123abcd", 1, more)) == copied

    @given(cause=st.none() | st.text(), answer=st.none() | st.text(), spending=SPENDINGS)
    def test_of_a_failed_call_is_read_as_it_was_stored(
        self, cause: str | None, answer: str | None, spending: Spending
    ) -> None:
        attempt = Attempt("summary", "s", "f", "m", Tier.FLEX, spending, "timeout", cause, answer, "req_1")

        assert attempt_of(attempt_item(CLAIM, 1, "m", attempt)) == attempt

    @given(st.lists(SPENDINGS, max_size=4))
    def test_of_a_sum_adds_up(self, spendings: list[Spending]) -> None:
        added: dict[str, Any] = {}
        for spending in spendings:
            for name, value in totals(spending).items():
                added[name] = added.get(name, 0) + value

        assert spending_of(added) == summed(spendings)

    def test_of_nothing_is_empty(self) -> None:
        assert totals(NOTHING_SPENT) == {}


def incompressible(length: int) -> str:
    letters = string.ascii_letters + string.digits + string.punctuation
    return "".join(random.Random(1).choices(letters, k=length))


LARGE: Mapping[str, str] = {
    "compressible": "Passwords must be long. " * 14_584,
    "incompressible": incompressible(350_000),
    "with NUL": "\x00" * 350_000,
    "with four-byte characters": "\N{PILE OF POO}" * 87_500,
}


@pytest.mark.parametrize("kind", LARGE)
def test_an_output_of_350_kilobytes_is_stored_and_read(deployment: Deployment, kind: str) -> None:
    output = LARGE[kind]
    assert len(output.encode()) >= 350_000
    deployment.create()
    claim = deployment.stores.claim(deployment.event_id, deployment.clock() + INVOCATION)

    deployment.stores.save_step(claim, 0, FinishedStep("summary", output, "m", "v", "s", "f", Spending()))

    assert deployment.job().steps[0].output == output
    deployment.clock.advance(AFTER_LEASE)
    again = deployment.stores.claim(deployment.event_id, deployment.clock() + INVOCATION)
    assert again.steps[0].output == output


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(output=JSON)
@example({"\x00": ["\x00", "\ud7ff", "\U0010ffff"]})
def test_any_json_is_an_output(deployment: Deployment, output: JsonValue) -> None:
    deployment.clock.advance(timedelta(seconds=1))
    deployment.create(int(deployment.clock().timestamp()))
    claim = deployment.stores.claim(deployment.event_id, deployment.clock() + INVOCATION)

    deployment.stores.save_step(claim, 0, FinishedStep("summary", output, "m", "v", "s", "f", Spending()))

    assert deployment.job().steps[0].output == output


# --- the size of META ------------------------------------------------------------------------------

AT_MOST = {
    "created": 750,
    "claimed": 1000,
    "released": 950,
    "claimed again": 1050,
    "failed": 1050,
    "retried": 850,
    "completed": 900,
}
"""Bytes at each stage of a job's life, rounded up to 50."""


def size_of(item: Item) -> int:
    """The bytes by which DynamoDB charges a write of the item.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
    """
    return sum(len(name.encode()) + _size(value) for name, value in to_item(item).items())


def _size(attribute: Mapping[str, Any]) -> int:
    ((kind, value),) = attribute.items()
    match kind:
        case "S":
            return len(str(value).encode())
        case "N":
            digits = str(value).strip("-").replace(".", "").strip("0")
            return (len(digits) + 1) // 2 + 1 + str(value).startswith("-")
        case "M":
            return 3 + sum(1 + len(name.encode()) + _size(entry) for name, entry in value.items())
    return 1


class TestMeta:
    def test_stays_under_a_kilobyte_through_the_whole_life_of_a_job(self, deployment: Deployment) -> None:
        # given a job with all that a caller can ask for
        sizes: dict[str, int] = {}
        deployment.create(
            tier=Tier.FLEX,
            flex_for=timedelta(hours=12),
            max_cost_usd=Decimal("0.5"),
            key_id="0123456789ab",
            daily_budget=DailyBudget(10_000_000, Decimal("12.5")),
            fingerprint="f" * 64,
            metadata={f"key{number}": "v" * 500 for number in range(10)},
            payload={"guidelines": "x" * 7000},
        )
        sizes["created"] = size_of(deployment.meta())
        deployment.llm.meanwhile = lambda: sizes.setdefault("claimed", size_of(deployment.meta()))

        # when it waits after a failed call, is run again and fails, is retried, and completes
        deployment.run(TransientModelError("the model's server answered 429 (too many requests)"))
        sizes["released"] = size_of(deployment.meta())
        deployment.llm.meanwhile = lambda: sizes.setdefault("claimed again", size_of(deployment.meta()))
        deployment.clock.advance(timedelta(minutes=15))
        assert deployment.run({"summary": ""}, {"summary": ""}, {"summary": ""}).status is Status.FAILED
        sizes["failed"] = size_of(deployment.meta())
        deployment.stores.jobs.retry(TENANT, deployment.event_id)
        sizes["retried"] = size_of(deployment.meta())
        assert deployment.run().status is Status.COMPLETED
        sizes["completed"] = size_of(deployment.meta())

        # then every write of META is one unit
        assert max(sizes.values()) < 1024, sizes
        assert {stage: -(-size // 50) * 50 for stage, size in sizes.items()} == AT_MOST

    def test_of_a_plain_job_has_this_size(self, deployment: Deployment) -> None:
        deployment.create(fingerprint="f" * 64)
        sizes = [size_of(deployment.meta())]
        deployment.llm.meanwhile = lambda: sizes.append(size_of(deployment.meta()))
        deployment.run()
        sizes.append(size_of(deployment.meta()))

        assert max(sizes) < 775, sizes

    @pytest.mark.thorough
    def test_does_not_grow_without_bound_with_crashes(self, deployment: Deployment) -> None:
        deployment.create(fingerprint="f" * 64)
        sizes = []
        for _ in range(40):
            with pytest.raises(WorkerVanished):
                deployment.run(WorkerVanished())
            sizes.append(size_of(deployment.meta()))
            deployment.clock.advance(AFTER_LEASE)

        assert len(deployment.meta()["late"]) <= 4
        assert max(sizes) < 2048, sizes
        assert sizes[-1] - sizes[10] < 20, "but for longer numbers"

    def test_grows_by_a_few_bytes_with_each_claim_that_stores_a_step(self, deployment: Deployment) -> None:
        deployment.create(fingerprint="f" * 64)
        sizes = []
        for number in range(1, 41):
            claim = deployment.stores.claim(deployment.event_id, deployment.clock() + INVOCATION)
            step = FinishedStep(f"part{number}", "x", "m", "v", "s", "f", Spending())
            deployment.stores.claims.save_step(claim, 1, number, "m", step)
            deployment.stores.claims.release(claim, timedelta(0), {}, {})
            sizes.append(size_of(deployment.meta()))

        assert len(deployment.job().steps) == 40
        assert (sizes[-1] - sizes[0]) / 39 < 8
        assert sizes[-1] < 1024
