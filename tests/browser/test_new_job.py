"""The form for a new job: fields by the types of a payload, options, and a draft that is not lost."""

import json
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Visit
from tests.browser.rules import violations

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["document", "kind", "count", "urgent", "level"],
    "$defs": {"Kind": {"enum": ["brief", "full"], "type": "string", "title": "Kind"}},
    "properties": {
        "document": {"type": "string", "maxLength": 100_000, "description": "What is read."},
        "document_name": {"type": "string", "maxLength": 100, "default": "Document"},
        "kind": {"$ref": "#/$defs/Kind"},
        "count": {"type": "integer", "minimum": 1, "maximum": 9},
        "share": {"type": "number", "default": 0.5},
        "urgent": {"type": "boolean"},
        "level": {"enum": [1, 2, 3]},
        "tags": {"type": "array", "items": {"type": "string"}, "default": []},
        "more": {"type": "object", "default": {}},
        "note": {"anyOf": [{"type": "string", "maxLength": 50}, {"type": "null"}], "default": None},
        "length": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None},
        "tier": {"type": "string", "maxLength": 20, "default": ""},
        "title": {"type": "string", "maxLength": 20, "default": "", "description": "<b>bold</b>"},
    },
}
CHAIN = {
    "name": "many_types",
    "description": "Takes all <script>alert(1)</script> types.",
    "steps": [{"name": "one"}],
    "payload_schema": SCHEMA,
}


@pytest.fixture
def form(visit: Visit) -> Page:
    """The form of a chain with all types of fields."""
    visit.page.route("**/chains", lambda route: route.fulfill(json={"chains": [CHAIN], "unusable": {}}))
    return visit.open("#/new")


def sent(page: Page) -> list[dict[str, Any]]:
    """The bodies of the requests for jobs, which are answered with a refusal."""
    bodies: list[dict[str, Any]] = []

    def take(route: Route) -> None:
        bodies.append(json.loads(route.request.post_data or ""))
        route.fulfill(status=422, json={"title": "No", "detail": "refused by the test", "status": 422})

    page.route("**/jobs", take)
    return bodies


def run(page: Page) -> None:
    """Sends the form, and waits for the refusal."""
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("alert")).to_contain_text("refused by the test")


@pytest.mark.parametrize(("allowed", "shown"), [(["effort"], (0, 1)), ([], (0, 0)), (["model", "effort"], (1, 1))])
def test_offers_what_the_chain_lets_a_job_set(visit: Visit, allowed: list[str], shown: tuple[int, int]) -> None:
    chains = {"chains": [{**CHAIN, "overrides": allowed}], "unusable": {}}
    visit.page.route("**/chains", lambda route: route.fulfill(json=chains))
    page = visit.open("#/new")
    page.get_by_text("Options", exact=True).click()

    expect(page.get_by_label("Cost limit, US dollars")).to_be_visible()
    assert tuple(page.get_by_label(label).count() for label in ("Model, for all", "Effort of reasoning")) == shown
    bodies = sent(page)
    page.get_by_label("Document", exact=True).fill("The text.")
    for name, value in (("Kind", "full"), ("Urgent", "yes"), ("Level", "1")):
        page.get_by_label(name).select_option(value)
    page.get_by_label("Count").fill("3")
    run(page)
    assert not {"model", "effort"} & bodies[0].keys()
    visit.expect_faults("422")


@pytest.mark.essential
def test_each_value_is_sent_by_its_type(visit: Visit, form: Page) -> None:
    bodies = sent(form)
    form.get_by_label("Document", exact=True).fill("The text.")
    form.get_by_label("Kind").select_option("full")
    form.get_by_label("Count").fill("3")
    form.get_by_label("Urgent").select_option("no")
    form.get_by_label("Level").select_option("2")
    form.get_by_label("Tags").fill("one\n\ntwo")
    form.get_by_label("More").fill('{"a": [1]}')
    form.get_by_label("Length").fill("7")
    form.get_by_label("Tier (optional)").fill("of the payload")

    run(form)

    assert bodies[0]["payload"] == {
        "document": "The text.",
        "document_name": "Document",
        "kind": "full",
        "count": 3,
        "share": 0.5,
        "urgent": False,
        "level": 2,
        "tags": ["one", "two"],
        "more": {"a": [1]},
        "length": 7,
        "tier": "of the payload",
    }
    assert "tier" not in bodies[0]
    assert "title" not in bodies[0]
    visit.expect_faults("422")


def test_what_is_no_json_is_said_before_anything_is_sent(form: Page) -> None:
    bodies = sent(form)
    form.get_by_label("Document", exact=True).fill("The text.")
    for name, value in (("Kind", "full"), ("Urgent", "yes"), ("Level", "1")):
        form.get_by_label(name).select_option(value)
    form.get_by_label("Count").fill("3")
    form.get_by_label("More").fill("{a: 1}")

    form.get_by_role("button", name="Run").click()

    expect(form.get_by_role("alert")).to_have_text('More: must be JSON, such as {"a": 1}')
    assert bodies == []


@pytest.mark.essential
def test_title_deadline_and_metadata_are_the_jobs(visit: Visit, http: httpx2.Client) -> None:
    page = visit.open("#/new")
    page.get_by_label("Guidelines", exact=True).fill("About options.")
    page.get_by_label("Title").fill("My policy.md")
    page.get_by_text("Options").click()
    page.get_by_label("Fails if it has not ended after").fill("2")
    page.get_by_label("Unit of the time").select_option("days")
    page.get_by_label("Metadata").fill("team = legal\nnote=a=b")
    page.get_by_label("Cost limit").fill("0.5")
    page.get_by_role("button", name="Run").click()
    expect(page.locator(".headline .chip")).to_be_visible()

    job = http.get(f"/jobs/{page.url.rpartition('/')[2]}").json()

    assert (job["title"], job["deadline_seconds"], job["max_cost_usd"]) == ("My policy.md", 172_800, 0.5)
    assert job["metadata"] == {"team": "legal", "note": "a=b"}


def test_a_job_is_called_by_its_file(visit: Visit, form: Page) -> None:
    bodies = sent(form)
    files = form.locator("input[type=file]")
    files.set_input_files({"name": "rules.md", "mimeType": "text/markdown", "buffer": b"# Rules"})
    expect(form.get_by_label("Title", exact=True)).to_have_value("rules.md")
    for name, value in (("Kind", "full"), ("Urgent", "yes"), ("Level", "1")):
        form.get_by_label(name).select_option(value)
    form.get_by_label("Count").fill("3")

    run(form)

    assert bodies[0]["title"] == "rules.md"
    assert bodies[0]["payload"]["document_name"] == "rules.md"
    visit.expect_faults("422")


class TestADraft:
    @pytest.mark.essential
    def test_outlives_another_page_a_reload_and_another_chain(self, visit: Visit) -> None:
        page = visit.open("#/new")
        page.get_by_label("Guidelines", exact=True).fill("Half a text")
        page.get_by_text("Options").click()
        page.get_by_label("Metadata").fill("team=legal")
        page.get_by_role("link", name="Queue").click()
        expect(page.locator(".numbers")).to_be_visible()

        page.go_back()
        expect(page.get_by_label("Guidelines", exact=True)).to_have_value("Half a text")
        expect(page.get_by_label("Metadata")).to_have_value("team=legal")
        expect(page.get_by_label("Metadata")).to_be_visible()
        page.reload()
        expect(page.get_by_label("Guidelines", exact=True)).to_have_value("Half a text")
        page.get_by_label("Chain").select_option("Extract actions")
        expect(page.get_by_label("Text", exact=True)).to_have_value("")
        page.get_by_label("Chain").select_option("Guideline checklist")

        expect(page.get_by_label("Guidelines", exact=True)).to_have_value("Half a text")

    def test_is_there_again_on_the_way_back_from_its_job_and_not_in_a_new_form(self, visit: Visit) -> None:
        page = visit.open("#/new")
        page.get_by_label("Guidelines", exact=True).fill("About ways back.")
        page.get_by_role("button", name="Run").click()
        expect(page.locator(".headline .chip")).to_be_visible()

        page.go_back()
        expect(page.get_by_label("Guidelines", exact=True)).to_have_value("About ways back.")
        page.get_by_role("link", name="Queue").click()
        page.get_by_role("link", name="New job").click()

        expect(page.get_by_label("Guidelines", exact=True)).to_have_value("")

    def test_is_cleared_by_a_button_and_by_signing_out(self, visit: Visit) -> None:
        page = visit.open("#/new")
        page.get_by_label("Guidelines", exact=True).fill("Secret")
        page.get_by_role("button", name="Clear").click()
        expect(page.get_by_label("Guidelines", exact=True)).to_have_value("")
        page.reload()
        expect(page.get_by_label("Guidelines", exact=True)).to_have_value("")

        page.get_by_label("Guidelines", exact=True).fill("Secret")
        page.evaluate("sessionStorage.setItem('key', 'jc_some')")
        page.reload()
        page.get_by_role("button", name="Sign out").click()

        expect(page.get_by_label("Guidelines", exact=True)).to_have_value("")
        assert page.evaluate("JSON.stringify({...sessionStorage})") == "{}"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 2560])
def test_axe_finds_nothing_and_a_schemas_texts_do_no_harm(visit: Visit, form: Page, scheme: Any, width: int) -> None:
    form.emulate_media(color_scheme=scheme)
    form.set_viewport_size({"width": width, "height": 844})
    form.get_by_text("Options").click()

    expect(form.get_by_text("<b>bold</b>")).to_be_visible()
    expect(form.get_by_text("<script>alert(1)</script>")).to_be_visible()
    assert violations(form) == []
    assert visit.width <= width
