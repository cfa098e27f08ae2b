"""What schemathesis can't know of the API from its contract, case by case. Everything else counts as a failure."""

from typing import Any

import schemathesis
from schemathesis.core.failures import Failure, MalformedJson
from schemathesis.core.transport import Response
from schemathesis.specs.openapi.checks import RejectedPositiveData


@schemathesis.hook
def filter_failure(
    _context: schemathesis.HookContext, failure: Failure, case: schemathesis.Case, response: Response
) -> bool:
    """Whether a failure is one."""
    if isinstance(failure, MalformedJson):
        return not _is_without_body(response)
    if isinstance(failure, RejectedPositiveData):
        return not (_has_taken_key(case, response) or _has_made_up_cursor(case, response))
    return True


def _is_without_body(response: Response) -> bool:
    """A 204 or 304, to which API Gateway adds its default `Content-Type: application/json`, like the emulator."""
    return response.status_code in (204, 304) and not response.content


def _has_taken_key(case: schemathesis.Case, response: Response) -> bool:
    """A generated `Idempotency-Key` can be one that has come with another body before."""
    return "Idempotency-Key" in case.headers and _problem(response)["type"].endswith(":idempotency-conflict")


def _has_made_up_cursor(case: schemathesis.Case, response: Response) -> bool:
    """Cursors are signed: one that is generated is refused, and so is one of a list with other filters."""
    return "cursor" in case.query and _problem(response).get("errors", {}).keys() == {"cursor"}


def _problem(response: Response) -> dict[str, Any]:
    problem: dict[str, Any] = response.json()
    return problem
