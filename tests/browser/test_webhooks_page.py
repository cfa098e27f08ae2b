"""The pages of webhooks: endpoints, their secrets, and what was delivered to them."""

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Page, Route, expect

from jobchain_client.webhooks import WebhookEvent, verify
from tests.browser.conftest import Visit
from tests.browser.rules import violations
from tests.unit.test_client_webhooks import DELIVERY, ENDPOINT, WEBHOOK_ID
from tests.webhook_receiver import OK, Receiver, receiver, saying

HOSTILE = '<img src=x onerror="alert(1)">\u202e' + "w" * 300
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/html\r\n\r\n<script>alert(1)</script> try later"


@pytest.fixture(autouse=True)
def no_endpoints(http: httpx2.Client) -> Iterator[None]:
    """Begins and ends without endpoints."""

    def clear() -> None:
        for endpoint in http.get("/webhooks").json()["endpoints"]:
            http.delete(f"/webhooks/{endpoint['endpoint_id']}").raise_for_status()

    clear()
    yield
    clear()


def events(served: Receiver, secret: str) -> list[WebhookEvent]:
    """The events of the requests that a receiver got, each verified."""
    found = []
    for request in served.requests:
        head, _, body = request.partition(b"\r\n\r\n")
        lines = (line.partition(":") for line in head.decode().split("\r\n")[1:])
        found.append(verify({name: value.strip() for name, _, value in lines}, body, secret))
    return found


def create(page: Page, url: str) -> None:
    page.get_by_text("New endpoint").click()
    page.get_by_label("URL", exact=True).fill(url)
    page.get_by_role("button", name="Create").click()


def answer(page: Page, endpoints: list[Any], deliveries: list[Any], cursor: str | None = None) -> None:
    """Has the API answer so."""
    page.route("**/webhooks", lambda route: route.fulfill(json={"endpoints": endpoints}))
    page.route("**/deliveries?*", lambda route: route.fulfill(json={"deliveries": deliveries, "next_cursor": cursor}))


@pytest.mark.essential
def test_an_endpoint_is_created_its_secret_is_shown_once_and_a_test_is_delivered(visit: Visit) -> None:
    with receiver(saying(OK)) as served:
        # given a person who has found the page
        page = visit.open()
        page.get_by_role("link", name="Webhooks").click()
        expect(page.get_by_text("There is none yet.")).to_be_visible()

        # when an endpoint is made
        url = f"http://127.0.0.1:{served.port}/hook"
        create(page, url)

        # then its secret is shown, and stays while other pages are looked at
        field = page.get_by_label("Secret", exact=True)
        expect(field).to_be_focused()
        secret = field.input_value()
        assert secret.startswith("whsec_")
        page.get_by_role("link", name="Usage").click()
        expect(page.get_by_role("heading", name="Usage", exact=True)).to_be_visible()
        page.get_by_role("link", name="Webhooks").click()
        expect(field).to_have_value(secret)
        page.get_by_role("button", name="I have stored it").click()
        expect(field).to_have_count(0)

        # and a test leads to its delivery, which the secret verifies
        page.get_by_role("button", name=f"Test: {url}").click()
        expect(page.locator(".headline .chip")).to_have_text("delivered")
        expect(page.get_by_text("status 204")).to_be_visible()
        (event,) = events(served, secret)
        assert event.type == "webhook.test"
        expect(page.get_by_text(event.webhook_id)).to_be_visible()

    page.get_by_role("link", name="All deliveries").click()
    expect(page.locator("table.jobs tbody tr").first).to_contain_text("webhook.test")
    assert secret not in page.content()


def test_an_answer_that_refuses_is_shown_as_text_and_the_event_is_delivered_again(
    visit: Visit, http: httpx2.Client
) -> None:
    with receiver(saying(BUSY), saying(OK)) as served:
        url = f"http://127.0.0.1:{served.port}/hook"
        made = http.post("/webhooks", json={"url": url}).raise_for_status().json()
        page = visit.open("#/webhooks")

        page.get_by_role("button", name=f"Test: {url}").click()
        expect(page.locator("pre").first).to_have_text("<script>alert(1)</script> try later")
        expect(page.get_by_text("status 503")).to_be_visible()
        # It may have been tried again by itself meanwhile.
        page.get_by_role("button", name="Try now").or_(page.get_by_role("button", name="Redeliver")).click()

        expect(page.locator(".headline .chip")).to_have_text("delivered")
        assert len({event.webhook_id for event in events(served, made["secret"])}) == 1
        assert len(served.requests) >= 2


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://hooks.example.com/a", "not encrypted"),
        ("https://user:word@hooks.example.com/", "a user or a password"),
        ("https://10.0.0.1/", "an address, not a name"),
    ],
)
def test_a_url_that_can_not_be_used_is_refused_with_the_reason_and_kept_in_its_field(
    visit: Visit, http: httpx2.Client, url: str, why: str
) -> None:
    page = visit.open("#/webhooks")

    create(page, url)

    expect(page.get_by_role("alert")).to_contain_text(why)
    expect(page.get_by_label("URL", exact=True)).to_have_value(url)
    assert http.get("/webhooks").json()["endpoints"] == []
    visit.expect_faults("422")


def test_events_and_chains_are_chosen(visit: Visit, http: httpx2.Client) -> None:
    page = visit.open("#/webhooks")
    page.get_by_text("New endpoint").click()
    page.get_by_label("job.failed").check()
    page.get_by_label("Guideline checklist").check()
    page.get_by_label("URL", exact=True).fill("https://hooks.example.com/a")
    page.get_by_role("button", name="Create").click()

    expect(page.get_by_label("Secret", exact=True)).to_be_visible()
    (endpoint,) = http.get("/webhooks").json()["endpoints"]
    assert (endpoint["events"], endpoint["chains"]) == (["job.failed"], ["guideline_checklist"])


def test_a_secret_is_rotated_and_an_endpoint_deleted_after_a_question(visit: Visit, http: httpx2.Client) -> None:
    url = "https://hooks.example.com/a"
    first = http.post("/webhooks", json={"url": url}).raise_for_status().json()["secret"]
    page = visit.open("#/webhooks")

    page.get_by_role("button", name=f"Rotate secret: {url}").click()
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    expect(page.get_by_label("Secret", exact=True)).to_have_count(0)
    page.get_by_role("button", name=f"Rotate secret: {url}").click()
    page.get_by_role("dialog").get_by_role("button", name="Rotate").click()
    expect(page.get_by_label("Secret", exact=True)).to_be_visible()
    assert page.get_by_label("Secret", exact=True).input_value() != first

    page.get_by_role("button", name=f"Delete: {url}").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("There is none yet.")).to_be_visible()
    assert http.get("/webhooks").json()["endpoints"] == []


def test_a_disabled_endpoint_says_why_and_is_enabled(visit: Visit) -> None:
    state: dict[str, Any] = {"disabled_at": "2026-11-29T11:00:00.000Z", "disabled_because": "it answered 410 (gone)"}

    def enable(route: Route) -> None:
        state.update(disabled_at=None, disabled_because=None)
        route.fulfill(json={**ENDPOINT, **state})

    visit.page.route("**/webhooks", lambda route: route.fulfill(json={"endpoints": [{**ENDPOINT, **state}]}))
    visit.page.route("**/webhooks/*/enable", enable)
    page = visit.open("#/webhooks")
    expect(page.get_by_text("it answered 410 (gone)")).to_be_visible()
    expect(page.get_by_role("button", name="Test")).to_have_count(0)

    page.get_by_role("button", name="Enable").click()

    expect(page.get_by_role("button", name="Test")).to_be_visible()


def test_a_deployment_without_webhooks_says_how_they_are_switched_on(visit: Visit) -> None:
    off = {"type": "urn:jobchain:problem:webhooks-off", "title": "T", "status": 409, "detail": "off"}
    for path in ("**/webhooks", "**/deliveries?*"):
        visit.page.route(path, lambda route: route.fulfill(status=409, json=off))

    page = visit.open("#/webhooks")

    expect(page.get_by_text("the parameter Webhooks=on")).to_be_visible()
    visit.expect_faults("409")


def test_deliveries_are_filtered_by_the_address_and_read_page_after_page(visit: Visit) -> None:
    pages = {"": (["evt_3", "evt_2"], "next"), "next": (["evt_1"], None)}

    def deliveries(route: Route) -> None:
        query = httpx2.URL(route.request.url).params
        ids, cursor = pages[query.get("cursor", "")]
        found = [{**DELIVERY, "webhook_id": each, "created_at": f"2026-11-29T10:00:0{each[-1]}.000Z"} for each in ids]
        route.fulfill(json={"deliveries": found, "next_cursor": cursor})

    answer(visit.page, [ENDPOINT], [])
    visit.page.route("**/deliveries?*", deliveries)
    page = visit.open("#/webhooks")
    page.get_by_role("button", name="More").click()
    expect(page.locator("table.jobs tbody tr")).to_have_count(3)

    page.get_by_role("combobox", name="State").select_option("given up")
    narrowed = f"endpoint_id={ENDPOINT['endpoint_id']}&state=dead"
    with page.expect_request(lambda request: narrowed in request.url):
        page.get_by_role("combobox", name="Endpoint").select_option(ENDPOINT["url"])

    expect(page).to_have_url(f"{visit.url}#/webhooks?state=dead&endpoint_id={ENDPOINT['endpoint_id']}")
    expect(page.get_by_role("combobox", name="State")).to_have_value("dead")
    page.go_back()
    page.go_back()
    expect(page.get_by_role("combobox", name="State")).to_have_value("")


def test_a_delivery_that_does_not_exist_is_told_as_such(visit: Visit) -> None:
    page = visit.open("#/webhooks?delivery=../jobs")

    expect(page.get_by_role("heading", name="There is no such delivery")).to_be_visible()
    visit.expect_faults("404")


HOSTILE_ENDPOINTS = [
    {**ENDPOINT, "url": f"https://hooks.example.com/{HOSTILE}", "events": [], "chains": [HOSTILE, "b"]},
    {**ENDPOINT, "endpoint_id": "jobs", "url": None},
    {
        **ENDPOINT,
        "endpoint_id": "ep_2",
        "url": "javascript:alert(1)",
        "disabled_at": "2026-11-29T11:00:00.000Z",
        "disabled_because": HOSTILE,
    },
]
HOSTILE_DELIVERIES = [
    {**DELIVERY, "last_message": HOSTILE},
    {**DELIVERY, "webhook_id": "evt_2", "state": "dead", "url": HOSTILE, "last_status": None, "next_at": None},
    {**DELIVERY, "webhook_id": "evt_3", "state": "delivered", "type": "webhook.test", "event_id": None, "tries": 10},
]


@pytest.mark.parametrize("width", [360, 768, 1440, 2560])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_pages_fit_and_are_accessible_with_hostile_texts(visit: Visit, width: int, theme: Any) -> None:
    visit.page.set_viewport_size({"width": width, "height": 900})
    visit.page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    answer(visit.page, HOSTILE_ENDPOINTS, HOSTILE_DELIVERIES, "next")
    body = {"type": HOSTILE, "timestamp": "", "data": {"title": HOSTILE}}
    one = {**DELIVERY, "type": HOSTILE, "last_message": HOSTILE * 3, "body": body}
    visit.page.route(f"**/deliveries/{WEBHOOK_ID}", lambda route: route.fulfill(json=one))

    page = visit.open("#/webhooks")
    expect(page.locator("table.jobs tbody tr")).to_have_count(3)
    page.get_by_text("New endpoint").click()
    assert violations(page) == []
    assert visit.width <= width

    page = visit.open(f"#/webhooks?delivery={WEBHOOK_ID}")
    expect(page.locator("pre").last).to_have_text(json.dumps(body, indent=2, ensure_ascii=False))
    assert violations(page) == []
    assert visit.width <= width
