"""URLs that jobs name themselves: allowed by the key, checked at the request, and told of the job's end."""

from typing import TYPE_CHECKING, Any

import pytest
from aws_lambda_powertools import Logger

from jobchain.aws.deliveries import DeliveryStore
from jobchain.aws.outbox import DeliveryKey, partition
from jobchain.aws.queue import JobQueue
from jobchain.aws.table import Table
from tests.conftest import TABLE, make_service
from tests.fakes import FakeClock
from tests.gateway import Answer, Api
from tests.stores import Stores
from tests.unit.test_webhook_api import Apis, create

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

OWN = "https://callbacks.example.com/jobs/1"


@pytest.fixture
def apis(stores: Stores, queue: JobQueue, logger: Logger, dynamodb: "DynamoDBClient") -> Apis:
    return Apis(stores, queue, logger, dynamodb)


@pytest.fixture
def table(dynamodb: "DynamoDBClient") -> Table:
    return Table(dynamodb, TABLE)


def allowed(apis: Apis) -> tuple[Api, str]:
    """A caller whose key allows URLs, and the secret that signs their events."""
    api = apis.of("a", webhook_urls=True)
    return api, api("POST", "/webhooks/jobs/rotate").body["secret"]


def submit(api: Api, url: object, **body: Any) -> Answer:
    return api("POST", "/jobs", {"input_text": "Encrypt backups.", "webhook_url": url, **body})


def told(table: Table, event_id: str) -> list[dict[str, Any]]:
    """Who is told of the end of a job."""
    meta = table.get({"pk": f"JOB#{event_id}", "sk": "META"}) or {}
    return [dict(receiver) for receiver in meta.get("webhooks", [])]


def test_the_url_of_a_job_is_told_of_its_end_signed_with_the_secret_of_all_such_urls(
    apis: Apis, stores: Stores, dynamodb: "DynamoDBClient"
) -> None:
    api, secret = allowed(apis)
    event_id = submit(api, OWN).body["event_id"]

    api("POST", f"/jobs/{event_id}/cancel")

    (key,) = stores.announced
    dispatch = DeliveryStore(dynamodb, TABLE, stores.clock).read(key)
    assert dispatch
    assert (dispatch.url, dispatch.secrets, dispatch.delivery.event_id) == (OWN, (secret,), event_id)
    (listed,) = api("GET", "/deliveries?endpoint_id=jobs").body["deliveries"]
    assert (listed["url"], listed["endpoint_id"]) == (OWN, "jobs")


def test_the_endpoints_of_the_tenant_are_told_too(apis: Apis, table: Table) -> None:
    api, _ = allowed(apis)
    endpoint = create(api).body["endpoint_id"]

    event_id = submit(api, OWN).body["event_id"]

    assert told(table, event_id) == [{"id": endpoint}, {"id": "jobs", "url": OWN}]


def test_each_job_of_a_batch_has_its_own_url(apis: Apis, table: Table) -> None:
    api, _ = allowed(apis)
    jobs = [{"input_text": "a", "webhook_url": OWN}, {"input_text": "b"}, {"input_text": "c", "webhook_url": "ftp://x"}]

    results = api("POST", "/jobs/batch", {"jobs": jobs}).body["results"]

    assert told(table, results[0]["event_id"]) == [{"id": "jobs", "url": OWN}]
    assert told(table, results[1]["event_id"]) == []
    assert results[2]["errors"] == {
        "webhook_url": "its scheme is not https; set it to a URL such as https://hooks.example.com/jobchain"
    }


def test_a_fork_has_a_url_of_its_own_and_none_of_the_job(apis: Apis, table: Table) -> None:
    api, _ = allowed(apis)
    event_id = submit(api, OWN).body["event_id"]

    plain = api("POST", f"/jobs/{event_id}/fork", {})
    own = api("POST", f"/jobs/{event_id}/fork", {"webhook_url": OWN + "/fork"})
    refused = api("POST", f"/jobs/{event_id}/fork", {"webhook_url": "https://localhost/"})

    assert told(table, plain.body["event_id"]) == []
    assert told(table, own.body["event_id"]) == [{"id": "jobs", "url": OWN + "/fork"}]
    assert (refused.status, [*refused.body["errors"]]) == (422, ["webhook_url"])


def test_a_job_of_a_replay_is_told_to_no_endpoint(apis: Apis, table: Table) -> None:
    api, _ = allowed(apis)
    create(api)
    event_id = submit(api, None).body["event_id"]

    replay = api("POST", f"/jobs/{event_id}/fork", {"replay": "r1"}).body["event_id"]
    named = api("POST", f"/jobs/{event_id}/fork", {"replay": "r1", "webhook_url": OWN}).body["event_id"]

    assert len(told(table, event_id)) == 1
    assert told(table, replay) == []
    assert told(table, named) == [{"id": "jobs", "url": OWN}]


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "it is empty"),
        (1, "string"),
        ("http://callbacks.example.com/", "use https"),
        ("https://user:hunter2@callbacks.example.com/", "it has a user or a password"),
        ("https://callbacks.example.com/#x", "it has a fragment"),
        ("https://callbacks.example.com:8080/", "its port is 8080"),
        ("https://169.254.169.254/latest/meta-data", "its host is an address"),
        ("https://2130706433/", "a private network"),
        ("https://bücher.example.com/", "xn--"),
        ("http://127.0.0.1:4566/", "use https"),
        (OWN + "a" * 3000, "more than 1024"),
        ("https://callbacks.example.com/ a", "U+0020"),
    ],
)
def test_a_url_that_no_event_may_be_sent_to_is_refused_and_leaves_nothing(
    apis: Apis, table: Table, url: object, why: str
) -> None:
    api, _ = allowed(apis)

    answer = submit(api, url)

    assert (answer.status, answer.body["type"]) == (422, "urn:jobchain:problem:invalid-request")
    assert why in answer.body["errors"]["webhook_url"]
    assert "hunter2" not in str(answer.body)
    assert api("GET", "/jobs").body["jobs"] == []


def test_a_key_without_the_setting_may_name_none(apis: Apis) -> None:
    allowed(apis)
    api = apis.of("a")

    answer = submit(api, OWN)

    assert answer.status == 422
    assert "--webhook-urls" in answer.body["errors"]["webhook_url"]
    assert submit(api, None).status == 201


def test_without_a_secret_the_request_says_how_to_make_one(apis: Apis, clock: FakeClock) -> None:
    api = apis.of("a", webhook_urls=True)

    answer = submit(api, OWN)
    assert (answer.status, "POST /webhooks/jobs/rotate" in answer.body["errors"]["webhook_url"]) == (422, True)

    api("POST", "/webhooks/jobs/rotate")
    assert submit(api, OWN).status == 201


def test_a_deployment_without_webhooks_refuses_each_url(stores: Stores, queue: JobQueue, logger: Logger) -> None:
    answer = submit(Api(make_service(stores, queue, logger), logger), OWN)

    assert answer.status == 422
    assert "Webhooks=on" in answer.body["errors"]["webhook_url"]


def test_another_url_with_the_same_idempotency_key_is_a_conflict(apis: Apis) -> None:
    api, _ = allowed(apis)
    key = {"Idempotency-Key": "k1"}
    bodies = [{"input_text": "a", "webhook_url": url} for url in (OWN, OWN, OWN + "/2")]

    statuses = [api("POST", "/jobs", body, headers=key).status for body in bodies]

    assert statuses == [201, 200, 422]


def test_the_secret_of_the_urls_is_rotated_as_any_other_and_counts_for_no_limit(
    apis: Apis, stores: Stores, dynamodb: "DynamoDBClient"
) -> None:
    api, first = allowed(apis)
    for _ in range(10):
        assert create(api).status == 201
    second = api("POST", "/webhooks/jobs/rotate")

    assert (second.status, second.body["secret"] != first) == (200, True)
    assert create(api).status == 409
    event_id = submit(api, OWN).body["event_id"]
    api("POST", f"/jobs/{event_id}/cancel")
    key = next(key for key in stores.announced if "#jobs#" in key.sk)
    dispatch = DeliveryStore(dynamodb, TABLE, stores.clock).read(key)
    assert dispatch
    assert sorted(dispatch.secrets) == sorted([second.body["secret"], first])


def test_deliveries_to_a_url_are_given_up_once_the_secret_is_deleted(
    apis: Apis, stores: Stores, dynamodb: "DynamoDBClient", table: Table
) -> None:
    api, _ = allowed(apis)
    event_id = submit(api, OWN).body["event_id"]
    assert api("DELETE", "/webhooks/jobs").status == 204
    api("POST", f"/jobs/{event_id}/cancel")

    (item,) = table.query(partition("a"), "DELIVERY#", "DELIVERY$")
    dispatch = DeliveryStore(dynamodb, TABLE, stores.clock).read(DeliveryKey("a", item["sk"]))
    assert dispatch
    assert dispatch.secrets == ()
    refused = api("POST", f"/deliveries/{item['webhook_id']}/redeliver")
    assert (refused.status, refused.body["type"]) == (404, "urn:jobchain:problem:endpoint-not-found")
