"""A client of AWS's services whose requests and answers are JSON: DynamoDB and SQS.

It has botocore's calls, answers and errors, and the rules of its retry mode "standard", so that either can be used in
place of the other. It checks no parameters: the service does. Importing it takes a quarter of the time that botocore's
client takes, and a call a fifth of the CPU.
https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
"""

import base64
import json
import os
import random
import time
from collections.abc import Callable, Mapping
from http.client import responses
from typing import Any, NamedTuple
from urllib.parse import quote

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    ReadTimeoutError,
)
from botocore.retries.quota import RetryQuota

from jobchain.aws.connections import Answer, Connections
from jobchain.aws.signature import Signer

_LONGEST_PAUSE_SECONDS = 20
_TRANSIENT_STATUSES = frozenset((500, 502, 503, 504))
_RETRYABLE = frozenset(
    (
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "ReplicatedWriteConflictException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestTimeout",
        "RequestTimeoutException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    )
)
# What a retry takes from the quota that bounds them while a service is out, and what a call gives back.
_RETRY_COST, _TIMEOUT_COST, _REFUND = 5, 10, 1


class Service(NamedTuple):
    """A service: the name in its hosts and signatures, and how its requests name their operation."""

    name: str
    target: str
    content_type: str
    operations: frozenset[str]


DYNAMODB = Service(
    "dynamodb",
    "DynamoDB_20120810",
    "application/x-amz-json-1.0",
    frozenset(
        (
            "batch_get_item",
            "batch_write_item",
            "get_item",
            "put_item",
            "query",
            "scan",
            "transact_write_items",
            "update_item",
        )
    ),
)
SQS = Service(
    "sqs",
    "AmazonSQS",
    "application/x-amz-json-1.0",
    frozenset(("get_queue_attributes", "send_message", "send_message_batch")),
)


class JsonClient:
    """A client of one service. Its methods are the service's operations, such as `put_item`. Threads may share it.

    Each gives the answer as a mapping. They raise ClientError where the service refuses, and another BotoCoreError
    where it does not answer.
    """

    def __init__(
        self,
        service: Service,
        signer: Signer,
        connections: Connections,
        attempts: int,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """`attempts` is the most that a call is tried in all. `pause` waits for seconds before another try."""
        self._service = service
        self._signer = signer
        self._connections = connections
        self._attempts = attempts
        self._pause = pause
        self._quota = RetryQuota()

    def __getattr__(self, name: str) -> Callable[..., dict[str, Any]]:
        if name not in self._service.operations:
            raise AttributeError(f"{type(self).__name__} has no operation {name!r} of {self._service.name}")
        operation = "".join(map(str.capitalize, name.split("_")))

        def call(**parameters: Any) -> dict[str, Any]:
            return self._call(operation, parameters)

        # The next look-up finds it.
        setattr(self, name, call)
        return call

    def _call(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        body = json.dumps(parameters, default=_encoded).encode()
        paid, attempt = 0, 0
        while True:
            attempt += 1
            failure: BotoCoreError | ClientError
            try:
                answer = self._connections.post(self._headers(operation, body), body)
                if answer.status < 300:
                    parsed = _parsed(answer, self._connections.url)
                    self._quota.release(paid or _REFUND)
                    return parsed
                failure = _refused(answer, operation)
            except BotoCoreError as error:
                failure = error
            cost = _TIMEOUT_COST if isinstance(failure, ConnectTimeoutError | ReadTimeoutError) else _RETRY_COST
            if attempt >= self._attempts or not _may_pass(failure) or not self._quota.acquire(cost):
                raise failure
            paid = cost
            self._pause(random.random() * min(2 ** (attempt - 1), _LONGEST_PAUSE_SECONDS))  # noqa: S311  # no secret

    def _headers(self, operation: str, body: bytes) -> dict[str, str]:
        signed = {
            "content-type": self._service.content_type,
            "host": self._connections.host,
            "x-amz-target": f"{self._service.target}.{operation}",
        }
        headers = self._signer.signed(signed, body)
        headers["user-agent"] = "jobchain"
        # By it Lambda finds functions that call each other without end. A proxy may change it, so it is not signed.
        if (trace := os.environ.get("_X_AMZN_TRACE_ID")) and "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
            headers["x-amzn-trace-id"] = quote(trace, safe="-=;:+&[]{}\"',")
        return headers


def _encoded(value: object) -> str:
    """Bytes as JSON has them."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"a request can't hold a {type(value).__name__}")


def _decoded(value: dict[str, Any]) -> dict[str, Any]:
    """An object of an answer. One that has a text "B" alone is an attribute value of bytes: all others are objects."""
    if len(value) == 1 and isinstance(text := value.get("B"), str):
        return {"B": base64.b64decode(text)}
    return value


def _read(body: bytes) -> dict[str, Any]:
    # Without bytes in it, which are rare, no object needs a look.
    found: dict[str, Any] = json.loads(body, object_hook=_decoded if b'"B"' in body else None) if body else {}
    return found


def _parsed(answer: Answer, url: str) -> dict[str, Any]:
    try:
        return _read(answer.body)
    except ValueError as error:
        # Something in between has cut it.
        raise ConnectionClosedError(endpoint_url=url, error=error) from error


def _refused(answer: Answer, operation: str) -> ClientError:
    """The error of an answer, with what the service adds to it, such as a transaction's reasons."""
    content: dict[str, Any]
    try:
        read: object = _read(answer.body)
        content = read if isinstance(read, dict) and read else {"message": responses.get(answer.status, "")}
    except ValueError:
        content = {"message": answer.body.decode(errors="replace")}
        if answer.status in _TRANSIENT_STATUSES:  # a page of something in between
            content = {"message": responses[answer.status]}
    # "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException", or the last part alone.
    code = str(content.pop("__type", answer.status)).partition(":")[0].rpartition("#")[2]
    # SQS has other codes for clients that knew it before it spoke JSON; botocore's users know those.
    query_code, separator, kind = answer.headers.get("x-amzn-query-error", "").partition(";")
    error = {"Message": content.get("message", content.get("Message", "")), "Code": code}
    if query_code and separator:
        error |= {"Code": query_code, "QueryErrorCode": code, "Type": kind}
    metadata = {"HTTPStatusCode": answer.status, "RequestId": answer.headers.get("x-amzn-requestid", "")}
    response: Any = {**content, "Error": error, "ResponseMetadata": metadata}
    return ClientError(response, operation)


def _may_pass(failure: BotoCoreError | ClientError) -> bool:
    """Whether another try may succeed."""
    if not isinstance(failure, ClientError):
        return True
    status = failure.response["ResponseMetadata"]["HTTPStatusCode"]
    codes = {failure.response["Error"]["Code"], failure.response["Error"].get("QueryErrorCode")}
    return status in _TRANSIENT_STATUSES or not codes.isdisjoint(_RETRYABLE)
