"""What schemathesis can't know of the API from its contract, case by case. Everything else counts as a failure."""

import os
from http import HTTPStatus
from itertools import cycle
from typing import Any

import schemathesis
from schemathesis.core.failures import Failure, MalformedJson
from schemathesis.core.transport import Response
from schemathesis.openapi.checks import RejectedPositiveData

from tests.fuzz import letters

Case = schemathesis.Case[Any]

FORK = "POST /jobs/{event_id}/fork"
DECIDE = "POST /jobs/{event_id}/steps/{step}/decision"

_WITHOUT_WORDS = {
    "GET /jobs": {"created_after", "created_before"},
    "GET /usage": {"from"},  # not after `to`, and at most 92 days before it
    "GET /jobs/{event_id}/events": {"after"},  # a position of this very job
    FORK: {"from_step", "webhook_url"},
    DECIDE: {"value"},  # of the step's own type
    "POST /jobs": {"webhook_url"},
    "POST /webhooks": {"url", *(f"chains.{place}" for place in range(20))},
}
"""What OpenAPI has no words for: the parameters and fields by their operations."""

LISTS = ("GET /jobs", "GET /deliveries")

_waiting = cycle(os.environ[letters.VARIABLE].split())
"""The jobs whose step waits, one for each decision; then the first one again, which is decided by then."""

_given: dict[tuple[str, str], dict[str, Any]] = {}
"""The filters of the list that gave a cursor, by the list's operation and the cursor."""


@schemathesis.hook
def before_call(_context: schemathesis.HookContext, case: Case, _kwargs: dict[str, Any]) -> None:
    """Sends a cursor that was given with its own filters, and no made-up one where the request is to be accepted.

    Cursors are signed, and belong to one list: OpenAPI has no words for either. The same goes for the steps and the
    payload of the job that is forked, and for the step that is decided, which must wait for that.
    """
    if not (case.meta and case.meta.generation.mode.is_positive):
        return
    if case.operation.label == FORK and isinstance(case.body, dict):
        case.body = {**case.body, "from_step": "summary", "payload": None}
    if case.operation.label == DECIDE:
        case.path_parameters = {"event_id": next(_waiting), "step": letters.STEP}
    cursor = case.query.get("cursor")
    if cursor is None:
        return
    if (given := _given.get((case.operation.label, cursor))) is not None:
        limit = {name: value for name, value in case.query.items() if name == "limit"}
        case.query = {**limit, **given, "cursor": cursor}
    else:
        case.query = {name: value for name, value in case.query.items() if name != "cursor"}


@schemathesis.hook
def after_call(_context: schemathesis.HookContext, case: Case, response: Response) -> None:
    """Remembers cursors."""
    if case.operation.label not in LISTS or response.status_code != HTTPStatus.OK:
        return
    if cursor := response.json()["next_cursor"]:
        _given[case.operation.label, cursor] = {
            name: value for name, value in case.query.items() if name not in ("limit", "cursor")
        }


@schemathesis.hook
def filter_failure(_context: schemathesis.HookContext, failure: Failure, case: Case, response: Response) -> bool:
    """Whether a failure is one."""
    if isinstance(failure, MalformedJson):
        return not _is_without_body(response)
    if isinstance(failure, RejectedPositiveData):
        return not (_has_taken_key(case, response) or _is_beyond_words(case, response))
    return True


def _is_without_body(response: Response) -> bool:
    """A 204 or 304, to which API Gateway adds its default `Content-Type: application/json`, like the emulator."""
    return response.status_code in (204, 304) and not response.content


def _is_beyond_words(case: Case, response: Response) -> bool:
    """Whether only values are refused whose form is right: a day that no month has, say, or a step of another chain."""
    refused = response.json().get("errors") or {}
    return bool(refused) and refused.keys() <= _WITHOUT_WORDS.get(case.operation.label, set())


def _has_taken_key(case: Case, response: Response) -> bool:
    """A generated `Idempotency-Key` can be one that has come with another body before."""
    problem: dict[str, Any] = response.json()
    return "Idempotency-Key" in case.headers and problem["type"] == "urn:jobchain:problem:idempotency-conflict"
