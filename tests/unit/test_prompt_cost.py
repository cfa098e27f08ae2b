"""What texts that steps share save, by an account as the provider's, and that the page says what is measured."""

from itertools import pairwise
from typing import Any

import pytest

from benchmarks import parts, prompt_cost
from benchmarks.prompt_account import LIFETIME_SECONDS, MIN_TOKENS, Account
from benchmarks.prompt_cost import GOAL, READERS, Case
from jobchain_offline.answering import estimated_tokens

BREAKPOINT = {"prompt_cache_breakpoint": {"mode": "explicit"}}
LONG, SHORT = "word " * 2_000, "word " * 500
FORM = {"name": "form", "schema": {"type": "object"}}


def call(*texts: str, breakpoints: int = 1, **others: Any) -> dict[str, Any]:
    """A call in explicit mode whose first texts end in breakpoints."""
    messages = [
        {"role": "user", "content": [{"text": text, **(BREAKPOINT if place < breakpoints else {})}]}
        for place, text in enumerate(texts)
    ]
    explicit = {"prompt_cache_options": {"mode": "explicit"}}
    return {"model": "gpt-6-luna", "text": {"format": FORM}, "input": messages, **explicit, **others}


def read(account: Account, body: dict[str, Any]) -> tuple[int, int]:
    """The tokens read from the cache, and those written to it."""
    used = account.usage(body)
    assert used["cached_tokens"] + used["cache_write_tokens"] <= used["input_tokens"]
    return used["cached_tokens"], used["cache_write_tokens"]


class TestTheAccount:
    def test_writes_what_has_a_breakpoint_once_and_reads_it_then(self) -> None:
        account, kept = (
            Account(),
            estimated_tokens(LONG) + estimated_tokens('{"name": "form", "schema": {"type": "object"}}'),
        )

        assert read(account, call(LONG, "a")) == (0, kept)
        assert read(account, call(LONG, "b")) == (kept, 0)

    def test_caches_nothing_of_fewer_tokens_than_the_provider_does(self) -> None:
        account = Account()

        assert estimated_tokens(SHORT) < MIN_TOKENS
        assert [read(account, call(SHORT, "a")) for _ in range(2)] == [(0, 0), (0, 0)]

    def test_caches_nothing_without_a_breakpoint(self) -> None:
        account = Account()

        assert [read(account, call(LONG, "a", breakpoints=0)) for _ in range(2)] == [(0, 0), (0, 0)]

    @pytest.mark.parametrize(
        "other",
        [
            {"model": "another"},
            {"text": {"format": {**FORM, "name": "other"}}},
            {"reasoning": {"effort": "high"}},
            {"service_tier": "flex"},
            {"prompt_cache_key": "another"},
            {"instructions": "Other ones."},
        ],
    )
    def test_caches_a_text_for_calls_with_the_same_prefix_alone(self, other: dict[str, Any]) -> None:
        account = Account()
        read(account, call(LONG, "a"))

        cached, written = read(account, call(LONG, "a", **other))

        assert cached == 0
        assert written

    def test_without_the_explicit_mode_writes_each_prompt_to_its_end(self) -> None:
        account = Account()
        before = {"model": "gpt-6-luna", "text": {"format": FORM}, "input": LONG}

        used = account.usage({**before, "instructions": "One."})
        again, other = (account.usage({**before, "instructions": text}) for text in ("One.", "Two."))

        assert used["cache_write_tokens"] == used["input_tokens"] == again["cached_tokens"]
        assert other["cached_tokens"] == 0, "what is said before the text differs"

    def test_forgets_a_text_that_is_not_read_for_half_an_hour(self) -> None:
        account = Account()
        kept = read(account, call(LONG))[1]

        seen = []
        for _ in range(3):
            account.now += LIFETIME_SECONDS
            seen.append(read(account, call(LONG)))
        account.now += LIFETIME_SECONDS + 1

        assert seen == [(kept, 0)] * 3, "to read it makes it last"
        assert read(account, call(LONG)) == (0, kept)


@pytest.fixture(scope="module")
def case() -> Case:
    return prompt_cost.measured(prompt_cost.generated(prompt_cost.GENERATED_BYTES))


class TestADocumentOf20000Tokens:
    def test_costs_two_readings_at_most_70_percent_of_what_they_cost_before(self, case: Case) -> None:
        assert 0.5 < case.ratio <= GOAL == 0.70

    def test_is_written_once_and_read_once(self, case: Case) -> None:
        summary, checklist = (case.after[0].steps[name] for name in READERS)
        tokens = prompt_cost.GENERATED_BYTES // 4

        assert summary.cache_write_tokens >= tokens
        assert summary.cached_tokens == 0
        assert (checklist.cached_tokens, checklist.cache_write_tokens) == (summary.cache_write_tokens, 0)

    def test_is_not_read_by_the_last_step_which_writes_nothing(self, case: Case) -> None:
        assert case.after[0].steps["diagram"].cache_write_tokens == 0

    def test_is_read_from_the_cache_by_a_later_job_of_the_same_caller(self, case: Case) -> None:
        assert all(case.after[1].steps[name].cached_tokens >= 20_000 for name in READERS)
        assert not any(usage.cache_write_tokens for usage in case.after[1].steps.values())

    def test_has_the_numbers_of_the_page(self, case: Case) -> None:
        page = parts.read(prompt_cost.PAGE)

        assert page["goal"] == prompt_cost._goal(case)
        assert page["steps"] == prompt_cost._steps_table(case)


@pytest.mark.parametrize("size", [4_500, 6_000, 13_500, 54_000])
def test_readings_of_any_size_that_is_cached_reach_the_goal(size: int) -> None:
    assert prompt_cost.measured(prompt_cost.generated(size)).ratio <= GOAL


def test_a_longer_text_saves_more() -> None:
    ratios = [prompt_cost.measured(prompt_cost.generated(size)).ratio for size in (5_000, 20_000, 80_000)]

    assert all(longer < shorter for shorter, longer in pairwise(ratios))


def test_a_text_that_no_provider_caches_costs_no_more_than_before() -> None:
    case = prompt_cost.measured(prompt_cost.generated(2_000))

    assert case.after[0].cost() <= case.before[0].cost()
