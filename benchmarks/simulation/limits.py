"""What each limit lets through by itself: so the lowest one binds first."""

import math
from dataclasses import dataclass

from benchmarks.simulation.arrivals import DAY
from benchmarks.simulation.inputs import Inputs
from benchmarks.simulation.setup import Outcome

TIERS = (1, 2, 3, 4, 5)


@dataclass(frozen=True, slots=True)
class Limit:
    """The most jobs in a second that a limit lets through.

    `scope` is what the limit belongs to, and `source` the number of `inputs.toml` that it is; both are empty for what a
    parameter sets.
    """

    name: str
    per_second: float
    what_to_do: str
    scope: str = ""
    source: str = ""

    @property
    def per_day(self) -> float:
        return self.per_second * DAY


def job_writes(inputs: Inputs) -> float:
    """The write units of a job that nothing disturbs."""
    steps = inputs["work.steps"] * inputs["table.step_writes"]
    return inputs["table.create_writes"] + inputs["table.claim_writes"] + steps + inputs["table.finish_writes"]


def of_the_stack(
    inputs: Inputs, full: Outcome, *, concurrency: int, requests_per_second: float, account: float
) -> list[Limit]:
    """The limits but the model's, the lowest first.

    `full` is a run of workers that never wait for jobs, which tells how much one of them gets through.
    """
    each = full.received / full.billed
    requests = 1 + inputs["work.gets"]
    limits = [
        Limit(f"WorkerConcurrency {concurrency}", concurrency * each, "raise the parameter"),
        Limit(
            f"the stage's {requests_per_second:g} requests a second, one job each",
            requests_per_second / requests,
            "raise RequestsPerSecond; send batches; poll less",
        ),
        Limit(
            "a new account's 10 invocations at once",
            inputs["limit.new_account_concurrency"] / _invocations(inputs, full),
            "ask AWS for the usual 1,000",
        ),
        *quotas(inputs, full, account=account),
    ]
    return sorted(limits, key=lambda limit: limit.per_second)


def quotas(inputs: Inputs, full: Outcome, *, account: float) -> list[Limit]:
    """What remains where parameters are at their most, in no order: quotas of AWS, and bounds of the table's keys."""
    each = full.received / full.billed
    seconds = full.billed / full.invocations
    requests = 1 + inputs["work.gets"]
    partition = inputs["limit.partition_writes"]
    of_the_account, stack, tenant = "account and region", "stack", "tenant"
    return [
        Limit("WorkerConcurrency 1,000, its most", 1000 * each, "-", stack, "limit.pollers_most"),
        Limit(
            "the gateway's quota",
            inputs["limit.gateway_rate"] / requests,
            "ask AWS for more",
            of_the_account,
            "limit.gateway_rate",
        ),
        Limit(
            f"the account's {account:g} invocations at once",
            account / _invocations(inputs, full),
            "ask AWS for more",
            of_the_account,
            "limit.account_concurrency",
        ),
        Limit(
            "a new table, its indexes counted with it",
            inputs["limit.table_writes"] / job_writes(inputs),
            "it grows by itself, or warm it up",
            stack,
            "limit.table_writes",
        ),
        Limit(
            "a table's quota",
            inputs["limit.table_writes_quota"] / job_writes(inputs),
            "ask AWS for more",
            stack,
            "limit.table_writes_quota",
        ),
        Limit(
            "one tenant's daily usage, in one partition",
            partition / inputs["table.tenant_writes"],
            "more tenants; DynamoDB may split the partition",
            tenant,
            "limit.partition_writes",
        ),
        *(
            Limit(
                f"one tenant's index `{index}`",
                partition / inputs[f"table.{index}_writes"],
                "more tenants",
                tenant,
                "limit.partition_writes",
            )
            for index in ("unfinished", "recent")
        ),
        Limit(
            "the limiter's item of one model and tier",
            partition / inputs["table.limiter_writes"],
            "more stacks, each with an account of the model's server",
            stack,
            "limit.partition_writes",
        ),
        Limit(
            "the index `due`, 8 partitions",
            8 * partition / inputs["table.due_writes"],
            "more shards",
            stack,
            "limit.partition_writes",
        ),
        Limit("messages in flight", inputs["limit.in_flight"] / seconds, "ask AWS for more", stack, "limit.in_flight"),
    ]


def _invocations(inputs: Inputs, full: Outcome) -> float:
    """The invocations at once that one job a second takes: of workers, with full batches, and of the api."""
    requests = 1 + inputs["work.gets"]
    return full.billed / full.received + requests * inputs["function.api_seconds"]


def of_the_model(inputs: Inputs, tier: int, tokens_per_call: float) -> float:
    """Jobs per second that the model's server lets through for an account of a usage tier."""
    calls = min(inputs[f"limit.tier_{tier}_requests"], inputs[f"limit.tier_{tier}_tokens"] / tokens_per_call)
    return calls / 60 / inputs["work.steps"]


def workers_for(per_second: float, full: Outcome) -> int:
    """The fewest workers that complete `per_second` jobs a second, each with full batches as in `full`."""
    return max(2, math.ceil(per_second * full.billed / full.received))
