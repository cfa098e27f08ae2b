"""Endpoints through the API, and the events of jobs that are created through it."""

from typing import TYPE_CHECKING, Any

import pytest
from aws_lambda_powertools import Logger

from jobchain.aws.outbox import partition
from jobchain.aws.queue import JobQueue
from jobchain.aws.table import Table
from jobchain.aws.tenant_deliveries import TenantDeliveries
from jobchain.aws.webhook_endpoints import MOST_ENDPOINTS, EndpointStore
from jobchain.chains import CHAINS
from jobchain_api.app import create_app
from jobchain_api.auth import Caller
from jobchain_api.job_urls import checked_job_urls
from jobchain_api.receivers import known_receivers
from jobchain_api.webhook_service import WebhookService
from tests.conftest import TABLE, make_service
from tests.fakes import FakeClock
from tests.gateway import Answer, Api
from tests.stores import Stores

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

URL = "https://hooks.example.com/in"


class Apis:
    """The API of two tenants, whose webhooks are on."""

    def __init__(self, stores: Stores, queue: JobQueue, logger: Logger, client: "DynamoDBClient") -> None:
        endpoints = EndpointStore(client, TABLE, stores.clock)
        deliveries = TenantDeliveries(client, TABLE, stores.clock, stores.announced.extend)
        receivers, check_url = known_receivers(endpoints, stores.clock), checked_job_urls(endpoints, stores.clock)
        service = make_service(stores, queue, logger, receivers=receivers, check_url=check_url)
        webhooks = WebhookService(endpoints, deliveries, stores.jobs.cursor_secret, CHAINS)
        self._parts = service, logger, webhooks

    def of(self, tenant: str, *, webhook_urls: bool = False) -> Api:
        service, logger, webhooks = self._parts
        api = Api(service, logger)
        api._app = create_app(service, lambda _: Caller(tenant, webhook_urls=webhook_urls), logger, CHAINS, webhooks)
        return api


@pytest.fixture
def apis(stores: Stores, queue: JobQueue, logger: Logger, dynamodb: "DynamoDBClient") -> Apis:
    return Apis(stores, queue, logger, dynamodb)


@pytest.fixture
def api(apis: Apis) -> Api:
    return apis.of("a")


def create(api: Api, **body: Any) -> Answer:
    return api("POST", "/webhooks", {"url": URL, **body})


def test_an_endpoint_is_created_with_a_secret_that_is_shown_once(api: Api) -> None:
    created = create(api, events=["job.failed"], chains=["guideline_checklist"])
    listed = api("GET", "/webhooks")

    assert created.status == 201
    assert created.body["secret"].startswith("whsec_")
    shown = {name: value for name, value in created.body.items() if name != "secret"}
    assert listed.body == {"endpoints": [shown]}
    assert (shown["url"], shown["events"], shown["chains"]) == (URL, ["job.failed"], ["guideline_checklist"])
    assert (shown["disabled_at"], shown["disabled_because"]) == (None, None)


def test_a_secret_is_replaced_and_an_endpoint_deleted(api: Api) -> None:
    created = create(api).body
    where = f"/webhooks/{created['endpoint_id']}"

    rotated = api("POST", f"{where}/rotate")
    enabled = api("POST", f"{where}/enable")
    deleted = api("DELETE", where)

    assert (rotated.status, rotated.body.keys()) == (200, {"secret"})
    assert rotated.body["secret"] != created["secret"]
    assert (enabled.status, enabled.body["endpoint_id"]) == (200, created["endpoint_id"])
    assert deleted.status == 204
    assert api("GET", "/webhooks").body == {"endpoints": []}


@pytest.mark.parametrize(
    ("body", "where", "why"),
    [
        ({}, "url", "is missing"),
        ({"url": 1}, "url", "string"),
        ({"url": ""}, "url", "character"),
        ({"url": "http://hooks.example.com/"}, "url", "it is not encrypted; use https"),
        ({"url": "https://user:hunter2@hooks.example.com/"}, "url", "it has a user or a password"),
        ({"url": "https://169.254.169.254/"}, "url", "its host is an address, not a name"),
        ({"url": "https://localhost/"}, "url", "a private network"),
        ({"url": "https://bücher.example.com/"}, "url", "xn--"),
        ({"url": "https://hooks.example.com/#a"}, "url", "it has a fragment"),
        ({"url": "https://hooks.example.com:22/"}, "url", "its port is 22"),
        ({"url": URL + "a" * 3000}, "url", "more than 1024"),
        ({"url": URL, "events": ["job.begun"]}, "events.0", "job.completed"),
        ({"url": URL, "events": "job.failed"}, "events", "valid list"),
        ({"url": URL, "chains": ["none"]}, "chains.0", "unknown chain"),
        ({"url": URL, "chains": [""]}, "chains.0", "character"),
        ({"url": URL, "secret": "whsec_x"}, "secret", "unknown field"),
    ],
)
def test_a_body_that_does_not_fit_is_refused_and_leaves_nothing(api: Api, body: Any, where: str, why: str) -> None:
    answer = api("POST", "/webhooks", body)

    assert (answer.status, answer.body["type"]) == (422, "urn:jobchain:problem:invalid-request")
    assert where in answer.body["errors"]
    assert why in answer.body["errors"][where]
    assert "hunter2" not in str(answer.body)
    assert api("GET", "/webhooks").body == {"endpoints": []}


def test_one_endpoint_too_many_is_refused(api: Api) -> None:
    for _ in range(MOST_ENDPOINTS):
        assert create(api).status == 201

    answer = create(api)
    assert (answer.status, answer.body["type"]) == (409, "urn:jobchain:problem:too-many-endpoints")
    assert "delete one first" in answer.body["detail"]


def test_the_endpoint_of_another_tenant_is_not_found(apis: Apis) -> None:
    where = f"/webhooks/{create(apis.of('a')).body['endpoint_id']}"
    other = apis.of("b")

    for method, path in (("DELETE", where), ("POST", f"{where}/rotate"), ("POST", f"{where}/enable")):
        answer = other(method, path)
        assert (answer.status, answer.body["type"]) == (404, "urn:jobchain:problem:endpoint-not-found")
    assert other("GET", "/webhooks").body == {"endpoints": []}
    assert len(apis.of("a")("GET", "/webhooks").body["endpoints"]) == 1


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/webhooks"), ("POST", "/webhooks"), ("DELETE", "/webhooks/ep_1")]
)
def test_a_deployment_without_webhooks_says_how_to_switch_them_on(
    stores: Stores, queue: JobQueue, logger: Logger, method: str, path: str
) -> None:
    api = Api(make_service(stores, queue, logger), logger)

    answer = api(method, path, {"url": URL} if method == "POST" else None)

    assert (answer.status, answer.body["type"]) == (409, "urn:jobchain:problem:webhooks-off")
    assert "Webhooks=on" in answer.body["detail"]


@pytest.mark.parametrize(("method", "allowed"), [("PUT", "GET, HEAD, POST"), ("DELETE", "GET, HEAD, POST")])
def test_another_method_is_refused(api: Api, method: str, allowed: str) -> None:
    answer = api(method, "/webhooks")

    assert (answer.status, answer.headers["Allow"]) == (405, allowed)
    assert api("GET", "/webhooks/ep_1").status == 405


def test_the_jobs_of_every_request_have_events_of_the_endpoints_of_their_tenant(
    apis: Apis, stores: Stores, dynamodb: "DynamoDBClient"
) -> None:
    api = apis.of("a")
    endpoint = create(api).body["endpoint_id"]
    create(apis.of("b"))
    one = api("POST", "/jobs", {"input_text": "Encrypt backups."}).body["event_id"]
    two = api("POST", "/jobs/batch", {"jobs": [{"input_text": "Lock doors."}]}).body["results"][0]["event_id"]

    for event_id in (one, two):
        api("POST", f"/jobs/{event_id}/cancel")

    found = Table(dynamodb, TABLE).query(partition("a"), "DELIVERY#", "DELIVERY$")
    assert {item["event_id"] for item in found} == {one, two}
    assert {item["endpoint_id"] for item in found} == {endpoint}
    assert {(key.tenant, key.sk) for key in stores.announced} == {("a", item["sk"]) for item in found}


def test_endpoints_are_looked_up_once_a_minute(
    apis: Apis, dynamodb: "DynamoDBClient", clock: FakeClock, stores: Stores
) -> None:
    api = apis.of("a")
    api("POST", "/jobs", {"input_text": "Encrypt backups."})
    create(api)
    early = api("POST", "/jobs", {"input_text": "Encrypt backups."}).body["event_id"]
    clock.now = clock.now.replace(minute=clock.now.minute + 1)
    late = api("POST", "/jobs", {"input_text": "Encrypt backups."}).body["event_id"]

    table = Table(dynamodb, TABLE)
    assert "webhooks" not in (table.get({"pk": f"JOB#{early}", "sk": "META"}) or {})
    assert "webhooks" in (table.get({"pk": f"JOB#{late}", "sk": "META"}) or {})
