"""A job's life, as its caller sees it: made, polled, listed, cancelled, retried, deleted."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from jobchain_client import Jobchain
from tests.conformance.api import CHAIN, TEXT, Api, Job, expect_problem
from tests.conformance.faulty_model import order
from tests.conformance.target import Target

STEPS = ["summary", "checklist", "diagram"]
NOTES = {"from": "conformance", "ünï": '🙂 \\ " \n'}


@pytest.fixture(scope="module")
def done(api: Api) -> Job:
    """A job that has completed."""
    job = api.finished(api.submit(metadata=NOTES))
    assert job["status"] == "completed", job["error"]
    return job


class TestSubmitting:
    def test_is_answered_with_an_id_and_where_and_when_to_look(self, api: Api) -> None:
        answer = api.post()

        assert answer.status_code == 201
        made = answer.json()
        assert str(UUID(made["event_id"])) == made["event_id"]
        assert made["status"] == "pending"
        assert datetime.fromisoformat(made["created_at"]).tzinfo
        assert int(answer.headers["Retry-After"]) >= 0
        assert "Idempotent-Replayed" not in answer.headers
        assert api.http.get(answer.url.join(answer.headers["Location"])).json()["event_id"] == made["event_id"]

    def test_leads_to_the_job_from_a_path_with_a_slash_at_its_end_too(self, api: Api) -> None:
        answer = api.http.post("/jobs/", json={"input_text": TEXT})

        job = api.http.get(answer.url.join(answer.headers["Location"]))

        assert job.json()["event_id"] == answer.json()["event_id"]

    def test_gives_each_request_a_job_of_its_own(self, api: Api, done: Job) -> None:
        assert api.submit() != done["event_id"]

    def test_works_with_the_client_of_this_checkout(self, api: Api, target: Target) -> None:
        with Jobchain(target.api_url, target.key if target.asks_for_keys else None) as client:
            handle = client.submit(TEXT)
            api.made[handle.event_id] = None
            result = handle.result(target.limit_seconds)

        assert result.keys() == {"summary", "checklist", "checklist_items", "diagram"}


class TestPolling:
    @pytest.mark.needs("parts")
    def test_says_when_to_look_again_until_the_job_is_final(self, api: Api, done: Job) -> None:
        unfinished = api.http.get(f"/jobs/{api.unsent()}")
        final = api.http.get(f"/jobs/{done['event_id']}")

        assert (unfinished.json()["status"], done["status"]) == ("pending", "completed")
        assert int(unfinished.headers["Retry-After"]) >= 0
        assert "Retry-After" not in final.headers

    def test_costs_no_body_while_nothing_changes(self, api: Api, done: Job) -> None:
        path = f"/jobs/{done['event_id']}"
        etag = api.http.get(path).headers["ETag"]

        known = api.http.get(path, headers={"If-None-Match": etag})
        outdated = api.http.get(path, headers={"If-None-Match": '"another"'})

        assert (known.status_code, known.content, known.headers["ETag"]) == (304, b"", etag)
        assert (outdated.status_code, outdated.json()) == (200, done)

    @pytest.mark.needs("parts")
    def test_has_another_etag_after_each_change(self, api: Api) -> None:
        path = f"/jobs/{api.unsent()}"
        etag = api.http.get(path).headers["ETag"]

        api.http.post(f"{path}/cancel").raise_for_status()

        changed = api.http.get(path, headers={"If-None-Match": etag})
        assert (changed.status_code, changed.json()["status"]) == (200, "cancelled")
        assert changed.headers["ETag"] != etag


class TestACompletedJob:
    def test_has_the_steps_of_its_chain_in_their_order(self, api: Api, done: Job) -> None:
        chains = {chain["name"]: chain for chain in api.http.get("/chains").json()["chains"]}

        assert [step["name"] for step in chains[CHAIN]["steps"]] == STEPS
        assert [(step["name"], step["status"]) for step in done["steps"]] == [(step, "completed") for step in STEPS]

    def test_ran_each_step_after_those_that_it_needs(self, done: Job) -> None:
        moments = [done["created_at"], done["started_at"]]
        for step in done["steps"]:
            moments += [step["started_at"], step["finished_at"]]
        moments.append(done["finished_at"])

        assert moments == sorted(moments)

    def test_has_a_result_of_every_step(self, done: Job) -> None:
        result = done["result"]

        assert result.keys() == {"summary", "checklist", "checklist_items", "diagram"}
        assert result["summary"].strip()
        assert result["checklist"]
        assert result["checklist"] == [item["text"] for item in result["checklist_items"]]
        assert {item["priority"] for item in result["checklist_items"]} <= {"must", "should", "may"}
        assert result["diagram"].startswith("flowchart TD\n")

    def test_says_what_it_took(self, done: Job) -> None:
        for name in done["usage"]:
            assert done["usage"][name] == sum(step["usage"][name] for step in done["steps"])
        assert all(step["usage"]["input_tokens"] > 0 for step in done["steps"])
        assert done["calls"] == sum(step["calls"] for step in done["steps"])
        assert done["attempts"] >= 1
        assert done["error"] is None

    def test_has_the_caller_s_notes_as_they_were_given(self, done: Job) -> None:
        assert done["metadata"] == NOTES


class TestTheEventsOfAJob:
    def test_lead_from_its_creation_over_each_step_to_its_end(self, api: Api, done: Job) -> None:
        path = f"/jobs/{done['event_id']}/events"
        events, after = [], None
        while True:
            page = api.http.get(path, params={"limit": 2, **({"after": after} if after else {})}).json()
            events += page["events"]
            after = page["next_after"]
            if not page["has_more"]:
                break

        failed = {"call.failed", "job.waiting"}
        assert [event["type"] for event in events if event["type"] not in failed] == [
            "job.created",
            "job.started",
            *["step.completed"] * 3,
            "job.completed",
        ]
        assert [event["step"] for event in events if event["type"] == "step.completed"] == STEPS
        assert page["status"] == "completed"
        assert len({event["id"] for event in events}) == len(events)

    def test_cost_no_body_while_nothing_happens(self, api: Api, done: Job) -> None:
        path = f"/jobs/{done['event_id']}/events"
        etag = api.http.get(path).headers["ETag"]

        known = api.http.get(path, headers={"If-None-Match": etag})

        assert (known.status_code, known.content, known.headers["ETag"]) == (304, b"", etag)

    @pytest.mark.needs("parts")
    def test_follow_a_position_that_was_given_before(self, api: Api) -> None:
        path = f"/jobs/{api.unsent()}"
        before = api.http.get(f"{path}/events")
        assert [event["type"] for event in before.json()["events"]] == ["job.created"]
        assert int(before.headers["Retry-After"]) >= 1

        api.http.post(f"{path}/cancel").raise_for_status()

        after = api.http.get(f"{path}/events", params={"after": before.json()["next_after"]})
        assert [event["type"] for event in after.json()["events"]] == ["job.cancelled"]
        assert "Retry-After" not in after.headers

    def test_do_not_follow_a_position_of_another_job(self, api: Api, done: Job) -> None:
        position = api.http.get(f"/jobs/{done['event_id']}/events").json()["next_after"]
        other = api.submit()

        answer = api.http.get(f"/jobs/{other}/events", params={"after": position})

        assert expect_problem(answer, 422, "invalid-request")["errors"].keys() == {"after"}


class TestAnIdempotencyKey:
    def test_gives_the_same_job_for_the_same_request(self, api: Api, key: str) -> None:
        first, again = api.post(key=key), api.post(key=key)
        other_form = api.http.post(
            "/jobs", json={"job_name": CHAIN, "payload": {"guidelines": TEXT}}, headers={"Idempotency-Key": key}
        )

        assert first.status_code == 201
        assert "Idempotent-Replayed" not in first.headers
        for answer in (again, other_form):
            assert (answer.status_code, answer.headers["Idempotent-Replayed"]) == (200, "true")
            assert answer.json()["event_id"] == first.json()["event_id"]
            assert answer.headers["Location"] == first.headers["Location"]

    def test_refuses_another_request(self, api: Api, key: str) -> None:
        first = api.submit(key=key)

        expect_problem(api.post("Another text.", key=key), 422, "idempotency-conflict")
        expect_problem(api.post(metadata={"another": "note"}, key=key), 422, "idempotency-conflict")
        assert api.post(key=key).json()["event_id"] == first

    def test_makes_one_job_of_six_requests_at_once(self, api: Api, key: str) -> None:
        with ThreadPoolExecutor(6) as pool:
            answers = [*pool.map(lambda _: api.post(key=key), range(6))]

        assert len({answer.json()["event_id"] for answer in answers}) == 1
        assert sorted(answer.status_code for answer in answers) == [200] * 5 + [201]
        replayed = [answer.headers.get("Idempotent-Replayed") for answer in answers if answer.status_code == 200]
        assert replayed == ["true"] * 5
        assert api.finished(answers[0].json()["event_id"])["attempts"] == 1


def payload_of(chain: dict[str, Any]) -> dict[str, str]:
    """A payload that has the texts that the chain's needs."""
    schema = chain["payload_schema"]
    return {
        name: f"{TEXT} Ana will oil the locks by Friday."
        for name in schema["required"]
        if schema["properties"][name]["type"] == "string"
    }


class TestABatch:
    def test_runs_every_chain_that_the_stack_has(self, api: Api) -> None:
        chains = api.http.get("/chains").json()["chains"]
        entries = [{"job_name": chain["name"], "payload": payload_of(chain)} for chain in chains]

        results = api.http.post("/jobs/batch", json={"jobs": entries}).raise_for_status().json()["results"]

        jobs = [api.finished(result["event_id"]) for result in results]
        assert [(job["job_name"], job["status"]) for job in jobs] == [(chain["name"], "completed") for chain in chains]
        assert all(job["result"] for job in jobs)

    def test_answers_each_entry_in_order_and_one_that_is_refused_harms_no_other(self, api: Api, key: str) -> None:
        entries = [{"input_text": TEXT}, {"input_text": ""}, {"nonsense": 1}, {"input_text": TEXT, "tier": "standard"}]

        answer = api.http.post("/jobs/batch", json={"jobs": entries}, headers={"Idempotency-Key": key})
        again = api.http.post("/jobs/batch", json={"jobs": entries}, headers={"Idempotency-Key": key})

        results = answer.json()["results"]
        assert [result["status"] for result in results] == ["pending", 422, 422, "pending"]
        assert results[1]["type"] == "urn:jobchain:problem:invalid-request"
        assert [results[0]["replayed"], results[3]["replayed"]] == [False, False]
        repeated = again.json()["results"]
        assert [result.get("replayed") for result in repeated] == [True, None, None, True]
        assert [repeated[n]["event_id"] for n in (0, 3)] == [results[n]["event_id"] for n in (0, 3)]


@pytest.fixture(scope="module")
def newest(api: Api) -> list[str]:
    """Three jobs, the newest first, that are in the lists."""
    ids = [api.submit() for _ in range(3)][::-1]
    for event_id in ids:
        api.finished(event_id)
    api.poll(lambda: {*ids} <= {job["event_id"] for job in page(api, status="completed", limit=20)["jobs"]})
    return ids


class TestAList:
    def test_has_every_job_once_the_newest_first(self, api: Api, newest: list[str]) -> None:
        seen = [job["event_id"] for job in walk(api, until={*newest}, limit=2)]

        assert [event_id for event_id in seen if event_id in newest] == newest
        assert len(seen) == len({*seen})

    def test_is_filtered(self, api: Api, newest: list[str]) -> None:
        completed = page(api, status="completed", job_name=CHAIN, limit=100)["jobs"]

        assert {*newest} <= {job["event_id"] for job in completed}
        assert {(job["status"], job["job_name"]) for job in completed} == {("completed", CHAIN)}
        failed = page(api, status="failed", limit=100)["jobs"]
        assert not {job["event_id"] for job in failed} & {*newest}

    def test_is_filtered_by_title_metadata_and_time(self, api: Api) -> None:
        mark = f"{uuid4()}"
        before = api.submit(title=f"Before {mark}")
        event_id = api.submit(title=f"Straße & Wege {mark}.docx", metadata={"conformance mark": mark})
        created = api.job(event_id)["created_at"]
        api.finished(event_id)
        api.poll(lambda: page(api, title=mark, limit=2)["jobs"][0]["status"] == "completed")

        for query in (
            {"title": f"STRASSE & wege {mark}"},
            {"metadata.conformance mark": mark},
            {"title": mark, "created_after": created},
            {"title": mark, "metadata.conformance mark": mark, "status": "completed"},
        ):
            assert [job["event_id"] for job in page(api, limit=2, **query)["jobs"]] == [event_id]
        assert [job["event_id"] for job in page(api, title=mark, created_before=created)["jobs"]] == [before]
        assert page(api, title=f"{mark} and more", created_after=created)["jobs"] == []
        assert page(api, **{"metadata.conformance mark": f"{mark} and more", "created_after": created})["jobs"] == []

    def test_takes_a_cursor_for_the_list_that_gave_it_alone(self, api: Api, newest: list[str]) -> None:
        cursor = page(api, limit=1)["next_cursor"]

        assert page(api, limit=1, cursor=cursor)["jobs"]
        for query in ({"cursor": cursor[:-2]}, {"cursor": "nonsense"}, {"cursor": cursor, "status": "failed"}):
            expect_problem(api.http.get("/jobs", params=query), 422, "invalid-request", "cursor")

    @pytest.mark.parametrize(
        "query",
        [
            {"limit": 0},
            {"limit": 101},
            {"limit": "x"},
            {"status": "done"},
            {"created_after": "now"},
            {"Status": "failed"},
        ],
        ids=str,
    )
    def test_refuses_what_it_does_not_know(self, api: Api, query: dict[str, Any]) -> None:
        expect_problem(api.http.get("/jobs", params=query), 422, "invalid-request", next(iter(query)))


def page(api: Api, **query: Any) -> dict[str, Any]:
    """One page of the list."""
    found: dict[str, Any] = api.http.get("/jobs", params=query).raise_for_status().json()
    return found


def walk(api: Api, until: set[str], limit: int) -> Iterator[Job]:
    """The list's jobs, page after page, until these were met, or the list has ended."""
    cursor: dict[str, str] = {}
    missing = {*until}
    while missing:
        found = page(api, limit=limit, **cursor)
        assert len(found["jobs"]) <= limit
        yield from found["jobs"]
        missing -= {job["event_id"] for job in found["jobs"]}
        if found["next_cursor"] is None:
            return
        cursor = {"cursor": found["next_cursor"]}


def submit_and_see_a_step(api: Api) -> str:
    """The `event_id` of a job whose first step is done, and whose second one is with a slow model."""
    event_id = api.submit(f"{TEXT} {order('delay')}")
    api.poll(lambda: api.job(event_id)["steps"][0]["status"] == "completed")
    return event_id


class TestCancelling:
    def test_ends_a_job_that_was_just_made(self, api: Api) -> None:
        # Whether a worker has it by now is unknown.
        event_id = api.submit()

        answer = api.http.post(f"/jobs/{event_id}/cancel")

        assert answer.status_code in (200, 409)
        job = api.finished(event_id)
        if job["status"] == "cancelled":
            assert answer.status_code == 200
        else:
            assert [step["status"] for step in job["steps"]] == ["completed"] * 3

    @pytest.mark.needs("parts")
    def test_ends_a_pending_job_at_once(self, api: Api) -> None:
        event_id = api.unsent()

        answer = api.http.post(f"/jobs/{event_id}/cancel")

        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
        job = api.job(event_id)
        assert (job["status"], job["attempts"], job["result"]) == ("cancelled", 0, {})

    @pytest.mark.needs("model_faults")
    def test_ends_a_job_under_way_before_its_next_step(self, api: Api) -> None:
        event_id = submit_and_see_a_step(api)

        answer = api.http.post(f"/jobs/{event_id}/cancel")

        assert (answer.status_code, answer.json()["status"]) == (200, "processing")
        job = api.finished(event_id)
        assert job["status"] == "cancelled"
        assert [step["status"] == "completed" for step in job["steps"]] == [True, True, False]
        assert "diagram" not in job["result"]

    def test_is_refused_once_the_job_has_ended(self, api: Api, done: Job) -> None:
        expect_problem(api.http.post(f"/jobs/{done['event_id']}/cancel"), 409, "job-is-final")
        assert api.job(done["event_id"]) == done


class TestRetrying:
    @pytest.mark.needs("parts")
    def test_runs_a_cancelled_job(self, api: Api) -> None:
        event_id = api.unsent()
        api.http.post(f"/jobs/{event_id}/cancel").raise_for_status()

        answer = api.http.post(f"/jobs/{event_id}/retry")

        assert (answer.status_code, answer.json()["status"]) == (200, "pending")
        assert api.finished(event_id)["status"] == "completed"

    @pytest.mark.needs("model_faults")
    def test_goes_on_after_the_last_finished_step(self, api: Api) -> None:
        event_id = submit_and_see_a_step(api)
        api.http.post(f"/jobs/{event_id}/cancel").raise_for_status()
        before = api.finished(event_id)

        api.http.post(f"/jobs/{event_id}/retry").raise_for_status()

        job = api.finished(event_id)
        assert job["status"] == "completed"
        assert job["steps"][:2] == before["steps"][:2]
        assert job["attempts"] == before["attempts"] + 1

    @pytest.mark.needs("model_faults")
    def test_runs_a_failed_job_once_its_cause_is_mended(self, api: Api) -> None:
        event_id = api.submit(f"{TEXT} {order('refuse')}")
        failed = api.finished(event_id)
        assert (failed["status"], failed["error"]["type"]) == ("failed", "model_request_refused")
        assert "Traceback" not in json.dumps(failed)

        api.http.post(f"/jobs/{event_id}/retry").raise_for_status()

        job = api.finished(event_id)
        assert (job["status"], job["error"]) == ("completed", None)

    def test_is_refused_for_a_job_that_completed(self, api: Api, done: Job) -> None:
        expect_problem(api.http.post(f"/jobs/{done['event_id']}/retry"), 409, "job-is-final")
        assert api.job(done["event_id"]) == done

    @pytest.mark.needs("parts")
    def test_is_refused_for_a_job_that_has_not_ended(self, api: Api) -> None:
        expect_problem(api.http.post(f"/jobs/{api.unsent()}/retry"), 409, "job-is-not-final")


class TestForking:
    def test_runs_a_step_again_and_copies_those_before_it(self, api: Api, done: Job) -> None:
        answer = api.http.post(f"/jobs/{done['event_id']}/fork", json={"from_step": "diagram", "title": "again"})
        assert answer.status_code == 201, answer.text
        event_id = answer.json()["event_id"]
        assert answer.headers["Location"] == f"../{event_id}"

        fork = api.finished(event_id)

        assert (fork["status"], fork["title"]) == ("completed", "again")
        assert fork["forked_from"] == {"event_id": done["event_id"], "from_step": "diagram", "replay": None}
        assert [step["copied"] for step in fork["steps"]] == [True, True, False]
        assert (fork["calls"], fork["result"]["summary"]) == (1, done["result"]["summary"])
        assert api.job(done["event_id"]) == done

    def test_asks_with_another_prompt_and_effort(self, api: Api, done: Job) -> None:
        own = {"effort": "low", "prompt": "Draw it from left to right."}
        answer = api.http.post(f"/jobs/{done['event_id']}/fork", json={"from_step": "diagram", **own})
        event_id = answer.raise_for_status().json()["event_id"]

        fork = api.finished(event_id)

        assert fork["status"] == "completed"
        assert (fork["model"], fork["effort"], fork["changed_prompts"]) == (None, "low", ["diagram"])
        prompts = api.http.get(f"/jobs/{event_id}?include=prompts&step=diagram").raise_for_status().json()["prompts"]
        (prompt,) = prompts
        assert "Draw it from left to right." in prompt["instructions"]
        assert prompt["same_as_sent"] is True

    def test_is_refused_where_it_can_not_be_done(self, api: Api, done: Job) -> None:
        path = f"/jobs/{done['event_id']}/fork"
        expect_problem(api.http.post(path, json={"from_step": "diagram", "model": "two words"}), 422, "invalid-request")

        expect_problem(api.http.post(path, json={"from_step": "nothing"}), 422, "invalid-request", "diagram")
        changed = {"from_step": "diagram", "payload": {"guidelines": "Something else."}}
        expect_problem(api.http.post(path, json=changed), 422, "invalid-request", "summary")

    @pytest.mark.needs("parts")
    def test_is_refused_before_the_steps_are_completed(self, api: Api) -> None:
        answer = api.http.post(f"/jobs/{api.unsent()}/fork", json={"from_step": "diagram"})

        expect_problem(answer, 409, "job-cannot-be-forked", "summary")

    def test_with_an_idempotency_key_makes_one_job(self, api: Api, done: Job) -> None:
        key = {"Idempotency-Key": str(uuid4())}
        path = f"/jobs/{done['event_id']}/fork"
        first, second = (api.http.post(path, json={"from_step": "diagram"}, headers=key) for _ in range(2))

        assert (first.status_code, second.status_code) == (201, 200)
        assert first.json()["event_id"] == second.json()["event_id"]
        other = api.http.post(path, json={"from_step": "checklist"}, headers=key)
        expect_problem(other, 422, "idempotency-conflict")


class TestDeleting:
    def test_erases_a_job_that_has_ended(self, api: Api) -> None:
        event_id = api.submit()
        api.finished(event_id)

        answer = api.http.delete(f"/jobs/{event_id}")

        assert (answer.status_code, answer.content) == (204, b"")
        expect_gone(api, event_id)
        api.poll(lambda: event_id not in [job["event_id"] for job in page(api, limit=100)["jobs"]])

    @pytest.mark.needs("parts")
    def test_leaves_nothing_of_it_in_the_table(self, api: Api, target: Target) -> None:
        assert target.parts
        event_id = api.submit(metadata=NOTES)
        api.finished(event_id)

        api.http.delete(f"/jobs/{event_id}").raise_for_status()

        items = target.parts.client("dynamodb").query(
            TableName=target.parts.table,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": f"JOB#{event_id}"}},
            ConsistentRead=True,
        )["Items"]
        assert items == []

    @pytest.mark.needs("parts")
    def test_is_refused_for_a_job_that_has_not_ended(self, api: Api) -> None:
        event_id = api.unsent()

        expect_problem(api.http.delete(f"/jobs/{event_id}"), 409, "job-is-not-final")
        assert api.job(event_id)["status"] == "pending"


def expect_gone(api: Api, event_id: str) -> None:
    """Fails if any route still knows the job, or answers otherwise than for one that never was."""
    for gone in (event_id, str(uuid4())):
        answers: list[httpx2.Response] = [
            api.http.get(f"/jobs/{gone}"),
            api.http.get(f"/jobs/{gone}/events"),
            api.http.delete(f"/jobs/{gone}"),
            api.http.post(f"/jobs/{gone}/cancel"),
            api.http.post(f"/jobs/{gone}/retry"),
            api.http.post(f"/jobs/{gone}/fork", json={"from_step": "summary"}),
        ]
        for answer in answers:
            expect_problem(answer, 404, "job-not-found", gone)
