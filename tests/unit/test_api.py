"""The api function's answers, through its real routes on moto's table and queue."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from aws_lambda_powertools import Logger
from botocore.stub import Stubber

from jobchain.errors import Unavailable
from jobchain.model import JobError
from jobchain.queue import JobQueue
from jobchain.repository import JobRepository
from jobchain_api.app import create_app
from jobchain_api.service import JobService
from tests.conftest import TABLE, Items, Messages
from tests.fakes import FakeClock, FakeContext

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sqs import SQSClient

TEXT = "Passwords must be long."
LEASE = timedelta(minutes=5)


@dataclass(frozen=True)
class Answer:
    """An answer as the gateway gets it."""

    status: int
    headers: Mapping[str, str]
    body: Any


class Api:
    """Calls the app as the gateway does."""

    def __init__(self, service: JobService, logger: Logger) -> None:
        self._app = create_app(service, logger)

    def __call__(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Answer:
        sent = body if isinstance(body, str) or body is None else json.dumps(body)
        response = self._app.resolve(_event(method, path, sent, headers or {}), FakeContext())  # type: ignore[arg-type]
        text = response["body"]
        return Answer(
            response["statusCode"],
            {name: values[0] for name, values in response["multiValueHeaders"].items()},
            json.loads(text) if text else None,
        )


def _event(method: str, path: str, body: str | None, headers: Mapping[str, str]) -> dict[str, Any]:
    return {
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": method,
        "headers": dict(headers),
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": {"proxy": path.removeprefix("/")},
        "stageVariables": None,
        "requestContext": {"requestId": "request-1", "path": f"/v1{path}", "stage": "v1"},
        "body": body,
        "isBase64Encoded": False,
    }


@pytest.fixture
def api(repository: JobRepository, queue: JobQueue, logger: Logger) -> Api:
    return Api(JobService(repository, queue, timedelta(days=30), repository._clock, logger), logger)


class TestCreatingAJob:
    def test_stores_it_and_sends_its_id_and_nothing_else(self, api: Api, items: Items, messages: Messages) -> None:
        answer = api("POST", "/jobs", {"input_text": TEXT})

        assert answer.status == 201
        assert answer.body.keys() == {"event_id", "status", "created_at"}
        assert answer.body["status"] == "pending"
        assert answer.headers["Location"] == f"/v1/jobs/{answer.body['event_id']}"
        assert answer.headers["Retry-After"] == "1"
        assert messages.waiting() == [{"event_id": answer.body["event_id"]}]
        assert {item["sk"]["S"] for item in items.all()} == {"META", "INPUT"}

    def test_leaves_it_due_later_in_case_that_its_message_is_lost(
        self, api: Api, items: Items, clock: FakeClock
    ) -> None:
        api("POST", "/jobs", {"input_text": TEXT})

        (due,) = items.due()
        assert int(due["due_at"]["N"]) == int((clock() + timedelta(minutes=5)).timestamp())

    def test_keeps_what_changes_small_whatever_the_text(self, api: Api, items: Items) -> None:
        answer = api("POST", "/jobs", {"input_text": "x" * 100_000, "metadata": {"k" * 64: "v" * 512}})

        assert len(json.dumps(items.meta(answer.body["event_id"]))) < 1024

    def test_gives_the_metadata_back(self, api: Api) -> None:
        event_id = api("POST", "/jobs", {"input_text": TEXT, "metadata": {"source": "test"}}).body["event_id"]

        assert api("GET", f"/jobs/{event_id}").body["metadata"] == {"source": "test"}

    def test_takes_the_long_form_too(self, api: Api) -> None:
        answer = api("POST", "/jobs", {"job_name": "guideline_checklist", "payload": {"guidelines": TEXT}})

        assert answer.status == 201

    def test_counts_characters_after_trimming(self, api: Api) -> None:
        assert api("POST", "/jobs", {"input_text": "  " + "x" * 100_000 + "\n"}).status == 201

    def test_expires_every_item_on_the_same_day(self, api: Api, items: Items, clock: FakeClock) -> None:
        api("POST", "/jobs", {"input_text": TEXT, "metadata": {"a": "b"}})

        expected = str(int((clock() + timedelta(days=30)).timestamp()))
        assert [item["expires_at"]["N"] for item in items.all()] == [expected] * 3


class TestAnIdempotencyKey:
    KEY: ClassVar = {"Idempotency-Key": "order-7"}

    def test_makes_one_job_of_two_requests(self, api: Api, messages: Messages) -> None:
        first = api("POST", "/jobs", {"input_text": TEXT}, self.KEY)

        second = api("POST", "/jobs", {"input_text": TEXT}, self.KEY)

        assert (first.status, second.status) == (201, 200)
        assert second.body == first.body
        assert second.headers["Idempotent-Replayed"] == "true"
        assert "Idempotent-Replayed" not in first.headers
        assert len(messages.waiting()) == 1

    def test_knows_both_forms_of_the_same_request(self, api: Api) -> None:
        api("POST", "/jobs", {"input_text": f" {TEXT} "}, self.KEY)

        long_form = {"job_name": "guideline_checklist", "payload": {"guidelines": TEXT}}
        assert api("POST", "/jobs", long_form, self.KEY).status == 200

    @pytest.mark.parametrize("other", [{"input_text": "Another."}, {"input_text": TEXT, "metadata": {"a": "b"}}])
    def test_is_refused_for_another_body(self, api: Api, items: Items, other: object) -> None:
        api("POST", "/jobs", {"input_text": TEXT}, self.KEY)
        before = items.all()

        answer = api("POST", "/jobs", other, self.KEY)

        assert (answer.status, answer.body["type"]) == (422, "urn:jobchain:problem:idempotency-conflict")
        assert items.all() == before

    @pytest.mark.parametrize("key", ["", "x" * 256, "ключ", "two words", "tab\t"])
    def test_has_to_be_visible_ascii_of_a_sane_length(self, api: Api, items: Items, key: str) -> None:
        answer = api("POST", "/jobs", {"input_text": TEXT}, {"Idempotency-Key": key})

        assert answer.status == 422
        assert "Idempotency-Key" in answer.body["errors"]
        assert items.all() == []


class TestWhenTheQueueIsDown:
    def test_the_job_is_accepted_and_due_at_once(
        self, api: Api, sqs: "SQSClient", queue_url: str, items: Items, clock: FakeClock
    ) -> None:
        sqs.delete_queue(QueueUrl=queue_url)

        answer = api("POST", "/jobs", {"input_text": TEXT})

        assert answer.status == 201
        assert int(items.meta(answer.body["event_id"])["due_at"]["N"]) == int(clock().timestamp())

    def test_a_job_that_a_worker_took_all_the_same_keeps_its_lease(
        self, repository: JobRepository, api: Api, items: Items, clock: FakeClock
    ) -> None:
        event_id = api("POST", "/jobs", {"input_text": TEXT}).body["event_id"]
        repository.claim(event_id, clock() + LEASE)
        due_at = items.meta(event_id)["due_at"]

        repository.mark_due(event_id)

        assert items.meta(event_id)["due_at"] == due_at

    def test_health_says_so(self, api: Api, sqs: "SQSClient", queue_url: str) -> None:
        assert api("GET", "/health").status == 200
        sqs.delete_queue(QueueUrl=queue_url)

        answer = api("GET", "/health")

        assert answer.status == 503
        assert answer.body["detail"] == "the queue does not answer"


class TestWhenTheTableIsDown:
    @pytest.fixture(autouse=True)
    def _gone(self, api: Api, dynamodb: "DynamoDBClient") -> None:
        dynamodb.delete_table(TableName=TABLE)

    def test_no_job_is_accepted_and_nothing_is_sent(self, api: Api, messages: Messages) -> None:
        answer = api("POST", "/jobs", {"input_text": TEXT})

        assert answer.status == 503
        assert answer.headers["Retry-After"] == "5"
        assert messages.count() == 0

    def test_reading_says_so(self, api: Api) -> None:
        assert api("GET", "/jobs/0b6c2f4e-0000-4000-8000-000000000001").status == 503
        assert api("GET", "/health").status == 503


def test_a_job_stays_accepted_where_neither_queue_nor_table_answers_after_it_was_stored(
    repository: JobRepository, logger: Logger, items: Items, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Down(JobQueue):
        def send(self, event_id: str, tenant: str, delay: timedelta = timedelta(0)) -> None:
            raise Unavailable("the queue does not take the job")

    class StoresAndFalls(JobRepository):
        def mark_due(self, event_id: str) -> None:
            raise Unavailable("the table does not answer")

    storing = StoresAndFalls(repository._client, TABLE, repository._clock)
    api = Api(JobService(storing, Down(None, ""), timedelta(days=30), repository._clock, logger), logger)  # type: ignore[arg-type]

    answer = api("POST", "/jobs", {"input_text": TEXT})

    assert answer.status == 201
    assert len(items.due()) == 1


class TestReadingAJob:
    def test_names_the_steps_to_come(self, api: Api) -> None:
        event_id = api("POST", "/jobs", {"input_text": TEXT}).body["event_id"]

        answer = api("GET", f"/jobs/{event_id}")

        steps = [(step["name"], step["status"]) for step in answer.body["steps"]]
        assert steps == [("summary", "pending"), ("checklist", "pending"), ("diagram", "pending")]
        assert answer.body["result"] == {}
        assert answer.headers["Retry-After"] == "1"

    def test_shows_which_step_is_running_and_which_failed(
        self, api: Api, repository: JobRepository, clock: FakeClock
    ) -> None:
        event_id = api("POST", "/jobs", {"input_text": TEXT}).body["event_id"]
        claim = repository.claim(event_id, clock() + LEASE)
        running = api("GET", f"/jobs/{event_id}")

        repository.fail(claim, JobError("model_not_found", "knows no such model", "summary"))
        failed = api("GET", f"/jobs/{event_id}")

        assert [step["status"] for step in running.body["steps"]] == ["processing", "pending", "pending"]
        assert [step["status"] for step in failed.body["steps"]] == ["failed", "pending", "pending"]
        assert failed.body["error"] == {
            "type": "model_not_found",
            "message": "knows no such model",
            "step": "summary",
        }
        assert "Retry-After" not in failed.headers

    def test_that_has_not_changed_costs_no_body(self, api: Api, repository: JobRepository, clock: FakeClock) -> None:
        event_id = api("POST", "/jobs", {"input_text": TEXT}).body["event_id"]
        etag = api("GET", f"/jobs/{event_id}").headers["ETag"]

        unchanged = api("GET", f"/jobs/{event_id}", headers={"If-None-Match": etag})
        repository.claim(event_id, clock() + LEASE)
        changed = api("GET", f"/jobs/{event_id}", headers={"If-None-Match": etag})

        assert (unchanged.status, unchanged.body, unchanged.headers["ETag"]) == (304, None, etag)
        assert changed.status == 200

    def test_of_another_tenant_is_not_found(self, api: Api, dynamodb: "DynamoDBClient") -> None:
        event_id = api("POST", "/jobs", {"input_text": TEXT}).body["event_id"]
        dynamodb.update_item(
            TableName=TABLE,
            Key={"pk": {"S": f"JOB#{event_id}"}, "sk": {"S": "META"}},
            UpdateExpression="SET tenant = :other",
            ExpressionAttributeValues={":other": {"S": "other"}},
        )

        assert api("GET", f"/jobs/{event_id}").status == 404


def test_every_problem_names_its_request(api: Api) -> None:
    answer = api("GET", "/jobs/0b6c2f4e-0000-4000-8000-000000000001")

    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.body == {
        "type": "urn:jobchain:problem:job-not-found",
        "title": "There is no such job",
        "status": 404,
        "detail": "there is no job 0b6c2f4e-0000-4000-8000-000000000001",
        "request_id": "request-1",
    }


def test_a_bug_is_a_500_that_tells_nothing(api: Api, dynamodb: "DynamoDBClient", log: io.StringIO) -> None:
    with Stubber(dynamodb) as stub:
        stub.add_client_error("transact_write_items", "ValidationException", f"bad item: {TEXT}")
        answer = api("POST", "/jobs", {"input_text": TEXT})

    assert answer.status == 500
    assert TEXT not in json.dumps(answer.body)
    assert "ClientError" in log.getvalue()
    assert TEXT not in log.getvalue()
