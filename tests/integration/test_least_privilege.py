"""The functions' policies, enforced: the emulator checks each of their calls, by action, resource and key.

By both readings of AWS's pages on `dynamodb:LeadingKeys` in transactions, as only one of them can be right.
"""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import httpx2
import pytest
from botocore.exceptions import ClientError

from jobchain.aws.api_keys import ApiKeyStore
from jobchain.domain import utc_now
from jobchain.limits import Limits
from jobchain_client.webhooks import verify
from jobchain_hook.checks import CHECKS
from local import emulator
from local import stack as local_stack
from local.settings import Settings
from local.stack import EmbeddedStack
from tests.e2e.conftest import FINAL, poll
from tests.webhook_receiver import OK, receiver, saying

pytestmark = pytest.mark.essential

Act = Callable[[EmbeddedStack, Any], Any]

BOOT = "from tests.integration.leading_keys import teach\nteach({!r})\n"


@pytest.fixture(scope="module", params=["own", "all"], ids=["own keys", "all keys"])
def stack(request: pytest.FixtureRequest) -> Iterator[EmbeddedStack]:
    """A stack whose every call is checked, that requires API keys."""
    environment = local_stack._environment
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_stack, "_environment", lambda settings: {**environment(settings), "AUTH": "true"})
        patch.setattr(emulator, "_BOOT", BOOT.format(request.param) + emulator._BOOT)
        with EmbeddedStack.start(Settings(auth_mode="api_key")) as stack:
            yield stack


@pytest.fixture(scope="module")
def http(stack: EmbeddedStack) -> Iterator[httpx2.Client]:
    limits = Limits(jobs_per_minute=1000, unfinished_jobs=1000, tokens_per_day=10**9)
    keys = ApiKeyStore(stack.client("dynamodb"), stack.table, utc_now)
    secret, _ = keys.create("acme", "a test", limits, operator=True)
    headers = {"Authorization": f"Bearer {secret}"}
    with httpx2.Client(base_url=stack.api_url, headers=headers, timeout=60, trust_env=False) as client:
        yield client


def resource(stack: EmbeddedStack, name: str) -> str:
    """A resource's physical id."""
    found = stack.client("cloudformation").describe_stack_resource(StackName="jobchain", LogicalResourceId=name)
    return str(found["StackResourceDetail"]["PhysicalResourceId"])


def submit(http: httpx2.Client, text: str) -> str:
    answer = http.post("/jobs", json={"input_text": text})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["event_id"])


def finished(http: httpx2.Client, event_id: str) -> dict[str, Any]:
    def look() -> Any:
        job = http.get(f"/jobs/{event_id}").raise_for_status().json()
        return job if job["status"] in FINAL else None

    job: dict[str, Any] = poll(look, limit_seconds=120)
    return job


def test_the_main_job_runs_with_the_rights_that_the_functions_have(http: httpx2.Client) -> None:
    job = finished(http, submit(http, "Doors must be locked at night. Windows should be closed."))

    assert job["status"] == "completed", job["error"]


def test_every_route_works_with_the_rights_that_the_api_has(http: httpx2.Client) -> None:
    # given a job made with an idempotency key, and some of a batch
    body, key = {"input_text": "Only once."}, {"Idempotency-Key": "only-once"}
    event_id = http.post("/jobs", json=body, headers=key).raise_for_status().json()["event_id"]
    entries = [{"input_text": f"Rule {n} must be kept.", "idempotency_key": f"rule-{n}"} for n in range(3)]
    batch = http.post("/jobs/batch", json={"jobs": entries}).raise_for_status()
    finished(http, event_id)

    # then whatever else the API offers works too
    assert batch.json()["results"][0]["event_id"]
    assert http.post("/jobs", json=body, headers=key).headers["Idempotent-Replayed"] == "true"
    assert http.post("/jobs/batch", json={"jobs": entries}).status_code == 200
    assert http.get(f"/jobs/{event_id}", params={"include": "attempts"}).json()["failed_attempts"] == []
    page = http.get("/jobs", params={"limit": 1}).raise_for_status().json()
    assert http.get("/jobs", params={"limit": 1, "cursor": page["next_cursor"]}).status_code == 200
    assert http.get("/stats").status_code == 200
    assert http.get("/usage").status_code == 200
    assert http.get("/health").status_code == 200
    fork = http.post(f"/jobs/{event_id}/fork", json={"from_step": "diagram"}).raise_for_status().json()["event_id"]
    assert finished(http, fork)["status"] == "completed"
    assert http.post(f"/jobs/{event_id}/retry").status_code == 409, "it is completed"
    assert http.delete(f"/jobs/{event_id}").status_code == 204


@pytest.mark.parametrize("function", ["WorkerFunction", "FlexWorkerFunction"])
def test_a_new_worker_runs_a_dry_job_before_it_gets_messages(
    stack: EmbeddedStack, http: httpx2.Client, function: str
) -> None:
    created = http.get("/stats").raise_for_status().json()["today"]["created"]

    answer = stack.client("lambda").invoke(
        FunctionName=resource(stack, function), Payload=json.dumps(CHECKS["job"].event)
    )

    assert CHECKS["job"].fault(json.load(answer["Payload"])) == ""
    assert http.get("/stats").raise_for_status().json()["today"]["created"] == created


def test_a_new_api_answers_a_request_before_it_gets_traffic(stack: EmbeddedStack) -> None:
    payload = json.dumps(CHECKS["health"].event)

    answer = stack.client("lambda").invoke(FunctionName=resource(stack, "ApiFunction"), Payload=payload)

    assert CHECKS["health"].fault(json.load(answer["Payload"])) == ""


def test_cancelling_and_retrying_work_too(http: httpx2.Client) -> None:
    event_id = submit(http, "".join(f"Rule {n} must be kept. " for n in range(2000)))

    assert http.post(f"/jobs/{event_id}/cancel").status_code == 200
    assert finished(http, event_id)["status"] == "cancelled"
    assert http.post(f"/jobs/{event_id}/retry").status_code == 200
    assert finished(http, event_id)["status"] == "completed"


def test_the_sweeper_sends_a_due_job_and_fails_a_stalled_one(http: httpx2.Client, stack: EmbeddedStack) -> None:
    # given a due job whose message is lost, and another that took its workers down
    past = int((datetime.now(UTC) - timedelta(hours=1)).timestamp())
    lost, stalled = "aaaaaaaa-0000-4000-8000-000000000001", "aaaaaaaa-0000-4000-8000-000000000002"
    template = finished(http, submit(http, "Doors must be locked."))["event_id"]
    client = stack.client("dynamodb")
    items = client.query(
        TableName=stack.table,
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": f"JOB#{template}"}},
    )["Items"]
    for event_id, crashes in ((lost, "0"), (stalled, "9")):
        # A worker that stored a step has not failed the job.
        for item in (item for item in items if event_id == lost or not item["sk"]["S"].startswith("STEP#")):
            copy = {**item, "pk": {"S": f"JOB#{event_id}"}}
            if item["sk"]["S"] == "META":
                copy |= {
                    "status": {"S": "pending"},
                    "due_shard": {"N": "1"},
                    "due_at": {"N": str(past)},
                    "crashes": {"N": crashes},
                    "created_at_id": {"S": f"2026-01-01#{event_id}"},
                }
                for name in ("finished_at", "final_status", "runs"):
                    copy.pop(name, None)
            client.put_item(TableName=stack.table, Item=copy)

    # when it is swept
    answer = stack.client("lambda").invoke(FunctionName=stack.sweeper)

    # then the sweeper handles both
    swept = json.loads(answer["Payload"].read())
    assert (swept["sent"], swept["failed"]) == (1, 1)
    assert finished(http, lost)["status"] == "completed"
    assert finished(http, stalled)["error"]["type"] == "worker_lost"
    # and may say so
    assert poll(lambda: (found := http.get("/health").json())["last_sweep_seconds"] is not None and found)


def test_the_worker_may_keep_what_it_finds_of_the_model(http: httpx2.Client, stack: EmbeddedStack) -> None:
    name = resource(stack, "WorkerFunction")

    answer = stack.client("lambda").invoke(FunctionName=name, Payload=json.dumps({"check": "model"}))

    assert json.loads(answer["Payload"].read())["checked"] is True
    # The api answers with what it has found for five seconds.
    assert poll(lambda: http.get("/health").json()["model"])


@pytest.fixture(scope="module")
def told(stack: EmbeddedStack) -> Iterator[httpx2.Client]:
    """The client of a tenant of its own, whose jobs no other test creates."""
    secret, _ = ApiKeyStore(stack.client("dynamodb"), stack.table, utc_now).create("told", "a test")
    headers = {"Authorization": f"Bearer {secret}"}
    with httpx2.Client(base_url=stack.api_url, headers=headers, timeout=60, trust_env=False) as client:
        yield client


def delivery_of(stack: EmbeddedStack, tenant: str, number: int) -> dict[str, Any] | None:
    """A delivery of a tenant, once it is not due any more."""
    found = stack.client("dynamodb").query(
        TableName=stack.table,
        KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
        ExpressionAttributeValues={":pk": {"S": f"WEBHOOKS#{tenant}"}, ":sk": {"S": "DELIVERY#"}},
    )["Items"]
    return dict(found[number]) if len(found) > number and "due_at" not in found[number] else None


def test_the_end_of_a_job_reaches_an_endpoint_signed(told: httpx2.Client, stack: EmbeddedStack) -> None:
    with receiver(saying(OK)) as server:
        # given an endpoint of this machine whose secret is being replaced
        url = f"http://127.0.0.1:{server.port}/hook"
        created = told.post("/webhooks", json={"url": url}).raise_for_status().json()
        where = f"/webhooks/{created['endpoint_id']}"
        new = told.post(f"{where}/rotate").raise_for_status().json()["secret"]

        # when a job ends
        event_id = submit(told, "Doors must be locked at night.")
        assert finished(told, event_id)["status"] == "completed"
        item = poll(lambda: delivery_of(stack, "told", 0), limit_seconds=60)

        # and when it is redelivered, and the endpoint is tested
        listed = told.get("/deliveries", params={"state": "delivered"}).raise_for_status().json()["deliveries"]
        delivery = f"/deliveries/{listed[0]['webhook_id']}"
        assert told.post(f"{delivery}/redeliver").json()["state"] == "waiting"
        again = poll(lambda: (found := told.get(delivery).json())["state"] == "delivered" and found, limit_seconds=60)
        assert told.post(f"{where}/test").status_code == 201
        poll(lambda: len(server.requests) == 3, limit_seconds=60)

    # then its event has come, signed with both secrets
    assert item["state"] == {"S": "delivered"}
    assert (again["tries"], again["body"]["data"]["event_id"]) == (1, event_id)
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    for secret in (created["secret"], new):
        event = verify(headers, body, secret)
        assert (event.type, event.event_id) == ("job.completed", event_id)

    # and the rest works with the rights of the api too
    assert told.post(f"{where}/enable").status_code == 200
    assert [endpoint["endpoint_id"] for endpoint in told.get("/webhooks").json()["endpoints"]] == [
        created["endpoint_id"]
    ]
    assert told.delete(where).status_code == 204


def test_the_sweeper_sends_a_delivery_whose_message_was_lost(stack: EmbeddedStack) -> None:
    # given a delivery to an endpoint that does not exist any more, whose message was lost
    past = int((datetime.now(UTC) - timedelta(hours=1)).timestamp())
    texts = {"pk": "WEBHOOKS#swept", "sk": "DELIVERY#1", "webhook_id": "evt_1", "endpoint_id": "ep_1", "body": "{}"}
    texts |= {"type": "job.completed", "event_id": "e", "created_at": "2026-11-29T10:00:00.000Z"}
    numbers = {"tries": 0, "due_shard": 20, "due_at": past}
    item = {name: {"S": text} for name, text in texts.items()} | {n: {"N": str(value)} for n, value in numbers.items()}
    stack.client("dynamodb").put_item(TableName=stack.table, Item=item)

    # when it is swept, by hand or by the schedule
    stack.client("lambda").invoke(FunctionName=stack.sweeper)

    # then the delivery function gives it up
    given_up = poll(lambda: delivery_of(stack, "swept", 0), limit_seconds=60)
    assert given_up["state"] == {"S": "dead"}


def read(stack: EmbeddedStack, aws: Any, pk: str) -> Any:
    key = {"pk": {"S": pk}, "sk": {"S": "META"}}
    return aws.client("dynamodb", endpoint_url=stack.endpoint_url).get_item(TableName=stack.table, Key=key)


def put(stack: EmbeddedStack, aws: Any, pk: str) -> Any:
    item = {"pk": {"S": pk}, "sk": {"S": "META"}}
    return aws.client("dynamodb", endpoint_url=stack.endpoint_url).put_item(TableName=stack.table, Item=item)


def put_together(stack: EmbeddedStack, aws: Any, *pks: str) -> Any:
    items = [{"pk": {"S": pk}, "sk": {"S": "META"}} for pk in pks]
    writes = [{"Put": {"TableName": stack.table, "Item": item}} for item in items]
    return aws.client("dynamodb", endpoint_url=stack.endpoint_url).transact_write_items(TransactItems=writes)


def scan(stack: EmbeddedStack, aws: Any) -> Any:
    return aws.client("dynamodb", endpoint_url=stack.endpoint_url).scan(TableName=stack.table)


def receive(stack: EmbeddedStack, aws: Any, queue: str) -> Any:
    url = resource(stack, queue)
    return aws.client("sqs", endpoint_url=stack.endpoint_url).receive_message(QueueUrl=url)


def model_key(stack: EmbeddedStack, aws: Any) -> Any:
    secrets = aws.client("secretsmanager", endpoint_url=stack.endpoint_url)
    return secrets.get_secret_value(SecretId="jobchain/openai-api-key")


def role_of(stack: EmbeddedStack, function: str) -> boto3.session.Session:
    """A session with the rights of a function."""
    name = resource(stack, f"{function}Role")
    arn = stack.client("iam").get_role(RoleName=name)["Role"]["Arn"]
    made = stack.client("sts").assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
    return boto3.session.Session(
        made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"], region_name=stack.region
    )


@pytest.mark.parametrize(
    ("function", "act"),
    [
        ("ApiFunction", lambda stack, aws: read(stack, aws, "JOB#1")),
        ("ApiFunction", lambda stack, aws: read(stack, aws, "KEY#1")),
        ("WorkerFunction", lambda stack, aws: read(stack, aws, "JOB#1")),
        ("WorkerFunction", lambda stack, aws: receive(stack, aws, "JobQueue")),
        ("FlexWorkerFunction", lambda stack, aws: receive(stack, aws, "FlexQueue")),
    ],
)
def test_a_function_may_do_its_own_work(stack: EmbeddedStack, function: str, act: Act) -> None:
    assert act(stack, role_of(stack, function))


@pytest.mark.parametrize(
    ("function", "act"),
    [
        ("ApiFunction", model_key),
        ("ApiFunction", scan),
        ("ApiFunction", lambda stack, aws: put(stack, aws, "KEY#1")),
        ("ApiFunction", lambda stack, aws: put_together(stack, aws, "JOB#1", "KEY#1")),
        ("ApiFunction", lambda stack, aws: put_together(stack, aws, "JOB#1", "MODEL")),
        ("ApiFunction", lambda stack, aws: read(stack, aws, "KEYS")),
        ("ApiFunction", lambda stack, aws: put(stack, aws, "MODEL")),
        ("ApiFunction", lambda stack, aws: receive(stack, aws, "JobQueue")),
        ("WorkerFunction", lambda stack, aws: read(stack, aws, "KEY#1")),
        ("WorkerFunction", lambda stack, aws: read(stack, aws, "SECRET#cursors")),
        ("WorkerFunction", lambda stack, aws: read(stack, aws, "TENANT#acme")),
        ("WorkerFunction", lambda stack, aws: put(stack, aws, "KEY#1")),
        ("WorkerFunction", lambda stack, aws: put_together(stack, aws, "JOB#1", "TENANT#acme", "KEY#1")),
        ("WorkerFunction", lambda stack, aws: receive(stack, aws, "FlexQueue")),
        ("FlexWorkerFunction", lambda stack, aws: put(stack, aws, "MODEL")),
        ("FlexWorkerFunction", lambda stack, aws: receive(stack, aws, "JobQueue")),
        ("SweeperFunction", lambda stack, aws: read(stack, aws, "JOB#1")),
        ("SweeperFunction", model_key),
        ("WebFunction", lambda stack, aws: read(stack, aws, "JOB#1")),
        ("ApiFunction", lambda stack, aws: read(stack, aws, "WEBHOOK_SECRET#acme#ep_1")),
        ("WorkerFunction", lambda stack, aws: read(stack, aws, "WEBHOOKS#acme")),
        ("WorkerFunction", lambda stack, aws: read(stack, aws, "WEBHOOK_SECRET#acme#ep_1")),
        ("SweeperFunction", lambda stack, aws: read(stack, aws, "WEBHOOK_SECRET#acme#ep_1")),
        ("WebhookFunction", lambda stack, aws: read(stack, aws, "JOB#1")),
        ("WebhookFunction", lambda stack, aws: read(stack, aws, "KEY#1")),
        ("WebhookFunction", lambda stack, aws: put(stack, aws, "WEBHOOKS#acme")),
        ("WebhookFunction", lambda stack, aws: put_together(stack, aws, "JOB#1", "WEBHOOKS#acme")),
        ("WebhookFunction", lambda stack, aws: receive(stack, aws, "JobQueue")),
        ("WebhookFunction", scan),
        ("WebhookFunction", model_key),
    ],
)
def test_a_function_may_do_nothing_else(stack: EmbeddedStack, function: str, act: Act) -> None:
    with pytest.raises(ClientError) as refused:
        act(stack, role_of(stack, function))

    assert "AccessDenied" in refused.value.response["Error"]["Code"]
