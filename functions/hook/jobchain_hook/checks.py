"""What a new version must do before it gets traffic: a worker a dry job, the api one request."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Invoke = Callable[[str, Mapping[str, Any]], Any]
"""Calls the function of a name and version with an event. Returns its answer, and raises FunctionFailed."""


class FunctionFailed(Exception):
    """The version crashed, or did not start."""


@dataclass(frozen=True, slots=True)
class Check:
    """An event for a version, and what is wrong with its answer: empty if nothing is."""

    event: Mapping[str, Any]
    fault: Callable[[Any], str]


def _fault_of_job(answer: Any) -> str:
    return "" if answer == {"job": "ok"} else f"the dry job ended with {json.dumps(answer)[:200]}"


def _fault_of_request(answer: Any) -> str:
    status = answer.get("statusCode") if isinstance(answer, dict) else None
    # A 503 tells of the services behind the api. A version that corrects that must be deployable.
    return "" if status in (200, 503) else f"GET /health was answered {status}"


CHECKS: Mapping[str, Check] = {
    "job": Check({"check": "job"}, _fault_of_job),
    "health": Check(
        {
            "resource": "/{proxy+}",
            "path": "/health",
            "httpMethod": "GET",
            "headers": {},
            "multiValueHeaders": {},
            "queryStringParameters": None,
            "multiValueQueryStringParameters": None,
            "pathParameters": {"proxy": "health"},
            "stageVariables": None,
            "requestContext": {
                "requestId": "check-of-a-new-version",
                "path": "/health",
                "httpMethod": "GET",
                "resourcePath": "/{proxy+}",
                "stage": "check",
                "identity": {"sourceIp": "127.0.0.1"},
            },
            "body": None,
            "isBase64Encoded": False,
        },
        _fault_of_request,
    ),
}
"""The checks by their names, which the template gives to hook functions."""


def fault_of(version: str, check: Check, invoke: Invoke) -> str:
    """What is wrong with the function and version; empty if nothing is."""
    try:
        return check.fault(invoke(version, check.event))
    except FunctionFailed as error:
        return str(error)
