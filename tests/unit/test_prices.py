"""What model calls cost."""

import json
from datetime import date
from decimal import Decimal

import pytest

from jobchain.domain import Tier
from jobchain.prices import Price, PriceList
from jobchain.spending import Spending, Usage
from local import offline_model
from tests.conftest import ROOT

MILLION = 1_000_000
SHIPPED = ROOT / "layers/common/jobchain/prices.json"

prices = PriceList({"model": Price(input=Decimal("0.1"), cached=Decimal("0.01"), output=Decimal("0.5"))})


def test_each_kind_of_token_has_its_price() -> None:
    spending = prices.spending("model", Usage(input_tokens=10, output_tokens=2))

    assert spending.cost_usd == Decimal("2.0")


@pytest.mark.parametrize(
    ("model", "known"), [("model", True), ("model-2026-09-30", True), ("other", False), ("", False)]
)
def test_the_list_tells_whose_price_it_has(model: str, known: bool) -> None:
    assert prices.knows(model) is known


def test_cached_tokens_are_part_of_the_input_at_their_own_price() -> None:
    spending = prices.spending("model", Usage(input_tokens=10, cached_tokens=4))

    assert spending.cost_usd == Decimal("0.64")


def test_reasoning_tokens_are_part_of_the_output_and_not_counted_twice() -> None:
    with_reasoning = prices.spending("model", Usage(output_tokens=4, reasoning_tokens=3))

    assert with_reasoning.cost_usd == prices.spending("model", Usage(output_tokens=4)).cost_usd


def test_a_call_keeps_its_tokens() -> None:
    usage = Usage(1, 2, 3, 4)

    assert prices.spending("model", usage).usage == usage
    assert prices.spending("other", usage).usage == usage


def test_a_dated_snapshot_costs_what_its_family_costs() -> None:
    assert prices.spending("model-2026-09-30", Usage(input_tokens=1)).cost_usd == Decimal("0.1")


def test_a_snapshot_with_a_price_of_its_own_costs_that() -> None:
    own = Price(Decimal(7), Decimal(7), Decimal(7))
    listed = PriceList({"model": Price(Decimal(1), Decimal(1), Decimal(1)), "model-2026-09-30": own})

    assert listed.spending("model-2026-09-30", Usage(input_tokens=1)).cost_usd == 7


@pytest.mark.parametrize(
    "model", ["other", "", "model-mini", "model-2026", "model-2026-09-30-preview", "MODEL", "my-model"]
)
def test_the_cost_of_another_model_is_unknown_not_zero(model: str) -> None:
    spending = prices.spending(model, Usage(input_tokens=1))

    assert spending == Spending(Usage(input_tokens=1), unpriced_calls=1, calls=1)
    assert spending.cost_usd is None


def test_a_sum_with_an_unknown_part_is_unknown() -> None:
    known = prices.spending("model", Usage(input_tokens=1))

    assert (known + known).cost_usd == Decimal("0.2")
    assert (known + prices.spending("other", Usage())).cost_usd is None


def test_many_small_costs_add_up_exactly() -> None:
    total = Spending()
    for _ in range(1000):
        total += PriceList.load().spending("gpt-6-luna", Usage(input_tokens=1))

    assert total.cost_usd == Decimal("0.0001")


class TestTheShippedList:
    def test_has_prices_for_a_million_tokens(self) -> None:
        usage = Usage(input_tokens=2 * MILLION, cached_tokens=MILLION, output_tokens=MILLION)

        assert PriceList.load().spending("gpt-6-luna", usage).cost_usd == Decimal("0.61")

    def test_names_its_date_and_its_source(self) -> None:
        content = json.loads(SHIPPED.read_text())

        assert date.fromisoformat(content["as_of"]) >= date(2026, 11, 22)
        assert content["source"]
        assert content["currency"] == "USD"

    def test_writes_amounts_as_text_since_a_float_is_not_exact(self) -> None:
        models = json.loads(SHIPPED.read_text())["models"]

        assert all(isinstance(amount, str) for price in models.values() for amount in price.values())

    def test_has_the_offline_model_at_no_cost(self) -> None:
        spending = PriceList.load().spending(offline_model.MODEL, Usage(input_tokens=MILLION, output_tokens=MILLION))

        assert spending.cost_usd == 0

    def test_knows_the_model_that_the_template_names(self, template: dict[str, dict[str, dict[str, str]]]) -> None:
        model = template["Parameters"]["OpenAIModel"]["Default"]

        assert PriceList.load().spending(model, Usage()).cost_usd is not None


class TestWhatABudgetBuys:
    def test_is_what_the_request_leaves_of_it(self) -> None:
        listed = PriceList({"model": Price(Decimal("0.01"), Decimal("0.001"), Decimal("0.1"))})

        assert listed.affordable_output("model", 50, Decimal(1)) == 5
        assert listed.affordable_output("model-2026-09-30", 200, Decimal(1)) == -10

    def test_is_not_known_for_a_model_without_a_price(self) -> None:
        assert prices.affordable_output("other", 1, Decimal(1)) is None

    def test_is_without_end_for_a_model_that_is_free(self) -> None:
        free = PriceList({"model": Price(Decimal(0), Decimal(0), Decimal(0))})

        assert (free.affordable_output("model", 100, Decimal("0.01")) or 0) > 10**9


def test_a_flex_call_costs_half() -> None:
    usage = Usage(input_tokens=2 * MILLION, cached_tokens=MILLION, output_tokens=MILLION)

    assert PriceList.load().spending("gpt-6-luna", usage, Tier.FLEX).cost_usd == Decimal("0.305")
