"""All stores on one table, for tests that play several parts."""

from typing import TYPE_CHECKING

from jobchain.aws.admission import AdmissionStore
from jobchain.aws.claims import ClaimStore
from jobchain.aws.due import DueStore
from jobchain.aws.jobs import JobStore
from jobchain.aws.model_checks import ModelCheckStore
from jobchain.aws.usage import UsageStore
from jobchain.domain import Clock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class Stores:
    """The stores of the api, the worker and the sweeper."""

    def __init__(self, client: "DynamoDBClient", table: str, clock: Clock) -> None:
        self.clock = clock
        self.admission = AdmissionStore(client, table, clock)
        self.jobs = JobStore(client, table, clock)
        self.claims = ClaimStore(client, table, clock)
        self.due = DueStore(client, table, clock)
        self.usage = UsageStore(client, table, clock)
        self.model_checks = ModelCheckStore(client, table)
