"""What a refusal of AWS means: try again, or an operator must act. It is told apart at one place for all services."""

import json
from typing import TYPE_CHECKING

import boto3
import pytest
from aws_lambda_powertools import Logger
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
)
from botocore.stub import Stubber

from jobchain.aws.refusals import unavailable
from jobchain.errors import Misconfigured
from jobchain_api.service import JobService
from tests.conftest import TABLE, make_service
from tests.gateway import Answer, Api

if TYPE_CHECKING:
    import io

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sqs import SQSClient

    from jobchain.aws.queue import JobQueue
    from tests.stores import Stores

BATCH = {"jobs": [{"input_text": "Doors must be locked."}, {"input_text": "Lights must be off."}]}

LASTING = [
    "AccessDenied",
    "AccessDeniedException",
    "AWS.SimpleQueueService.NonExistentQueue",
    "DecryptionFailure",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "KMS.AccessDeniedException",
    "KMS.DisabledException",
    "KMSAccessDeniedException",
    "KMSInvalidStateException",
    "KmsDisabled",
    "KmsNotFound",
    "QueueDoesNotExist",
    "ResourceNotFoundException",
    "UnrecognizedClientException",
]
PASSING = [
    "InternalServerError",
    "KMS.ThrottlingException",
    "KMSInternalException",
    "KmsThrottled",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "ThrottlingException",
    "TransactionInProgressException",
]


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "PutItem")


@pytest.mark.parametrize("code", LASTING)
def test_a_permission_a_key_or_a_table_that_is_missing_is_for_the_operator(code: str) -> None:
    error = unavailable("the table", "refuses for now", refusal(code))

    assert type(error) is Misconfigured
    assert code not in str(error)


@pytest.mark.parametrize("code", PASSING)
def test_what_passes_by_waiting_is_tried_again(code: str) -> None:
    error = unavailable("the table", "refuses for now", refusal(code))

    assert not isinstance(error, Misconfigured)
    assert str(error) == "the table refuses for now"


@pytest.mark.parametrize(
    ("error", "lasting"),
    [
        (EndpointConnectionError(endpoint_url="https://x.test"), False),
        (ReadTimeoutError(endpoint_url="https://x.test"), False),
        (NoCredentialsError(), True),
    ],
)
def test_a_network_that_fails_passes_and_missing_credentials_do_not(error: BotoCoreError, lasting: bool) -> None:
    assert isinstance(unavailable("the queue", "does not answer", error), Misconfigured) is lasting


def expect_refused(answer: Answer, log: "io.StringIO", code: str) -> None:
    """The caller is told that the server fails, and nothing of AWS; the operator's log has the code, as an error."""
    assert (answer.status, answer.body["type"]) == (500, "urn:jobchain:problem:internal-error")
    assert "Retry-After" not in answer.headers
    assert code not in json.dumps(answer.body)
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [line["code"] for line in lines if line["level"] == "ERROR"] == [code]


class TestAnApiThatAwsRefuses:
    CALLS = (
        ("GET", "/jobs/0b6c2f4e-0000-4000-8000-000000000001", None, "query"),
        ("GET", "/jobs", None, "query"),
        ("POST", "/jobs", {"input_text": "Doors must be locked."}, "batch_write_item"),
        ("POST", "/jobs/batch", BATCH, "batch_write_item"),
    )

    @pytest.mark.parametrize(("method", "path", "body", "operation"), CALLS)
    @pytest.mark.parametrize("code", ["AccessDeniedException", "KMSDisabledException", "ResourceNotFoundException"])
    def test_answers_500_and_logs_an_error(
        self,
        service: JobService,
        dynamodb: "DynamoDBClient",
        logger: Logger,
        log: "io.StringIO",
        method: str,
        path: str,
        body: object,
        operation: str,
        code: str,
    ) -> None:
        with Stubber(dynamodb) as stubber:
            stubber.add_client_error(operation, code)
            answer = Api(service, logger)(method, path, body)

        expect_refused(answer, log, code)

    def test_answers_500_where_only_the_transaction_is_refused(
        self, service: JobService, dynamodb: "DynamoDBClient", logger: Logger, log: "io.StringIO"
    ) -> None:
        with Stubber(dynamodb) as stubber:
            stubber.add_response("batch_write_item", {"UnprocessedItems": {}})
            stubber.add_client_error("transact_write_items", "AccessDeniedException")
            stubber.add_client_error("batch_get_item", "AccessDeniedException")
            answer = Api(service, logger)("POST", "/jobs", {"input_text": "Doors must be locked."})

        expect_refused(answer, log, "AccessDeniedException")

    @pytest.mark.parametrize("body", [{"input_text": "Doors must be locked."}, BATCH], ids=["one", "several"])
    def test_accepts_a_job_that_the_queue_refuses_and_logs_an_error(
        self,
        stores: "Stores",
        queue: "JobQueue",
        sqs: "SQSClient",
        logger: Logger,
        log: "io.StringIO",
        body: dict[str, object],
    ) -> None:
        path = "/jobs/batch" if "jobs" in body else "/jobs"
        with Stubber(sqs) as stubber:
            stubber.add_client_error("send_message_batch" if "jobs" in body else "send_message", "AccessDenied")
            answer = Api(make_service(stores, queue, logger), logger)("POST", path, body)

        assert answer.status in (200, 201)
        errors = [line for line in map(json.loads, log.getvalue().splitlines()) if line["level"] == "ERROR"]
        assert [line["code"] for line in errors] == ["AccessDenied"]
        assert len(boto3.client("dynamodb").scan(TableName=TABLE, IndexName="due")["Items"]) > 0
