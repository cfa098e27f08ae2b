"""CloudWatch metrics of jobs: how they end, what calls of the model used and cost, breakers, and failed messages.

Alarms use those of the service `all`, which have no dimension whose values an alarm would have to know.
"""

from collections.abc import Callable
from dataclasses import asdict

from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from jobchain.breaker import OpenBreaker
from jobchain.domain import Status
from jobchain.model_check import ModelCheck
from jobchain.outcomes import Fault, Outcome
from jobchain.spending import Spending

Meter = Callable[[str, str, Spending], None]
"""Told of what was added to the usage records: the job's chain, the model that was asked, and what its calls cost."""


def count_spending(chain: str, model: str, spending: Spending) -> None:
    """Counts what calls cost, by chain and model. A correction of an estimate may be negative.

    Each time with a metrics object of its own, as other jobs run at the same time.
    """
    metrics = EphemeralMetrics()
    metrics.add_dimension(name="chain", value=chain)
    metrics.add_dimension(name="model", value=model)
    for name, count in asdict(spending.usage).items():
        metrics.add_metric(name="".join(map(str.title, name.split("_"))), unit=MetricUnit.Count, value=count)
    metrics.add_metric(name="Calls", unit=MetricUnit.Count, value=spending.calls)
    metrics.add_metric(name="Retries", unit=MetricUnit.Count, value=spending.retries)
    metrics.add_metric(name="EstimatedCalls", unit=MetricUnit.Count, value=spending.estimated.calls)
    metrics.add_metric(name="UnpricedCalls", unit=MetricUnit.Count, value=spending.unpriced_calls)
    metrics.add_metric(name="CostUSD", unit=MetricUnit.NoUnit, value=float(spending.known_cost_usd))
    metrics.flush_metrics()
    # The total of all chains and models too: an alarm can't sum over dimensions whose values it does not know.
    total = EphemeralMetrics(service="all")
    total.add_metric(name="CostUSD", unit=MetricUnit.NoUnit, value=float(spending.known_cost_usd))
    total.flush_metrics()


OutcomeMeter = Callable[[Outcome], None]
"""Told of each run that ended its job, or put it off after a fault."""


def count_outcome(outcome: Outcome) -> None:
    """Counts how a run of a job ended: by status, a failed one by its type, and a fault by whose it is."""
    if outcome.status:
        _count("EndedJobs", status=outcome.status.value)
    if outcome.error_type:
        _count("FailedJobs", type=outcome.error_type)
    if outcome.fault:
        _count("Faults", fault=outcome.fault.value)
    if outcome.status is Status.COMPLETED or outcome.fault is Fault.SERVICE:
        # Both numbers in one metric: an alarm on a share finds no zero in a metric that is not sent.
        _count("ServiceFaults", int(outcome.fault is Fault.SERVICE))


def count_failed_records(version: str, failed: int) -> None:
    """Counts the messages of a batch that SQS has to deliver again, by the version of the function that failed."""
    metrics = EphemeralMetrics()
    metrics.add_dimension(name="version", value=version)
    metrics.add_metric(name="FailedRecords", unit=MetricUnit.Count, value=failed)
    metrics.flush_metrics()


def count_deliveries(ending: str, count: int) -> None:
    """Counts deliveries of webhooks by how their messages ended, such as `delivered`, `failed` or `dead`."""
    _count("Deliveries", count, ending=ending)


def _count(metric: str, count: int = 1, **dimension: str) -> None:
    metrics = EphemeralMetrics(service="all")
    for name, value in dimension.items():
        metrics.add_dimension(name=name, value=value)
    metrics.add_metric(name=metric, unit=MetricUnit.Count, value=count)
    metrics.flush_metrics()


def count_model(check: ModelCheck, days_left: int | None) -> None:
    """Counts the days that the model has left as a CloudWatch metric: 0 if it is unknown, none if no end is known."""
    left = days_left if check.known else 0
    if left is None:
        return
    metrics = EphemeralMetrics()
    metrics.add_dimension(name="model", value=check.model)
    metrics.add_metric(name="ModelDaysLeft", unit=MetricUnit.Count, value=left)
    metrics.flush_metrics()


def count_breaker(breaker: OpenBreaker) -> None:
    """Counts that a breaker opened, or that a probe found it still open; both workers count under one name."""
    metrics = EphemeralMetrics(service="all")
    metrics.add_metric(name="BreakerOpened", unit=MetricUnit.Count, value=1)
    metrics.add_metadata(key="type", value=breaker.type)
    metrics.add_metadata(key="scope", value=str(breaker.scope))
    metrics.flush_metrics()
