"""Endpoints and deliveries in both clients, against a server that plays a script."""

from typing import Any

import httpx2
import pytest

from jobchain_client import BadAnswer, BadArgument, Conflict, InvalidRequest, NotFound, Unavailable, Unreachable
from tests.unit import test_client
from tests.unit.test_client import Api, answer, problem

api = test_client.api

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ENDPOINT: dict[str, Any] = {
    "endpoint_id": "ep_5f2a9c1d7e30",
    "url": "https://hooks.example.com/jobchain",
    "events": ["job.failed"],
    "chains": [],
    "created_at": "2026-11-29T10:00:00.000Z",
    "disabled_at": None,
    "disabled_because": None,
}
WEBHOOK_ID = "evt_019ad00c5f8f3b1e5a7c9d2e4f607182"
DELIVERY: dict[str, Any] = {
    "webhook_id": WEBHOOK_ID,
    "endpoint_id": "ep_5f2a9c1d7e30",
    "url": None,
    "type": "job.failed",
    "event_id": "0b0e7a52-0000-4000-8000-000000000000",
    "state": "waiting",
    "tries": 2,
    "created_at": "2026-11-29T10:00:00.000Z",
    "last_at": "2026-11-29T10:00:05.120Z",
    "last_status": 503,
    "last_message": "try later",
    "next_at": "2026-11-29T10:05:01.000Z",
}
BODY = {"type": "job.failed", "timestamp": "2026-11-29T10:00:00.000Z", "data": {"status": "failed"}}


def page(*ids: str, cursor: str | None = None) -> httpx2.Response:
    return answer(
        200, {"deliveries": [{**DELIVERY, "webhook_id": webhook_id} for webhook_id in ids], "next_cursor": cursor}
    )


def test_an_endpoint_is_created_with_its_secret_which_is_not_in_its_repr(api: Api) -> None:
    api.says(answer(201, {**ENDPOINT, "secret": SECRET}))

    made = api.run(lambda client: client.webhooks.create(ENDPOINT["url"], events=["job.failed"]))

    assert (made.endpoint_id, made.secret, made.enabled) == ("ep_5f2a9c1d7e30", SECRET, True)
    assert api.paths == ["POST /v1/webhooks"]
    assert api.bodies == [{"url": ENDPOINT["url"], "events": ["job.failed"], "chains": []}]
    assert SECRET not in repr(made)
    assert "secret" not in made.raw


def test_endpoints_are_listed_with_why_one_is_disabled(api: Api) -> None:
    gone = {**ENDPOINT, "disabled_at": "2026-11-29T11:00:00.000Z", "disabled_because": "it answered 410"}
    api.says(answer(200, {"endpoints": [ENDPOINT, gone]}))

    first, second = api.run(lambda client: client.webhooks.list())

    assert (first.events, first.chains, first.enabled) == (("job.failed",), (), True)
    assert (second.enabled, second.disabled_because) == (False, "it answered 410")


def test_a_secret_is_rotated_an_endpoint_enabled_tested_and_deleted(api: Api) -> None:
    test_delivery = {**DELIVERY, "type": "webhook.test", "event_id": None, "tries": 0}
    api.says(answer(200, {"secret": SECRET}), answer(200, ENDPOINT), answer(201, test_delivery), answer(204))

    assert api.run(lambda client: client.webhooks.rotate("ep_1")) == SECRET
    assert api.run(lambda client: client.webhooks.enable("ep_1")).enabled
    assert api.run(lambda client: client.webhooks.test("ep_1")).event_id is None
    assert api.run(lambda client: client.webhooks.delete("ep_1")) is None
    assert api.paths == [
        "POST /v1/webhooks/ep_1/rotate",
        "POST /v1/webhooks/ep_1/enable",
        "POST /v1/webhooks/ep_1/test",
        "DELETE /v1/webhooks/ep_1",
    ]


def test_deliveries_are_read_to_the_last_page_though_one_is_empty(api: Api) -> None:
    api.says(page("evt_1", cursor="a"), page(cursor="b"), page("evt_2"))

    found = api.run(lambda client: client.webhooks.deliveries(endpoint_id="ep_1", state="dead"))

    assert [delivery.webhook_id for delivery in found] == ["evt_1", "evt_2"]
    assert [dict(request.url.params) for request in api.requests] == [
        {"endpoint_id": "ep_1", "state": "dead", "limit": "100"},
        {"endpoint_id": "ep_1", "state": "dead", "limit": "100", "cursor": "a"},
        {"endpoint_id": "ep_1", "state": "dead", "limit": "100", "cursor": "b"},
    ]


def test_no_more_deliveries_are_asked_for_than_are_wanted(api: Api) -> None:
    api.says(page("evt_1", cursor="a"), page("evt_2", "evt_3", cursor="b"))

    found = api.run(lambda client: client.webhooks.deliveries(limit=2))

    assert [delivery.webhook_id for delivery in found] == ["evt_1", "evt_2"]
    assert [request.url.params["limit"] for request in api.requests] == ["2", "1"]


def test_a_delivery_is_read_with_its_body_and_sent_again(api: Api) -> None:
    api.says(answer(200, {**DELIVERY, "body": BODY}), answer(200, {**DELIVERY, "tries": 0}))

    found = api.run(lambda client: client.webhooks.delivery(WEBHOOK_ID))
    again = api.run(lambda client: client.webhooks.redeliver(WEBHOOK_ID))

    assert (found.body, found.last_status, found.last_message) == (BODY, 503, "try later")
    assert found.next_at is not None
    assert (again.tries, again.body) == (0, None)
    assert api.paths == [f"GET /v1/deliveries/{WEBHOOK_ID}", f"POST /v1/deliveries/{WEBHOOK_ID}/redeliver"]


LOST = [httpx2.ReadTimeout("too slow"), answer(502), answer(504)]


@pytest.mark.parametrize("lost", LOST)
@pytest.mark.parametrize("call", ["create", "rotate"])
def test_a_request_for_a_secret_whose_answer_was_lost_is_not_sent_again(api: Api, call: str, lost: Any) -> None:
    api.says(lost)

    with pytest.raises((Unreachable, Unavailable), match="may have been carried out: list the endpoints"):
        api.run(lambda client: getattr(client.webhooks, call)("https://hooks.example.com"))

    assert len(api.requests) == 1


@pytest.mark.parametrize("first", [httpx2.ConnectError("refused"), problem(429, "too-many-requests")])
def test_a_request_for_a_secret_that_was_not_carried_out_is_sent_again(api: Api, first: Any) -> None:
    api.says(first, answer(200, {"secret": SECRET}))

    assert api.run(lambda client: client.webhooks.rotate("ep_1")) == SECRET


def test_a_deletion_whose_answer_was_lost_is_a_success(api: Api) -> None:
    api.says(httpx2.ReadTimeout("too slow"), problem(404, "endpoint-not-found"))

    assert api.run(lambda client: client.webhooks.delete("ep_1")) is None


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [
        (404, "endpoint-not-found", NotFound),
        (409, "webhooks-off", Conflict),
        (409, "endpoint-disabled", Conflict),
        (422, "invalid-request", InvalidRequest),
    ],
)
def test_a_refusal_is_an_error_of_its_own_kind(api: Api, status: int, kind: str, error: type[Exception]) -> None:
    api.says(problem(status, kind), problem(status, kind))

    with pytest.raises(error, match=kind):
        api.run(lambda client: client.webhooks.test("ep_1"))
    with pytest.raises(error, match=kind):
        api.run(lambda client: client.webhooks.delete("ep_1"))


@pytest.mark.parametrize("name", ["", ".", "..", "\ud800"])
def test_what_can_be_no_id_is_refused_before_anything_is_sent(api: Api, name: str) -> None:
    with pytest.raises(BadArgument, match="not the id of an endpoint"):
        api.run(lambda client: client.webhooks.delete(name))
    with pytest.raises(BadArgument, match="not the id of a delivery"):
        api.run(lambda client: client.webhooks.redeliver(name))

    assert api.requests == []


def test_an_id_leads_to_no_other_path(api: Api) -> None:
    api.says(problem(404, "endpoint-not-found"))

    with pytest.raises(NotFound):
        api.run(lambda client: client.webhooks.delete("../jobs/x?y"))

    assert api.paths == ["DELETE /v1/webhooks/..%2Fjobs%2Fx%3Fy"]


@pytest.mark.parametrize("body", [{}, {"endpoints": [{}]}, [], "hello"])
def test_an_answer_of_another_server_is_named_as_one(api: Api, body: Any) -> None:
    api.says(answer(200, body))

    with pytest.raises(BadAnswer, match="is the URL right"):
        api.run(lambda client: client.webhooks.list())
