"""The api function's answers, through its real routes on moto's table and queue."""

import io
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from aws_lambda_powertools import Logger
from botocore.stub import Stubber

from jobchain.aws.due import DueStore
from jobchain.aws.items import StoredJob
from jobchain.aws.queue import JobQueue, Slot
from jobchain.domain import Claim, FinishedStep, JobError, Tier
from jobchain.errors import ClaimLost, Unavailable
from jobchain.spending import Spending
from jobchain_api.auth import Caller
from jobchain_api.service import JobService
from tests.conftest import TABLE, Items, Messages, make_service
from tests.fakes import FakeClock, silence
from tests.gateway import Api
from tests.stores import Stores

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sqs import SQSClient

TEXT = "Passwords must be long."
LEASE = timedelta(minutes=5)


@pytest.fixture
def api(service: JobService, logger: Logger) -> Api:
    return Api(service, logger)


class TestCreatingAJob:
    def test_stores_it_and_sends_its_id_and_nothing_else(self, api: Api, items: Items, messages: Messages) -> None:
        answer = api("POST", "/jobs", {"input_text": TEXT})

        assert answer.status == 201
        assert answer.body.keys() == {"event_id", "status", "created_at"}
        assert answer.body["status"] == "pending"
        assert answer.headers["Location"] == f"jobs/{answer.body['event_id']}"
        assert answer.headers["Retry-After"] == "1"
        assert messages.waiting() == [{"event_id": answer.body["event_id"]}]
        uid = items.meta(answer.body["event_id"])["uid"]["S"]
        assert {item["sk"]["S"] for item in items.all()} == {"META", f"INPUT#{uid}"}

    def test_makes_two_calls_of_the_table_and_one_of_the_queue(
        self, api: Api, dynamodb: "DynamoDBClient", sqs: "SQSClient"
    ) -> None:
        calls: list[str] = []
        for client in (dynamodb, sqs):
            client.meta.events.register("before-call", lambda model, **_: calls.append(model.name))

        api("POST", "/jobs", {"input_text": TEXT})

        assert calls == ["BatchWriteItem", "TransactWriteItems", "SendMessage"]

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


@pytest.mark.parametrize(
    "body", [[], [{"input_text": TEXT}], [{"input_text": "a"}, {"input_text": "b"}], "null", '"a"', "1"]
)
def test_a_body_that_is_no_object_makes_no_job(api: Api, items: Items, body: object) -> None:
    answer = api("POST", "/jobs", body)

    assert (answer.status, answer.body["errors"]) == (422, {"body": "must be a JSON object"})
    assert items.all() == []


class TestABodyThatIsNoJson:
    @pytest.mark.parametrize("path", ["/jobs", "/jobs/batch"])
    @pytest.mark.parametrize(
        "content_type",
        [
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            "multipart/form-data; boundary=x",
            "application/jsonx",
            "text/plain",
            "",
        ],
    )
    def test_is_refused_by_its_content_type(self, api: Api, items: Items, content_type: str, path: str) -> None:
        answer = api("POST", path, {"input_text": TEXT}, {"Content-Type": content_type})

        assert (answer.status, answer.body["type"]) == (415, "urn:jobchain:problem:unsupported-content-type")
        assert "`Content-Type: application/json`" in answer.body["detail"]
        assert items.all() == []

    @pytest.mark.parametrize("content_type", ["Application/JSON", "application/json; charset=utf-8"])
    def test_is_not_what_these_are(self, api: Api, content_type: str) -> None:
        assert api("POST", "/jobs", {"input_text": TEXT}, {"Content-Type": content_type}).status == 201


class TestTheBodysBytes:
    def test_may_begin_with_a_byte_order_mark(self, api: Api) -> None:
        assert api("POST", "/jobs", "\ufeff" + json.dumps({"input_text": TEXT})).status == 201

    def test_must_be_utf_8_as_the_gateway_puts_a_replacement_character_for_others(self, api: Api, items: Items) -> None:
        body = '{"input_text":"Türen müssen zu sein."}'.encode("latin-1").decode(errors="replace")

        answer = api("POST", "/jobs", body)

        assert (answer.status, answer.body["type"]) == (400, "urn:jobchain:problem:malformed-body")
        assert "not UTF-8" in answer.body["detail"]
        assert items.all() == []

    @pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
    def test_must_be_utf_8_also_where_the_gateway_sends_others_as_base64(
        self, api: Api, items: Items, encoding: str
    ) -> None:
        answer = api("POST", "/jobs", '{"input_text":"Türen müssen zu sein."}'.encode(encoding))

        assert (answer.status, answer.body["type"]) == (400, "urn:jobchain:problem:malformed-body")
        assert "not UTF-8" in answer.body["detail"]
        assert items.all() == []

    def test_may_be_sent_as_base64(self, api: Api) -> None:
        assert api("POST", "/jobs", '{"input_text":"Türen müssen zu sein."}'.encode()).status == 201

    def test_may_have_a_replacement_character_that_is_meant(self, api: Api) -> None:
        assert api("POST", "/jobs", '{"input_text":"a \\ufffd b"}').status == 201


@pytest.mark.parametrize("text", ["\u200b", "\u200b\ufeff", " \u2060\n\u00ad", "\u3164\ufe0f", "\x01"])
def test_a_text_of_characters_that_nobody_sees_is_empty(api: Api, items: Items, text: str) -> None:
    named = {"job_name": "guideline_checklist", "payload": {"guidelines": text}}

    for body in ({"input_text": text}, named):
        answer = api("POST", "/jobs", body)

        assert answer.status == 422
        assert "is empty" in " ".join(answer.body["errors"].values())
    assert items.all() == []


def test_a_job_is_cancelled_without_a_body_or_its_type(api: Api) -> None:
    event_id = api("POST", "/jobs", {"input_text": TEXT}).body["event_id"]

    assert api("POST", f"/jobs/{event_id}/cancel").status == 200


HERE = {"Host": "api.example:8443"}
FOREIGN = {
    "another site": {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
    "another port": {"Origin": "https://api.example:1", "Sec-Fetch-Site": "same-site"},
    "an old browser": {"Origin": "https://evil.example"},
    "no origin": {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
    "no origin, in an old browser": {"Origin": "null"},
    "a form": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
}
OWN = {
    "a program": {},
    "the dashboard": {"Origin": "https://api.example:8443", "Sec-Fetch-Site": "same-origin"},
    "the dashboard in an old browser": {"Origin": "https://API.example:8443"},
    "the dashboard behind another name": {"Origin": "https://other.example", "Sec-Fetch-Site": "same-origin"},
    "the address bar": {"Sec-Fetch-Site": "none"},
}


class TestAPageOfAnotherOrigin:
    @pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)
    def test_changes_nothing_where_no_key_is_needed(self, api: Api, items: Items, headers: dict[str, str]) -> None:
        event_id = api("POST", "/jobs", {"input_text": TEXT}).body["event_id"]
        before = items.all()

        answers = [
            api("POST", "/jobs", {"input_text": TEXT}, {**HERE, **headers}),
            api("POST", "/jobs/batch", {"jobs": [{"input_text": TEXT}]}, {**HERE, **headers}),
            api("POST", f"/jobs/{event_id}/cancel", headers={**HERE, **headers}),
            api("POST", f"/jobs/{event_id}/retry", headers={**HERE, **headers}),
            api("DELETE", f"/jobs/{event_id}", headers={**HERE, **headers}),
        ]

        assert {answer.status for answer in answers} == {403}
        assert {answer.body["type"] for answer in answers} == {"urn:jobchain:problem:foreign-origin"}
        assert items.all() == before

    @pytest.mark.parametrize("headers", OWN.values(), ids=OWN)
    def test_is_not_what_these_are(self, api: Api, headers: dict[str, str]) -> None:
        assert api("POST", "/jobs", {"input_text": TEXT}, {**HERE, **headers}).status == 201

    @pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)
    def test_can_read_nothing_as_no_answer_lets_it(self, api: Api, headers: dict[str, str]) -> None:
        answer = api("GET", "/jobs", headers={**HERE, **headers})

        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]

    def test_without_an_origin_is_foreign_even_if_the_request_has_no_host(self, api: Api, items: Items) -> None:
        assert api("POST", "/jobs", {"input_text": TEXT}, {"Host": "", "Origin": "null"}).status == 403
        assert items.all() == []

    def test_may_come_with_a_key(self, service: JobService, logger: Logger) -> None:
        keyed = Api(service, logger, lambda _: Caller("acme"))

        assert keyed("POST", "/jobs", {"input_text": TEXT}, {**HERE, **FOREIGN["another site"]}).status == 201


@pytest.mark.parametrize("path", ["/jobs/%0A", "/jobs/{event_id}%0A", "/health%0A"])
def test_a_path_with_a_newline_is_no_path(api: Api, path: str) -> None:
    event_id = api("POST", "/jobs", {"input_text": TEXT}).body["event_id"]

    answer = api("GET", path.format(event_id=event_id))

    assert (answer.status, answer.body["type"]) == (404, "urn:jobchain:problem:path-not-found")


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
        self, stores: Stores, api: Api, items: Items, clock: FakeClock
    ) -> None:
        event_id = api("POST", "/jobs", {"input_text": TEXT}).body["event_id"]
        stores.claim(event_id, clock() + LEASE)
        due_at = items.meta(event_id)["due_at"]

        stores.due.mark_due(event_id, clock())

        assert items.meta(event_id)["due_at"] == due_at

    def test_a_job_that_a_worker_took_and_put_off_is_due_when_its_wait_is_over(
        self, stores: Stores, api: Api, items: Items, clock: FakeClock
    ) -> None:
        event_id = api("POST", "/jobs", {"input_text": TEXT}).body["event_id"]
        claim = stores.claim(event_id, clock() + LEASE)
        stores.claims.release(claim, timedelta(hours=10), {}, {})
        released = items.meta(event_id)

        stores.due.mark_due(event_id, clock())

        # its message would be refused until then, and each sweep would send another one
        now = items.meta(event_id)
        assert (now["due_shard"], now["due_at"]) == (released["due_shard"], released["due_at"])

    def test_health_says_so(self, api: Api, sqs: "SQSClient") -> None:
        silence(sqs)

        answer = api("GET", "/health")

        assert answer.status == 503
        assert answer.body["detail"] == "the queue does not answer"


class TestWhenTheTableIsDown:
    @pytest.fixture(autouse=True)
    def _gone(self, api: Api, dynamodb: "DynamoDBClient") -> None:
        silence(dynamodb)

    def test_no_job_is_accepted_and_nothing_is_sent(self, api: Api, messages: Messages) -> None:
        answer = api("POST", "/jobs", {"input_text": TEXT})

        assert answer.status == 503
        assert answer.headers["Retry-After"] == "5"
        assert messages.count() == 0

    def test_reading_says_so(self, api: Api) -> None:
        assert api("GET", "/jobs/0b6c2f4e-0000-4000-8000-000000000001").status == 503
        assert api("GET", "/health").status == 503


def test_a_job_stays_accepted_where_neither_queue_nor_table_answers_after_it_was_stored(
    dynamodb: "DynamoDBClient", clock: FakeClock, logger: Logger, items: Items
) -> None:
    class Down(JobQueue):
        def send(
            self,
            event_id: str,
            tenant: str,
            delay: timedelta = timedelta(0),
            tier: Tier = Tier.STANDARD,
            slot: Slot | None = None,
        ) -> None:
            raise Unavailable("the queue does not take the job")

    class NeverDue(DueStore):
        def mark_due(self, event_id: str, at: datetime) -> None:
            raise Unavailable("the table does not answer")

    stores = Stores(dynamodb, TABLE, clock)
    stores.due = NeverDue(dynamodb, TABLE, clock)
    api = Api(make_service(stores, Down(None, ""), logger), logger)  # type: ignore[arg-type]

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

    def test_shows_which_step_is_running_and_which_failed(self, api: Api, stores: Stores, clock: FakeClock) -> None:
        event_id = api("POST", "/jobs", {"input_text": TEXT}).body["event_id"]
        claim = stores.claim(event_id, clock() + LEASE)
        running = api("GET", f"/jobs/{event_id}")

        stores.claims.fail(claim, JobError("model_not_found", "knows no such model", "summary"))
        failed = api("GET", f"/jobs/{event_id}")

        assert [step["status"] for step in running.body["steps"]] == ["processing", "pending", "pending"]
        assert [step["status"] for step in failed.body["steps"]] == ["failed", "pending", "pending"]
        assert failed.body["error"] == {
            "type": "model_not_found",
            "message": "knows no such model",
            "step": "summary",
        }
        assert "Retry-After" not in failed.headers

    def test_that_has_not_changed_costs_no_body(self, api: Api, stores: Stores, clock: FakeClock) -> None:
        event_id = api("POST", "/jobs", {"input_text": TEXT}).body["event_id"]
        etag = api("GET", f"/jobs/{event_id}").headers["ETag"]

        unchanged = api("GET", f"/jobs/{event_id}", headers={"If-None-Match": etag})
        stores.claim(event_id, clock() + LEASE)
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


class Job:
    """A job, and the ways to bring it where a test wants it."""

    def __init__(self, api: Api, stores: Stores, clock: FakeClock) -> None:
        self._stores = stores
        self._clock = clock
        self.event_id: str = api("POST", "/jobs", {"input_text": TEXT}).body["event_id"]
        self.path = f"/jobs/{self.event_id}"

    def processing(self) -> Claim:
        return self._stores.claim(self.event_id, self._clock() + LEASE)

    def completed(self) -> None:
        self._stores.claims.finish(self.processing())

    def failed(self) -> None:
        self._stores.claims.fail(self.processing(), JobError("model_not_found", "knows no such model", "summary"))


@pytest.fixture
def job(api: Api, stores: Stores, clock: FakeClock) -> Job:
    return Job(api, stores, clock)


class TestCancelling:
    def test_a_pending_job_ends_at_once(self, api: Api, job: Job, items: Items) -> None:
        answer = api("POST", f"{job.path}/cancel")

        assert (answer.status, answer.body["status"]) == (200, "cancelled")
        assert answer.body["finished_at"] is not None
        assert items.due() == []

    def test_a_running_job_is_left_to_its_worker(self, api: Api, job: Job, items: Items) -> None:
        job.processing()

        answer = api("POST", f"{job.path}/cancel")

        assert (answer.status, answer.body["status"]) == (200, "processing")
        assert "cancel_requested" in items.meta(job.event_id)

    def test_a_job_whose_worker_died_ends_at_once(self, api: Api, job: Job, clock: FakeClock) -> None:
        job.processing()
        clock.advance(LEASE + timedelta(seconds=1))

        assert api("POST", f"{job.path}/cancel").body["status"] == "cancelled"

    def test_is_too_late_for_a_job_that_has_ended(self, api: Api, job: Job) -> None:
        job.completed()

        answer = api("POST", f"{job.path}/cancel")

        assert (answer.status, answer.body["type"]) == (409, "urn:jobchain:problem:job-is-final")

    def test_stops_a_worker_that_took_the_job_a_moment_before(
        self, api: Api, job: Job, stores: Stores, clock: FakeClock
    ) -> None:
        claim = job.processing()
        clock.advance(LEASE + timedelta(seconds=1))
        api("POST", f"{job.path}/cancel")

        with pytest.raises(ClaimLost):
            stores.claims.finish(claim)


class TestRetrying:
    def test_a_failed_job_is_pending_again_and_sent(self, api: Api, job: Job, items: Items, messages: Messages) -> None:
        job.failed()
        sent_before = len(messages.waiting())

        answer = api("POST", f"{job.path}/retry")

        assert (answer.status, answer.body["status"]) == (200, "pending")
        assert (answer.body["error"], answer.body["finished_at"]) == (None, None)
        assert len(messages.waiting()) == sent_before + 1
        assert len(items.due()) == 1

    def test_a_job_that_was_cancelled_while_it_ran_can_be_taken_up_again(
        self, api: Api, job: Job, stores: Stores
    ) -> None:
        claim = job.processing()
        api("POST", f"{job.path}/cancel")
        stores.claims.end_cancelled(claim)

        api("POST", f"{job.path}/retry")

        assert not job.processing().cancel_requested

    def test_is_refused_for_any_other_job(self, api: Api, job: Job) -> None:
        pending = api("POST", f"{job.path}/retry")
        job.completed()
        completed = api("POST", f"{job.path}/retry")

        assert (pending.status, completed.status) == (409, 409)
        assert pending.body["type"] == "urn:jobchain:problem:job-is-not-final"

    def test_leaves_the_job_due_at_once_where_the_queue_is_down(
        self, api: Api, job: Job, sqs: "SQSClient", queue_url: str, items: Items, clock: FakeClock
    ) -> None:
        job.failed()
        sqs.delete_queue(QueueUrl=queue_url)

        assert api("POST", f"{job.path}/retry").status == 200
        assert int(items.meta(job.event_id)["due_at"]["N"]) == int(clock().timestamp())

    def test_is_refused_for_one_that_would_be_erased_before_it_ends(self, api: Api, job: Job, clock: FakeClock) -> None:
        api("POST", f"/jobs/{job.event_id}/cancel")
        clock.advance(timedelta(days=28))

        answer = api("POST", f"/jobs/{job.event_id}/retry")

        assert answer.status == 409
        assert "create a new job" in answer.body["detail"]


class TestDeleting:
    def test_a_final_job_leaves_nothing_behind(self, api: Api, items: Items) -> None:
        path = f"/jobs/{api('POST', '/jobs', {'input_text': TEXT, 'metadata': {'a': 'b'}}).body['event_id']}"
        api("POST", f"{path}/cancel")

        answer = api("DELETE", path)

        assert (answer.status, answer.body) == (204, None)
        assert items.all() == []
        assert api("GET", path).status == 404
        assert api("DELETE", path).status == 404

    @pytest.mark.thorough
    def test_a_job_of_many_steps_leaves_nothing_behind_either(
        self, api: Api, stores: Stores, clock: FakeClock, items: Items
    ) -> None:
        event_id = api("POST", "/jobs", {"input_text": TEXT}).body["event_id"]
        claim = stores.claim(event_id, clock() + LEASE)
        for number in range(120):
            stores.save_step(claim, number, FinishedStep(f"part{number}", "o", "m", "v", "s", "f", Spending()))
        stores.claims.finish(claim)

        assert api("DELETE", f"/jobs/{event_id}").status == 204
        assert items.all() == []

    def test_twice_at_once_finds_nothing_the_second_time(
        self, api: Api, job: Job, stores: Stores, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # given another delete that comes between the reading and the erasing
        job.failed()
        read = stores.jobs._read
        others = [lambda: stores.jobs.delete("local", job.event_id)]

        def read_and_be_late(tenant: str, event_id: str, first: str = "META") -> StoredJob:
            found = read(tenant, event_id, first)
            if others:
                others.pop()()
            return found

        monkeypatch.setattr(stores.jobs, "_read", read_and_be_late)

        assert api("DELETE", job.path).status == 404

    def test_is_refused_until_the_job_has_ended(self, api: Api, job: Job) -> None:
        assert api("DELETE", job.path).status == 409
        job.processing()
        assert api("DELETE", job.path).status == 409
        assert api("GET", job.path).status == 200


@pytest.mark.parametrize(("method", "action"), [("POST", "/cancel"), ("POST", "/retry"), ("DELETE", "")])
@pytest.mark.parametrize("event_id", ["0b6c2f4e-0000-4000-8000-000000000001", "nonsense"])
def test_nothing_can_be_done_with_a_job_that_is_not_there(api: Api, method: str, action: str, event_id: str) -> None:
    assert api(method, f"/jobs/{event_id}{action}").status == 404


class TestAReplay:
    KEY: ClassVar = {"Idempotency-Key": "order-7"}

    def test_of_a_job_that_was_never_sent_sends_it(
        self, api: Api, clock: FakeClock, sqs: "SQSClient", queue_url: str, messages: Messages
    ) -> None:
        # given a process that crashed between storing the job and sending it
        event_id = api("POST", "/jobs", {"input_text": TEXT}, self.KEY).body["event_id"]
        sqs.purge_queue(QueueUrl=queue_url)

        # when the caller, who got no answer, repeats its request later
        clock.advance(timedelta(seconds=11))
        api("POST", "/jobs", {"input_text": TEXT}, self.KEY)

        assert messages.waiting() == [{"event_id": event_id}]

    def test_of_a_job_that_a_worker_has_taken_sends_nothing(
        self, api: Api, stores: Stores, clock: FakeClock, messages: Messages
    ) -> None:
        event_id = api("POST", "/jobs", {"input_text": TEXT}, self.KEY).body["event_id"]
        stores.claim(event_id, clock() + LEASE)
        clock.advance(timedelta(seconds=11))

        api("POST", "/jobs", {"input_text": TEXT}, self.KEY)

        assert messages.count() == 1


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


def test_a_problem_stays_small_whatever_the_body(api: Api) -> None:
    answer = api("POST", "/jobs", {"input_text": TEXT, "x" * 10_000: 1} | {f"field-{n}": n for n in range(50_000)})

    assert answer.status == 422
    assert len(json.dumps(answer.body)) < 10_000


def test_a_path_that_is_no_id_never_reaches_the_log(api: Api, log: io.StringIO) -> None:
    api("GET", f"/jobs/{TEXT}")
    api("DELETE", f"/jobs/{TEXT}")
    api("GET", "/jobs/0b6c2f4e-0000-4000-8000-000000000001")

    assert "Passwords" not in log.getvalue()


def test_a_job_that_was_stored_unseen_is_accepted(
    api: Api, stores: Stores, monkeypatch: pytest.MonkeyPatch, messages: Messages
) -> None:
    # given a table that stores the job, and whose answer is lost each time
    transact = stores.admission._table.transact

    def stored_unseen(writes: Callable[[], list[Any]]) -> None:
        transact(writes)
        raise Unavailable("the table does not answer")

    monkeypatch.setattr(stores.admission._table, "transact", stored_unseen)

    answer = api("POST", "/jobs", {"input_text": TEXT})

    assert answer.status == 201
    assert messages.waiting() == [{"event_id": answer.body["event_id"]}]


def test_a_job_that_another_request_has_stored_is_a_replay_where_the_answer_is_lost(
    api: Api, stores: Stores, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = {"Idempotency-Key": "key"}
    first = api("POST", "/jobs", {"input_text": TEXT}, headers)
    clock.advance(timedelta(milliseconds=1))

    def unanswered(_writes: object) -> None:
        raise Unavailable("the table does not answer")

    monkeypatch.setattr(stores.admission._table, "transact", unanswered)

    second = api("POST", "/jobs", {"input_text": TEXT}, headers)
    other = api("POST", "/jobs", {"input_text": "another text"}, headers)

    assert (second.status, second.body["event_id"]) == (200, first.body["event_id"])
    assert (other.status, other.body["type"]) == (422, "urn:jobchain:problem:idempotency-conflict")


def test_what_ttl_left_of_an_older_job_is_not_the_new_ones(
    api: Api, stores: Stores, clock: FakeClock, dynamodb: "DynamoDBClient"
) -> None:
    # given a key whose first job is erased, but for a step
    headers = {"Idempotency-Key": "weekly-report"}
    event_id = api("POST", "/jobs", {"input_text": TEXT}, headers).body["event_id"]
    claim = stores.claim(event_id, clock() + LEASE)
    stores.save_step(claim, 0, FinishedStep("summary", "old", "m", "v", "s", "f", Spending()))
    for sk in ("META", f"INPUT#{claim.uid}"):
        dynamodb.delete_item(TableName=TABLE, Key={"pk": {"S": f"JOB#{event_id}"}, "sk": {"S": sk}})
    clock.advance(timedelta(days=40))

    # when the key comes again
    api("POST", "/jobs", {"input_text": TEXT}, headers)

    # then its job starts with nothing
    assert api("GET", f"/jobs/{event_id}").body["result"] == {}
    assert stores.claim(event_id, clock() + LEASE).steps == ()


def test_what_ttl_left_of_an_older_job_makes_way_for_the_new_ones_steps(
    api: Api, stores: Stores, clock: FakeClock, dynamodb: "DynamoDBClient"
) -> None:
    # given a key whose first job is erased, but for a step
    headers = {"Idempotency-Key": "weekly-report"}
    event_id = api("POST", "/jobs", {"input_text": TEXT}, headers).body["event_id"]
    claim = stores.claim(event_id, clock() + LEASE)
    stores.save_step(claim, 0, FinishedStep("summary", "old", "m", "v", "s", "f", Spending(calls=1)))
    for sk in ("META", f"INPUT#{claim.uid}"):
        dynamodb.delete_item(TableName=TABLE, Key={"pk": {"S": f"JOB#{event_id}"}, "sk": {"S": sk}})
    clock.advance(timedelta(days=40))
    api("POST", "/jobs", {"input_text": TEXT}, headers)

    # when the new job's own step is stored, twice, as if the first answer were lost
    claim = stores.claim(event_id, clock() + LEASE)
    for output in ("new", "newer"):
        stores.save_step(claim, 0, FinishedStep("summary", output, "m", "v", "s", "f", Spending(calls=1)))

    # then it is there once, and so is its usage
    job = stores.jobs.get("local", event_id)
    assert [step.output for step in job.steps] == ["newer"]
    assert job.spending.calls == 1
    stores.claims.finish(claim, {"m": Spending(calls=1)})
    assert stores.jobs.get("local", event_id).spending.calls == 1


def test_a_bug_is_a_500_that_tells_nothing(api: Api, dynamodb: "DynamoDBClient", log: io.StringIO) -> None:
    with Stubber(dynamodb) as stub:
        stub.add_client_error("batch_write_item", "ValidationException", f"bad item: {TEXT}")
        answer = api("POST", "/jobs", {"input_text": TEXT})

    assert answer.status == 500
    assert TEXT not in json.dumps(answer.body)
    assert "ClientError" in log.getvalue()
    assert TEXT not in log.getvalue()


MANY = 10_000


@pytest.mark.parametrize(
    ("path", "body", "place", "why"),
    [
        ("/jobs", {str(n): 1 for n in range(MANY)}, "body", f"has {MANY} fields: give only job_name, payload, "),
        (
            "/jobs",
            {"job_name": "guideline_checklist", "payload": {str(n): 1 for n in range(MANY)}},
            "payload",
            f"has {MANY} fields: give only guidelines",
        ),
        (
            "/jobs",
            {"input_text": "x", "metadata": {str(n): 1 for n in range(MANY)}},
            "metadata",
            f"has {MANY} entries: give at most 16",
        ),
        ("/jobs/batch", {str(n): 1 for n in range(MANY)}, "body", f"has {MANY} fields: give only jobs"),
    ],
    ids=["fields", "payload", "metadata", "batch"],
)
def test_what_is_too_many_is_counted_and_not_looked_at(
    api: Api, path: str, body: dict[str, Any], place: str, why: str
) -> None:
    answer = api("POST", path, body)

    # One error for all of them: each would have its own if they had been looked at.
    assert answer.status == 422
    assert list(answer.body["errors"]) == [place]
    assert answer.body["errors"][place].startswith(why)


def test_a_few_unknown_fields_are_each_named(api: Api) -> None:
    answer = api("POST", "/jobs", {"input_text": "x", **{f"more_{n}": 1 for n in range(20)}})

    assert answer.body["errors"] == {f"more_{n}": "unknown field: remove it" for n in range(20)}
