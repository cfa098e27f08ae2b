"""A caller of the stack, as the tests use it: what it makes is deleted, and every answer is held to the contract."""

import re
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx2
from pydantic import JsonValue

from jobchain.aws.admission import AdmissionStore
from jobchain.aws.items import DISPATCH_GRACE
from jobchain.domain import NO_BUDGET, DailyBudget, NewJob, utc_now
from tests.conformance.contract import Contract
from tests.conformance.target import Target

FINAL = ("completed", "failed", "cancelled")
CHAIN = "guideline_checklist"
TEXT = "Doors must be locked at night. Windows should be closed."

Job = dict[str, Any]

_RETENTION = timedelta(days=7)


class Api:
    """A tenant's way to the stack."""

    def __init__(self, target: Target, key: str | None, contract: Contract | None = None) -> None:
        """Without a `contract` nothing is held to one."""
        self.target = target
        self.made: dict[str, None] = {}
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        # trust_env: without the developer's proxy, as the stack is on this machine
        self.http = httpx2.Client(
            base_url=target.api_url,
            headers=headers,
            timeout=60,
            trust_env="127.0.0.1" not in target.api_url and "localhost" not in target.api_url,
            event_hooks={"response": [self._note, *([contract.check] if contract else [])]},
        )

    def _note(self, answer: httpx2.Response) -> None:
        """Keeps the ids of all jobs that were made, to delete them."""
        answer.read()
        if answer.request.method == "POST" and re.search(r"/jobs(/batch|/[^/]+/fork)?/?$", answer.request.url.path):
            body = answer.json() if answer.is_success else {}
            for made in (body, *body.get("results", ())):
                if "event_id" in made:
                    self.made[made["event_id"]] = None

    # --- making jobs -------------------------------------------------------------------------------

    def post(self, text: str = TEXT, key: str | None = None, **fields: Any) -> httpx2.Response:
        """The answer to a request for a job of a text."""
        headers = {"Idempotency-Key": key} if key else {}
        return self.http.post("/jobs", json={"input_text": text, **fields}, headers=headers)

    def submit(self, text: str = TEXT, **fields: Any) -> str:
        """The `event_id` of a new job."""
        answer = self.post(text, **fields)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["event_id"])

    def unsent(self, *, overdue: bool = False, budget: DailyBudget = NO_BUDGET) -> str:
        """The `event_id` of a new job that no worker was told of, as if the api had died before it could send it.

        For five minutes it stays pending, and no worker touches it; if it is `overdue`, these are over. `budget` is
        that of its key.
        """
        parts = self.target.parts
        assert parts
        age = DISPATCH_GRACE + timedelta(minutes=1) if overdue else timedelta(0)
        admission = AdmissionStore(parts.client("dynamodb"), parts.table, lambda: utc_now() - age)
        event_id = str(uuid4())
        self.made[event_id] = None
        payload: JsonValue = {"guidelines": TEXT}
        new = NewJob(event_id, self.target.tenant, CHAIN, payload, "conformance", daily_budget=budget)
        admission.create(new, _RETENTION)
        return event_id

    # --- looking at them ---------------------------------------------------------------------------

    def job(self, event_id: str) -> Job:
        """The job as it is now."""
        job: Job = self.http.get(f"/jobs/{event_id}").raise_for_status().json()
        return job

    def finished(self, event_id: str) -> Job:
        """The job, once it is final. Raises TimeoutError."""
        return self.reached(event_id, *FINAL)

    def reached(self, event_id: str, *statuses: str) -> Job:
        """The job, once it has one of these statuses. Raises TimeoutError."""
        job: Job = self.poll(lambda: (job := self.job(event_id))["status"] in statuses and job)
        return job

    def waiting(self, event_id: str, reason: str) -> Job:
        """The job, once it waits for this reason. Raises TimeoutError."""

        def look() -> Job | None:
            job = self.job(event_id)
            return job if (job["waiting_for"] or {}).get("reason") == reason else None

        job: Job = self.poll(look)
        return job

    def poll(self, look: Callable[[], Any]) -> Any:
        """What `look` gives once it gives something. Raises TimeoutError."""
        deadline = time.monotonic() + self.target.limit_seconds
        while time.monotonic() < deadline:
            if found := look():
                return found
            time.sleep(self.target.pause_seconds)
        raise TimeoutError(f"nothing within {self.target.limit_seconds} s")

    # --- and deleting them -------------------------------------------------------------------------

    def delete_all(self) -> int:
        """Deletes every job that was made. Gives how many there were."""
        for event_id in self.made:
            cancelled = self.http.post(f"/jobs/{event_id}/cancel")
            if cancelled.status_code == 200 and cancelled.json()["status"] not in FINAL:
                self.finished(event_id)
            deleted = self.http.delete(f"/jobs/{event_id}")
            assert deleted.status_code in (204, 404), deleted.text
        return len(self.made)


def expect_problem(answer: httpx2.Response, status: int, kind: str, names: str = "") -> Mapping[str, Any]:
    """The problem that the answer is. Fails if it is another one, or does not name what is wrong."""
    assert answer.status_code == status, answer.text[:500]
    assert answer.headers["Content-Type"].partition(";")[0] == "application/problem+json"
    problem: Mapping[str, Any] = answer.json()
    assert (problem["type"], problem["status"]) == (f"urn:jobchain:problem:{kind}", status)
    assert problem["title"]
    assert problem["request_id"]
    assert names in answer.text
    return problem
