"""All stores on one table, for tests that play several parts."""

from datetime import datetime
from typing import TYPE_CHECKING

from jobchain.aws.admission import AdmissionStore
from jobchain.aws.claims import ClaimStore
from jobchain.aws.decisions import DecisionStore
from jobchain.aws.deployment_checks import SweepStore, TableCheck
from jobchain.aws.due import DueStore
from jobchain.aws.jobs import JobStore
from jobchain.aws.model_checks import ModelCheckStore
from jobchain.aws.outbox import DeliveryKey
from jobchain.aws.queue import JobQueue
from jobchain.aws.usage import UsageStore
from jobchain.aws.versions import VersionStore
from jobchain.domain import Claim, Clock, FinishedStep, Job
from jobchain.spending import NOTHING_SPENT, Spending
from jobchain_api.health import HealthCheck

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class Stores:
    """The stores of the api, the worker and the sweeper."""

    def __init__(self, client: "DynamoDBClient", table: str, clock: Clock) -> None:
        self.client = client
        self.table = table
        self.clock = clock
        self.admission = AdmissionStore(client, table, clock)
        self.announced: list[DeliveryKey] = []
        self.jobs = JobStore(client, table, clock, self.announced.extend)
        self.claims = ClaimStore(client, table, clock, self.announced.extend)
        self.decisions = DecisionStore(client, table, clock, self.announced.extend)
        self.due = DueStore(client, table, clock, self.announced.extend)
        self.usage = UsageStore(client, table, clock)
        self.versions = VersionStore(client, table)
        self.model_checks = ModelCheckStore(client, table)
        self.sweeps = SweepStore(client, table)

    def health(self, queue: JobQueue) -> HealthCheck:
        """What `GET /health` asks, for a deployment without an account of a model."""
        return HealthCheck(
            table=TableCheck(self.client, self.table, self.clock),
            queue=queue,
            model_checks=self.model_checks,
            sweeps=self.sweeps,
            breakers=None,
            clock=self.clock,
        )

    def claim(self, event_id: str, lease_until: datetime) -> Claim:
        """A worker's claim of a job whose calls cost nothing."""
        return self.claims.claim(event_id, lease_until, lambda *_: ("m", NOTHING_SPENT))

    def cancel(self, tenant: str, event_id: str) -> tuple[Job, dict[str, Spending]]:
        """Cancels the job; gives it, and what was recorded of the spending of workers that vanished, by model."""
        recorded: dict[str, Spending] = {}
        job = self.jobs.cancel(tenant, event_id, lambda _chain, model, spending: recorded.update({model: spending}))
        return job, recorded

    def save_step(self, claim: Claim, position: int, step: FinishedStep) -> None:
        """Stores the step as the claim's record of the same place."""
        self.claims.save_step(claim, position + 1, position, step.model, step)
