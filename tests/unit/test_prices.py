"""What model calls cost."""

import json
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobchain.domain import Tier
from jobchain.prices import FREE, Price, PriceList
from jobchain.spending import Estimate, Spending, Usage
from local import offline_model
from tests.conftest import ROOT

MILLION = 1_000_000
SHIPPED = ROOT / "layers/common/jobchain/prices.json"
MOST = Usage(input_tokens=10 * MILLION, output_tokens=10 * MILLION)
"""The most that a call can have used, where a test is not about that."""

PRICE = Price(Decimal("0.1"), Decimal("0.01"), Decimal("0.125"), Decimal("0.5"))
prices = PriceList({"model": PRICE})
EACH_KIND = Usage(3 * MILLION, MILLION, MILLION, cache_write_tokens=MILLION)
"""A million of fresh input, of cached input, of tokens that are written to the cache, and of output."""


def price(amount: int) -> Price:
    """The same price for each kind of token."""
    return Price(*[Decimal(amount)] * 4)


def cost(usage: Usage, model: str = "model") -> Decimal | None:
    return prices.spending(model, usage, MOST).cost_usd


def test_each_kind_of_token_has_its_price() -> None:
    assert cost(Usage(input_tokens=10, output_tokens=2)) == Decimal("2.0")


@pytest.mark.parametrize(
    ("model", "known"), [("model", True), ("model-2026-09-30", True), ("other", False), ("", False)]
)
def test_the_list_tells_whose_price_it_has(model: str, known: bool) -> None:
    assert prices.knows(model) is known


def test_cached_tokens_are_part_of_the_input_at_their_own_price() -> None:
    assert cost(Usage(input_tokens=10, cached_tokens=4)) == Decimal("0.64")


def test_tokens_written_to_a_cache_are_part_of_the_input_at_their_own_price() -> None:
    assert cost(Usage(input_tokens=10, cache_write_tokens=4)) == Decimal("1.1")
    assert cost(Usage(input_tokens=10, cached_tokens=4, cache_write_tokens=6)) == Decimal("0.79")


def test_reasoning_tokens_are_part_of_the_output_and_not_counted_twice() -> None:
    assert cost(Usage(output_tokens=4, reasoning_tokens=3)) == cost(Usage(output_tokens=4))


@pytest.mark.parametrize(
    ("told", "counted"),
    [
        (Usage(10, cached_tokens=900), Usage(10, cached_tokens=10)),
        (Usage(10, cache_write_tokens=900), Usage(10, cache_write_tokens=10)),
        (Usage(10, cached_tokens=7, cache_write_tokens=7), Usage(10, cached_tokens=7, cache_write_tokens=3)),
        (Usage(0, 0, 10, reasoning_tokens=11), Usage(0, 0, 10, reasoning_tokens=10)),
    ],
)
def test_a_part_is_no_larger_than_the_whole(told: Usage, counted: Usage) -> None:
    spending = prices.spending("model", told, MOST)

    assert spending.usage == counted
    assert spending.estimated == Estimate(), "what the server told of the whole is exact"


class TestACallWhoseUsageIsNotKnown:
    def test_is_estimated_as_the_most_that_it_can_have_cost(self) -> None:
        spending = prices.spending("model", None, Usage(input_tokens=1_000, output_tokens=100))

        assert spending.cost_usd == Decimal("175")
        assert (spending.usage.input_tokens, spending.usage.output_tokens, spending.calls) == (1_000, 100, 1)
        assert spending.estimated == Estimate(1, 1_000, 100, Decimal("175"))

    def test_is_estimated_as_if_nothing_of_it_came_from_a_cache(self) -> None:
        most = Usage(1_000, cached_tokens=1_000)

        assert prices.spending("model", None, most).cost_usd == prices.spending("model", None, Usage(1_000)).cost_usd

    def test_is_no_cheaper_where_writing_to_a_cache_is(self) -> None:
        cheap_writes = PriceList({"model": replace(PRICE, cache_write=Decimal(0))})

        assert cheap_writes.spending("model", None, Usage(1_000)).cost_usd == Decimal("100")

    def test_has_an_unknown_cost_where_the_price_is_unknown(self) -> None:
        spending = prices.spending("other", None, Usage(1_000, output_tokens=100))

        assert (spending.cost_usd, spending.unpriced_calls) == (None, 1)
        assert spending.estimated == Estimate(1, 1_000, 100)

    def test_costs_half_where_it_was_a_flex_call(self) -> None:
        listed = PriceList({"model": PRICE}, flex_factor=Decimal("0.5"))

        assert listed.spending("model", None, Usage(1_000), Tier.FLEX).cost_usd == Decimal("62.5")


@pytest.mark.parametrize("told", [Usage(11, output_tokens=5), Usage(10, output_tokens=6), Usage(10**9, 0, 10**9)])
def test_a_usage_that_no_call_can_have_had_is_an_estimate_of_the_most(told: Usage) -> None:
    spending = prices.spending("model", told, Usage(10, output_tokens=5))

    assert (spending.usage.input_tokens, spending.usage.output_tokens) <= (10, 5)
    assert spending.estimated == Estimate(
        1, min(told.input_tokens, 10), min(told.output_tokens, 5), spending.known_cost_usd
    )


class TestAModelOnThisMachine:
    local = PriceList({"model": PRICE}, unlisted=FREE)

    def test_costs_nothing_which_is_not_an_unknown_cost(self) -> None:
        used = Usage(1_000, output_tokens=100)

        assert self.local.spending("qwen3-8b", used, MOST) == Spending(used, calls=1)
        assert self.local.spending("qwen3-8b", used, MOST).cost_usd == 0
        assert prices.spending("qwen3-8b", used, MOST).cost_usd is None

    def test_costs_what_the_list_says_if_it_is_there(self) -> None:
        assert self.local.spending("model-2026-09-30", Usage(1_000), MOST).cost_usd == Decimal("100")

    def test_keeps_any_budget(self) -> None:
        assert (self.local.affordable_output("qwen3-8b", 10**6, Decimal(0)) or 0) > 10**9


def amounts(least: Decimal = Decimal(0)) -> st.SearchStrategy[Decimal]:
    return st.decimals(least, least + 10, places=6)


@st.composite
def any_prices(draw: st.DrawFn) -> Price:
    """A price whose cached input costs no more than other input."""
    cached = draw(amounts())
    return Price(draw(amounts(cached)), cached, draw(amounts()), draw(amounts()))


counts = st.integers(0, 10**9)
usages = st.builds(Usage, counts, counts, counts, counts, counts)


class TestWhateverAServerTells:
    @given(any_prices(), st.none() | usages, usages, st.sampled_from(Tier))
    def test_costs_no_less_than_nothing_and_no_more_than_the_most(
        self, price: Price, told: Usage | None, most: Usage, tier: Tier
    ) -> None:
        listed = PriceList({"model": price}, Decimal("0.5"))

        spending = listed.spending("model", told, most, tier)

        ceiling = listed.spending("model", None, most, tier).known_cost_usd
        assert 0 <= spending.known_cost_usd <= ceiling
        assert spending.usage.input_tokens <= most.input_tokens
        assert spending.usage.output_tokens <= most.output_tokens
        assert all(count >= 0 for count in vars_of(spending.usage))
        assert spending.usage.cached_tokens + spending.usage.cache_write_tokens <= spending.usage.input_tokens
        assert spending.usage.reasoning_tokens <= spending.usage.output_tokens
        assert spending.estimated.cost_usd in (0, spending.known_cost_usd)

    @given(any_prices(), usages, counts)
    def test_costs_more_with_more_tokens(self, price: Price, told: Usage, more: int) -> None:
        listed, most = PriceList({"model": price}), Usage(2 * 10**9, output_tokens=2 * 10**9)
        at_first = listed.spending("model", told, most).known_cost_usd

        more_read = replace(told, input_tokens=told.input_tokens + more)
        more_written = replace(told, output_tokens=told.output_tokens + more)

        assert listed.spending("model", more_written, most).known_cost_usd >= at_first
        if price.cache_write >= price.input >= price.cached:
            assert listed.spending("model", more_read, most).known_cost_usd >= at_first

    @given(any_prices(), usages, counts)
    def test_is_estimated_higher_the_more_a_call_can_have_used(self, price: Price, most: Usage, more: int) -> None:
        listed = PriceList({"model": price})
        at_first = listed.spending("model", None, most).known_cost_usd

        larger = replace(most, input_tokens=most.input_tokens + more, output_tokens=most.output_tokens + more)

        assert listed.spending("model", None, larger).known_cost_usd >= at_first

    @given(any_prices(), st.lists(usages, max_size=5))
    def test_adds_up_exactly_and_can_be_taken_off_again(self, price: Price, told: list[Usage]) -> None:
        spendings = [PriceList({"model": price}).spending("model", usage, MOST) for usage in told]

        total = sum(spendings, Spending())

        for spending in spendings:
            total -= spending
        assert total == Spending()


def vars_of(usage: Usage) -> tuple[int, ...]:
    return (
        usage.input_tokens,
        usage.cached_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
        usage.cache_write_tokens,
    )


def test_a_call_keeps_its_tokens() -> None:
    usage = Usage(10, 2, 3, 1, 4)

    assert prices.spending("model", usage, MOST).usage == usage
    assert prices.spending("other", usage, MOST).usage == usage


def test_a_dated_snapshot_costs_what_its_family_costs() -> None:
    assert cost(Usage(input_tokens=1), "model-2026-09-30") == Decimal("0.1")


def test_a_snapshot_with_a_price_of_its_own_costs_that() -> None:
    listed = PriceList({"model": price(1), "model-2026-09-30": price(7)})

    assert listed.spending("model-2026-09-30", Usage(input_tokens=1), MOST).cost_usd == 7


@pytest.mark.parametrize(
    "model", ["other", "", "model-mini", "model-2026", "model-2026-09-30-preview", "MODEL", "my-model"]
)
def test_the_cost_of_another_model_is_unknown_not_zero(model: str) -> None:
    spending = prices.spending(model, Usage(input_tokens=1), MOST)

    assert spending == Spending(Usage(input_tokens=1), unpriced_calls=1, calls=1)
    assert spending.cost_usd is None


def test_a_sum_with_an_unknown_part_is_unknown() -> None:
    known = prices.spending("model", Usage(input_tokens=1), MOST)

    assert (known + known).cost_usd == Decimal("0.2")
    assert (known + prices.spending("other", Usage(), MOST)).cost_usd is None


def test_many_small_costs_add_up_exactly() -> None:
    total = Spending()
    for _ in range(1000):
        total += PriceList.load().spending("gpt-6-luna", Usage(input_tokens=1), MOST)

    assert total.cost_usd == Decimal("0.0001")


class TestTheShippedList:
    def test_has_prices_for_a_million_tokens(self) -> None:
        usage = Usage(input_tokens=2 * MILLION, cached_tokens=MILLION, output_tokens=MILLION)

        assert PriceList.load().spending("gpt-6-luna", usage, MOST).cost_usd == Decimal("0.61")

    def test_names_its_date_and_its_source(self) -> None:
        content = json.loads(SHIPPED.read_text())

        for part in (content, content["regional"], *content["others"]):
            assert date.fromisoformat(part["as_of"]) >= date(2026, 11, 22)
            assert part["source"]
        assert content["currency"] == "USD"

    @pytest.mark.parametrize(
        ("model", "expected"),
        [
            ("global.openai.gpt-6-luna", "0.735"),
            ("us.openai.gpt-6-luna", "0.8085"),
            ("in.openai.gpt-6-luna", "0.8085"),
            ("openai.gpt-6-luna", "0.8085"),
            ("eu.openai.gpt-6-luna", None),
        ],
    )
    def test_has_the_prices_of_bedrock_by_the_profile_that_is_asked(self, model: str, expected: str | None) -> None:
        spending = PriceList.load().spending(model, EACH_KIND, MOST)

        assert spending.cost_usd == (expected and Decimal(expected))

    @pytest.mark.parametrize(
        ("host", "expected"),
        [
            ("api.openai.com", "0.735"),
            ("eu.api.openai.com", "0.8085"),
            ("us.api.openai.com", "0.8085"),
            ("api.openai.com.example.com", "0.735"),
        ],
    )
    def test_has_a_tenth_more_for_openais_regional_servers(self, host: str, expected: str) -> None:
        listed = PriceList.load(host=host)

        assert listed.spending("gpt-6-luna", EACH_KIND, MOST).cost_usd == Decimal(expected)

    def test_has_a_price_for_writing_to_a_cache(self) -> None:
        usage = Usage(input_tokens=MILLION, cache_write_tokens=MILLION)

        assert PriceList.load().spending("gpt-6-luna", usage, MOST).cost_usd == Decimal("0.125")

    def test_may_leave_out_what_writing_to_a_cache_costs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        content = json.loads(SHIPPED.read_text())
        del content["models"]["gpt-6-luna"]["cache_write"]
        monkeypatch.setattr("jobchain.prices.json.loads", lambda _: content)

        usage = Usage(input_tokens=MILLION, cache_write_tokens=MILLION)

        assert PriceList.load().spending("gpt-6-luna", usage, MOST).cost_usd == Decimal("0.10")

    def test_writes_amounts_as_text_since_a_float_is_not_exact(self) -> None:
        content = json.loads(SHIPPED.read_text())

        for part in (content, *content["others"]):
            assert all(isinstance(amount, str) for price in part["models"].values() for amount in price.values())

    def test_has_the_offline_model_at_no_cost(self) -> None:
        spending = PriceList.load().spending(
            offline_model.MODEL, Usage(input_tokens=MILLION, output_tokens=MILLION), MOST
        )

        assert spending.cost_usd == 0

    def test_knows_the_model_that_the_template_names(self, template: dict[str, dict[str, dict[str, str]]]) -> None:
        model = template["Parameters"]["OpenAIModel"]["Default"]

        assert PriceList.load().spending(model, Usage(), MOST).cost_usd is not None


class TestWhatABudgetBuys:
    def test_is_what_the_request_leaves_of_it(self) -> None:
        listed = PriceList({"model": Price(Decimal("0.01"), Decimal("0.001"), Decimal("0.01"), Decimal("0.1"))})

        assert listed.affordable_output("model", 50, Decimal(1)) == 5
        assert listed.affordable_output("model-2026-09-30", 200, Decimal(1)) == -10

    @pytest.mark.parametrize(("size", "tokens"), [(50, 5), (0, 200), (100_000, 1)])
    def test_is_the_least_that_gives_so_many_tokens(self, size: int, tokens: int) -> None:
        listed = PriceList({"model": Price(Decimal("0.01"), Decimal("0.001"), Decimal("0.02"), Decimal("0.1"))})

        least = listed.least_budget("model", size, tokens)

        assert least is not None
        assert listed.affordable_output("model", size, least) == tokens
        assert (listed.affordable_output("model", size, least - Decimal("0.001")) or 0) < tokens
        assert listed.least_budget("other", size, tokens) is None

    def test_is_not_known_for_a_model_without_a_price(self) -> None:
        assert prices.affordable_output("other", 1, Decimal(1)) is None

    def test_is_without_end_for_a_model_that_is_free(self) -> None:
        free = PriceList({"model": FREE})

        assert (free.affordable_output("model", 100, Decimal("0.01")) or 0) > 10**9


def test_a_flex_call_costs_half() -> None:
    usage = Usage(input_tokens=2 * MILLION, cached_tokens=MILLION, output_tokens=MILLION)

    assert PriceList.load().spending("gpt-6-luna", usage, MOST, Tier.FLEX).cost_usd == Decimal("0.305")
