"""Endpoints and deliveries of webhooks; each answer is held to the contract."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.conformance.api import CHAIN, Api, expect_problem

# No server listens there: what matters is what the API says. A deployment on AWS takes no address, but a public name.
URLS = ("http://127.0.0.1:9/", "https://hooks.example.com/jobchain")


@pytest.fixture
def endpoint(api: Api) -> Iterator[dict[str, Any]]:
    """An endpoint, as it was created; the test is skipped where the deployment sends no webhooks."""
    answers = (api.http.post("/webhooks", json={"url": url, "chains": [CHAIN]}) for url in URLS)
    created = next(answer for answer in answers if answer.status_code != 422)
    if created.status_code == 409 and created.json()["type"].endswith("webhooks-off"):
        pytest.skip("this deployment sends no webhooks")
    assert created.status_code == 201, created.text
    yield created.json()
    api.http.delete(f"/webhooks/{created.json()['endpoint_id']}")


def where(endpoint: dict[str, Any]) -> str:
    return f"/webhooks/{endpoint['endpoint_id']}"


def test_an_endpoint_is_listed_without_its_secret_rotated_enabled_and_deleted(
    api: Api, endpoint: dict[str, Any]
) -> None:
    listed = api.http.get("/webhooks").json()["endpoints"]
    shown = {name: value for name, value in endpoint.items() if name != "secret"}
    assert shown in listed

    assert api.http.post(f"{where(endpoint)}/rotate").json()["secret"] != endpoint["secret"]
    assert api.http.post(f"{where(endpoint)}/enable").json() == shown
    assert api.http.delete(where(endpoint)).status_code == 204
    expect_problem(api.http.delete(where(endpoint)), 404, "endpoint-not-found")


def test_a_test_event_is_a_delivery_that_is_listed_read_and_redelivered(api: Api, endpoint: dict[str, Any]) -> None:
    sent = api.http.post(f"{where(endpoint)}/test")
    assert sent.status_code == 201
    delivery = f"/deliveries/{sent.json()['webhook_id']}"

    def listed() -> list[str]:
        page = api.http.get("/deliveries", params={"endpoint_id": endpoint["endpoint_id"], "limit": 5}).json()
        return [found["webhook_id"] for found in page["deliveries"]]

    api.poll(lambda: sent.json()["webhook_id"] in listed())
    read = api.http.get(delivery)
    assert read.json()["body"]["data"] == {"endpoint_id": endpoint["endpoint_id"]}
    assert api.http.head(delivery).status_code == 200
    assert api.http.post(f"{delivery}/redeliver").json()["state"] == "waiting"

    api.http.delete(where(endpoint))
    expect_problem(api.http.post(f"{delivery}/redeliver"), 404, "endpoint-not-found")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_delivery_that_does_not_exist_is_not_found(api: Api, endpoint: dict[str, Any], method: str) -> None:
    assert endpoint
    path = f"/deliveries/evt_{'0' * 32}{'/redeliver' if method == 'POST' else ''}"

    expect_problem(api.http.request(method, path), 404, "delivery-not-found")


def test_a_list_of_deliveries_refuses_a_state_that_is_none(api: Api, endpoint: dict[str, Any]) -> None:
    assert endpoint
    answer: httpx2.Response = api.http.get("/deliveries", params={"state": "lost"})

    expect_problem(answer, 422, "invalid-request")
