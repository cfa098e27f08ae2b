"""The usage page: days, groups, the chart, the tables, and the file."""

import csv
import io
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Visit
from tests.browser.jobs import wait
from tests.browser.rules import violations

HOSTILE = '=cmd|"<img src=x onerror=alert(1)>'
TODAY = datetime.now(UTC).date()


def spent(cost: float | None, tokens: int = 1_000, **more: Any) -> dict[str, Any]:
    """The numbers of a day, or of a group."""
    usage = {"input_tokens": tokens, "cached_tokens": tokens // 2, "cache_write_tokens": 0, "output_tokens": 100}
    estimated = {"calls": 0, "input_tokens": 0, "output_tokens": 0, "cost_usd": 0}
    numbers = {"completed": 2, "failed": 1, "cancelled": 0, "calls": 9, "retries": 1, "cost_usd": cost}
    return {**numbers, "usage": {**usage, "reasoning_tokens": 0}, "estimated": estimated, **more}


def usage(groups: dict[str, float | None], days: int = 30, **more: Any) -> dict[str, Any]:
    """An answer of the API with the same groups each day."""
    costs = [cost for cost in groups.values() if cost is not None]
    whole = sum(costs) if len(costs) == len(groups) else None
    one = spent(whole, created=3, groups={name: spent(cost) for name, cost in groups.items()})
    dates = [str(TODAY - timedelta(days=back)) for back in reversed(range(days))]
    listed = [{**one, "date": date} for date in dates]
    return {"from": dates[0], "to": dates[-1], "by": "model", "days": listed, "next_from": None, **more}


def answer(page: Page, body: dict[str, Any]) -> None:
    """Has the API answer so."""
    page.route("**/usage?*", lambda route: route.fulfill(json=body))


def cells(page: Page, table: str, row: str) -> list[str]:
    """The texts of a row."""
    found = page.get_by_role("region", name=table).locator("tr", has_text=re.compile(f"^{re.escape(row)}"))
    expect(found).to_be_visible()
    return found.locator("th, td").all_text_contents()


@pytest.mark.essential
def test_the_usage_of_today_is_told_by_chain_and_leads_to_its_jobs(visit: Visit, http: httpx2.Client) -> None:
    # given two jobs that have ended
    for text in ("About usage.", "About days."):
        http.post("/jobs", json={"input_text": text}).raise_for_status()
    wait(http)
    page = visit.open()

    # when a person asks for the usage by chain
    page.get_by_role("link", name="Usage").click()
    page.get_by_label("Split by").select_option("chain")

    # then the numbers are those of the API, in the sum, the day and the chain
    expect(page.get_by_role("heading", name="By chain")).to_be_visible()
    told = http.get("/usage", params={"by": "chain"}).json()
    today = told["days"][-1]
    tokens = f"{today['usage']['input_tokens']:,}"
    expect(page.locator(".numbers")).to_contain_text(tokens)
    assert cells(page, "Usage by day", str(TODAY))[:3] == [str(TODAY), str(today["created"]), str(today["completed"])]
    assert tokens in cells(page, "Usage by chain", "Guideline checklist")
    assert page.url.endswith("#/usage?by=chain")
    expect(page.get_by_role("img", name="Cost")).to_be_visible()
    expect(page.locator(".chart canvas")).to_have_count(1)

    # and the day leads to its jobs
    page.get_by_role("link", name=str(TODAY)).click()
    expect(page.locator("table.jobs tbody tr")).to_have_count(today["created"])


def test_a_period_is_chosen_and_kept_in_the_address(visit: Visit) -> None:
    page = visit.open("#/usage")
    page.get_by_label("Period").select_option("last 7 days")
    first = str(TODAY - timedelta(days=6))
    expect(page.get_by_role("textbox", name="From")).to_have_value(first)
    expect(page.get_by_role("combobox", name="Period")).to_have_value("")
    assert page.url.endswith(f"#/usage?from={first}")

    earlier = str(TODAY - timedelta(days=9))
    page.get_by_role("textbox", name="From").fill(earlier)
    expect(page.locator("figcaption")).to_contain_text(earlier)
    assert f"from={earlier}" in page.url
    page.get_by_label("Chart").select_option("Jobs ended")
    expect(page.locator("figcaption")).to_contain_text("Jobs ended")

    page.go_back()
    page.go_back()
    expect(page.get_by_role("textbox", name="From")).to_have_value(first)


def test_groups_are_listed_by_their_cost_and_unknown_prices_are_said(visit: Visit) -> None:
    answer(visit.page, usage({"cheap": 0.001, "dear": 0.5, "": 0.0, "unknown": None}))

    page = visit.open("#/usage?by=model")

    table = page.get_by_role("region", name="Usage by model")
    expect(table.locator("tbody th")).to_have_text(["unknown", "dear", "cheap", "no call of a model"])
    assert cells(page, "Usage by model", "dear")[-1] == "$15.00"
    assert cells(page, "Usage by model", "unknown")[-1] == "unknown price"
    expect(page.locator("figcaption")).to_contain_text("without the calls of unknown price")


def test_estimated_numbers_are_upper_bounds(visit: Visit) -> None:
    body = usage({"one": 0.5})
    body["days"][-1] = {**body["days"][-1], "estimated": {**body["days"][-1]["estimated"], "calls": 1}}
    answer(visit.page, body)

    page = visit.open("#/usage?by=model")

    assert cells(page, "Usage by day", str(TODAY))[-1] == "≤ $0.50"
    assert cells(page, "Usage by day", str(TODAY - timedelta(days=1)))[-1] == "$0.50"
    assert cells(page, "Usage by day", "All")[-1] == "≤ $15.00"


def test_an_answer_in_parts_is_put_together(visit: Visit) -> None:
    whole = usage({"one": 0.5})
    border = whole["days"][10]["date"]

    def part(route: Route) -> None:
        begins = f"from={border}" in route.request.url
        days = whole["days"][10:] if begins else whole["days"][:10]
        route.fulfill(json={**whole, "days": days, "next_from": None if begins else border})

    visit.page.route("**/usage?*", part)

    page = visit.open("#/usage?by=model")

    assert cells(page, "Usage by day", "All")[-1] == "$15.00"


def test_the_file_has_every_number_of_every_day_and_no_formula(visit: Visit) -> None:
    body = usage({HOSTILE: 0.5, "fine": 0.25, "a;=1+2;b;\t-c": 0.25}, days=3)
    answer(visit.page, body)
    page = visit.open("#/usage?by=model")

    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()

    assert download.value.suggested_filename == f"usage-{body['from']}-{body['to']}-by-model.csv"
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    assert len(rows) == 12
    assert {row["model"] for row in rows} == {"(whole day)", f"'{HOSTILE}", "fine", "a;'=1+2;b;'\t'-c"}
    first = rows[0]
    assert (first["date"], first["created"], first["input_tokens"], first["cost_usd"]) == (
        body["from"],
        "3",
        "1000",
        "1",
    )
    assert rows[1]["cached_tokens"] == "500"


def test_a_period_that_the_api_refuses_says_why(visit: Visit) -> None:
    page = visit.open("#/usage?from=2026-01-01&to=2026-12-31")

    expect(page.locator(".face")).to_contain_text("at most 91 days before")
    visit.expect_faults("422")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440, 2560])
def test_axe_finds_nothing_and_names_do_no_harm(visit: Visit, scheme: Any, width: int) -> None:
    answer(visit.page, usage({HOSTILE + "W" * 90: 0.5, **{f"model-{number}": 0.1 for number in range(9)}}))
    visit.page.emulate_media(color_scheme=scheme)
    visit.page.set_viewport_size({"width": width, "height": 844})

    page = visit.open("#/usage?by=model")

    expect(page.locator(".chart canvas")).to_be_visible()
    expect(page.locator(".u-legend")).to_contain_text("4 others")
    assert violations(page) == []
    assert visit.width <= width
    assert page.locator("main img, main script").count() == 0
