"""`jobchain webhooks` against a server of its own on this machine."""

import io
import json
import sys
from typing import Any

import pytest

from tests.unit import test_cli
from tests.unit.test_cli import EVIL, FakeApi, Run
from tests.unit.test_client_webhooks import BODY, DELIVERY, ENDPOINT, SECRET, WEBHOOK_ID

served, api, url, home = test_cli.served, test_cli.api, test_cli.url, test_cli.home
offline, run = test_cli.offline, test_cli.run

ADDRESS = ENDPOINT["url"]
ID = ENDPOINT["endpoint_id"]
HOSTILE = EVIL.replace("\ud800", "")
"""What a receiver may answer: markup, commands for a terminal, a turned line."""


def harmless(text: str) -> bool:
    return not any(bad in text for bad in ("\x1b", "\x9b", "\u202e"))


# --- endpoints -------------------------------------------------------------------------------------------------------


def test_endpoints_are_listed_with_what_they_get_and_their_state(run: Run, api: FakeApi) -> None:
    gone = {**ENDPOINT, "disabled_at": "2026-11-29T11:00:00.000Z", "disabled_because": "it answered 410", "events": []}
    own = {**ENDPOINT, "endpoint_id": "jobs", "url": None}
    api.says("GET /webhooks", {"endpoints": [ENDPOINT, gone, own]})

    said = run("webhooks", "list")

    assert said.code == 0
    head, first, second, third = said.out.splitlines()
    assert head.split() == ["ENDPOINT", "ID", "ADDRESS", "EVENTS", "CHAINS", "STATE"]
    assert first.split() == [ID, ADDRESS, "job.failed", "all", "enabled"]
    assert second.endswith("all     disabled 2026-11-29 11:00: it answered 410")
    assert "(the URLs that jobs name)" in third


def test_an_empty_list_says_how_to_make_an_endpoint(run: Run, api: FakeApi) -> None:
    api.says("GET /webhooks", {"endpoints": []})

    assert "jobchain webhooks create URL" in run("webhooks", "list").err


def test_lists_as_json_are_as_the_api_gave_them(run: Run, api: FakeApi) -> None:
    api.says("GET /webhooks", {"endpoints": [{**ENDPOINT, "brand_new": 1}]})
    api.says("GET /deliveries", {"deliveries": [DELIVERY, DELIVERY], "next_cursor": None})

    assert json.loads(run("webhooks", "list", "--json").out) == {**ENDPOINT, "brand_new": 1}
    assert [json.loads(line) for line in run("webhooks", "deliveries", "--json").out.splitlines()] == [DELIVERY] * 2


def test_create_prints_the_secret_alone_and_tells_the_rest_on_standard_error(run: Run, api: FakeApi) -> None:
    api.says("POST /webhooks", {**ENDPOINT, "secret": SECRET}, 201)

    said = run("webhooks", "create", ADDRESS, "--event", "job.failed", "--chain", "a", "--chain", "b")

    assert (said.code, said.out) == (0, f"{SECRET}\n")
    assert f"Endpoint {ID} gets job.failed of all chains, at {ADDRESS}." in said.err
    assert "shown this once and never again" in said.err
    assert SECRET not in said.err
    assert api.bodies == [{"url": ADDRESS, "events": ["job.failed"], "chains": ["a", "b"]}]


def test_create_and_rotate_give_the_secret_as_json(run: Run, api: FakeApi) -> None:
    api.says("POST /webhooks", {**ENDPOINT, "secret": SECRET}, 201)
    api.says(f"POST /webhooks/{ID}/rotate", {"secret": SECRET})

    assert json.loads(run("webhooks", "create", ADDRESS, "--json").out) == {**ENDPOINT, "secret": SECRET}
    assert json.loads(run("webhooks", "rotate", ID, "--json").out) == {"endpoint_id": ID, "secret": SECRET}


def test_rotate_prints_the_secret_alone(run: Run, api: FakeApi) -> None:
    api.says(f"POST /webhooks/{ID}/rotate", {"secret": SECRET})

    said = run("webhooks", "rotate", ID)

    assert (said.code, said.out) == (0, f"{SECRET}\n")
    assert "The one before it is valid for 24 hours." in said.err


def test_enable_and_delete_say_what_they_did(run: Run, api: FakeApi) -> None:
    api.says(f"POST /webhooks/{ID}/enable", ENDPOINT)
    api.says(f"DELETE /webhooks/{ID}", b"", 204)

    assert run("webhooks", "enable", ID)[:2] == (0, f"{ID} is enabled.\n")
    assert run("webhooks", "delete", ID, "--yes")[:2] == (0, f"{ID} is deleted.\n")


def test_delete_without_a_terminal_needs_yes(run: Run, api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())

    said = run("webhooks", "delete", ID)

    assert said.code == 2
    assert "give --yes" in said.err
    assert api.requests == []


@pytest.mark.parametrize(
    "command", [["list"], ["create", ADDRESS], ["test", ID], ["rotate", ID], ["deliveries"], ["redeliver", WEBHOOK_ID]]
)
def test_a_deployment_without_webhooks_is_named_with_the_fix(run: Run, api: FakeApi, command: list[str]) -> None:
    why = "this deployment sends no webhooks: deploy it with the parameter Webhooks=on"
    for request in ("GET /webhooks", "POST /webhooks", f"POST /webhooks/{ID}/test", f"POST /webhooks/{ID}/rotate"):
        api.refuses(request, 409, "webhooks-off", why)
    api.refuses("GET /deliveries", 409, "webhooks-off", why)
    api.refuses(f"POST /deliveries/{WEBHOOK_ID}/redeliver", 409, "webhooks-off", why)

    said = run("webhooks", *command)

    assert said.code == 1
    assert "Webhooks=on (webhooks-off)" in said.err
    assert said.out == ""


def test_a_refused_url_is_named_with_the_field_and_the_fix(run: Run, api: FakeApi) -> None:
    why = "it is not encrypted; use https"
    api.refuses("POST /webhooks", 422, "invalid-request", f"url: {why}", errors={"url": why})

    said = run("webhooks", "create", "http://hooks.example.com")

    assert (said.code, said.out) == (1, "")
    assert "url: it is not encrypted; use https (invalid-request)" in said.err


# --- test ------------------------------------------------------------------------------------------------------------

SENT = {**DELIVERY, "type": "webhook.test", "event_id": None, "tries": 0, "last_at": None, "last_status": None}
SENT |= {"last_message": None, "next_at": None}
TRIED = {**SENT, "tries": 1, "last_at": "2026-11-29T10:00:01.000Z"}


def tests_endpoint(api: FakeApi, *answers: dict[str, Any]) -> None:
    api.says(f"POST /webhooks/{ID}/test", SENT, 201)
    for each in answers:
        api.says(f"GET /deliveries/{WEBHOOK_ID}", {**each, "body": {"type": "webhook.test"}})


def test_test_waits_for_the_answer_and_says_it(run: Run, api: FakeApi) -> None:
    tests_endpoint(api, SENT, {**TRIED, "state": "delivered", "last_status": 204})

    said = run("webhooks", "test", ID)

    assert said[:2] == (0, f"{WEBHOOK_ID} (webhook.test) is delivered: the receiver answered 204.\n")


def test_test_of_a_receiver_that_refuses_exits_with_1_and_says_when_it_is_tried_again(run: Run, api: FakeApi) -> None:
    tests_endpoint(
        api, {**TRIED, "last_status": 500, "last_message": f"oh {HOSTILE}", "next_at": "2026-11-29T10:00:06.000Z"}
    )

    said = run("webhooks", "test", ID)

    assert said.code == 1
    assert "failed: 500 oh [red]a[/red]" in said.out
    assert said.out.endswith(", tried again at 2026-11-29 10:00:06 UTC.\n")
    assert harmless(said.out)


def test_test_that_sees_no_try_in_time_exits_with_5(run: Run, api: FakeApi) -> None:
    tests_endpoint(api, SENT)

    said = run("webhooks", "test", ID, "--timeout", "0.01")

    assert said.code == 5
    assert "is sent, and was not tried yet" in said.out


def test_test_without_a_wait_asks_for_nothing_more(run: Run, api: FakeApi) -> None:
    tests_endpoint(api)

    assert run("webhooks", "test", ID, "--timeout", "0", "--json").code == 0
    assert [request for request, _, _ in api.requests] == [f"POST /webhooks/{ID}/test"]


# --- deliveries ------------------------------------------------------------------------------------------------------


def test_deliveries_are_a_table_with_the_last_answers(run: Run, api: FakeApi) -> None:
    unanswered = {**DELIVERY, "state": "dead", "last_status": None, "last_message": f"no answer {HOSTILE} " + "x" * 900}
    api.says("GET /deliveries", {"deliveries": [DELIVERY, unanswered], "next_cursor": None})

    said = run("webhooks", "deliveries", "--endpoint", ID, "--state", "dead", "--limit", "5")

    _, first, second = said.out.splitlines()
    assert first.split()[:5] == [WEBHOOK_ID, "job.failed", ID, "waiting", "2"]
    assert first.endswith("503 try later")
    assert second.endswith("x…")
    assert max(map(len, said.out.splitlines())) < 200
    assert harmless(said.out)
    assert api.requests[0][0] == f"GET /deliveries?endpoint_id={ID}&state=dead&limit=5"


def test_a_delivery_is_shown_with_its_body(run: Run, api: FakeApi) -> None:
    body = {**BODY, "data": {"title": HOSTILE}}
    api.says(f"GET /deliveries/{WEBHOOK_ID}", {**DELIVERY, "body": body})

    said = run("webhooks", "delivery", WEBHOOK_ID)

    head, shown = said.out.split("{", 1)
    assert head.splitlines() == [
        f"Delivery {WEBHOOK_ID} (job.failed): waiting",
        f"  to {ID}",
        f"  of job {DELIVERY['event_id']}",
        "  created 2026-11-29 10:00:00 UTC, 2 tries",
        "  last try 2026-11-29 10:00:05 UTC: 503 try later",
        "  next try 2026-11-29 10:05:01 UTC",
    ]
    assert json.loads("{" + shown) == body
    assert harmless(said.out)


def test_of_several_redeliveries_one_that_is_refused_stops_no_other(run: Run, api: FakeApi) -> None:
    api.refuses("POST /deliveries/evt_1/redeliver", 409, "endpoint-disabled", "enable it first")
    api.says("POST /deliveries/evt_2/redeliver", {**DELIVERY, "webhook_id": "evt_2"})

    said = run("webhooks", "redeliver", "evt_1", "evt_2")

    assert said.code == 1
    assert said.out == f"evt_2 is sent again to {ID}.\n"
    assert "evt_1: enable it first (endpoint-disabled)" in said.err
