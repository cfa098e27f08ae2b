"""What a run would be billed: US dollars by service, without free tiers."""

from dataclasses import dataclass

from benchmarks.simulation.arrivals import DAY
from benchmarks.simulation.inputs import Inputs
from benchmarks.simulation.setup import Outcome

SERVICES = ("Lambda", "DynamoDB", "API Gateway", "SQS", "CloudWatch", "X-Ray", "Secrets Manager", "the model")
MODEL = SERVICES[-1]

_MONTH_DAYS = 30
_MB_A_GB = 1024

# Of the template: two queues with a worker each, a sweep a minute, and what stands all month.
_QUEUES = 2
_SWEEPS_A_DAY = 1440
_SWEEP_GB_SECONDS = 0.5 * 0.1
_SHARDS = 20
_METRICS_A_CHAIN = 10
_METRICS_OF_COMPLETED_JOBS = 3  # of all chains together: their number, their faults, and their cost
_METRICS_OF_THE_MODEL = 60 / 730  # of a month's hours, those in which it is sent
_METRICS_OF_ALARMS = 18
# X-Ray's default rule: https://docs.aws.amazon.com/xray/latest/devguide/xray-console-sampling.html
_TRACED_SHARE = 0.05
_TRACED_A_SECOND = 1
_LOGS_KEPT_SHARE = 0.15  # what compression leaves: https://aws.amazon.com/cloudwatch/pricing/, in its examples


@dataclass(frozen=True, slots=True)
class Bill:
    """US dollars by service."""

    by_service: dict[str, float]

    @property
    def aws(self) -> float:
        """All but the model."""
        return sum(dollars for service, dollars in self.by_service.items() if service != MODEL)

    @property
    def total(self) -> float:
        return sum(self.by_service.values())


def bill(outcome: Outcome, inputs: Inputs, *, memory_mb: float, batched_posts: int = 1) -> Bill:
    """What the jobs of a run cost; `fixed` comes on top of it each month. `batched_posts` jobs come in one request."""
    price = {name.removeprefix("price."): number.value for name, number in inputs.numbers.items() if "price." in name}
    jobs, requests = outcome.jobs, outcome.jobs / batched_posts + outcome.jobs * inputs["work.gets"]
    worker = outcome.billed * memory_mb / _MB_A_GB
    api = requests * inputs["function.api_seconds"] * inputs["function.api_memory"] / _MB_A_GB
    steps = outcome.completed * inputs["work.steps"]
    writes = (
        jobs * inputs["table.create_writes"]
        + (outcome.received - outcome.sent_back) * inputs["table.claim_writes"]
        + steps * inputs["table.step_writes"]
        + outcome.completed * inputs["table.finish_writes"]
        + outcome.refused * inputs["table.release_writes"]
    )
    reads = outcome.received * inputs["table.job_reads"] + jobs * inputs["work.gets"] * inputs["table.get_reads"]
    # Sends, then a receive and a deletion of each batch.
    messages = jobs / min(batched_posts, 10) + outcome.sends_again + outcome.sent_back + 2 * outcome.invocations
    stored = jobs * inputs["work.job_kilobytes"] / 1e6
    logged = (
        jobs * inputs["work.job_log_kilobytes"]
        + requests * inputs["work.request_log_kilobytes"]
        + (outcome.invocations + requests) * inputs["work.invocation_log_kilobytes"]
    ) / 1e6
    seconds = max(outcome.ended_at, 1.0)
    traces = min(requests, seconds * _TRACED_A_SECOND + max(0.0, requests - seconds * _TRACED_A_SECOND) * _TRACED_SHARE)
    answered = (outcome.calls - outcome.refused) / inputs["work.steps"]  # in jobs' worth of calls
    return Bill(
        {
            "Lambda": (worker + api) * price["lambda_gb_second"]
            + (outcome.invocations + requests) * price["lambda_request"],
            "DynamoDB": writes * price["table_write"]
            + reads * price["table_read"]
            + stored * (price["table_gb_month"] + price["backup_gb_month"]),
            "API Gateway": requests * price["gateway_request"],
            "SQS": messages * price["sqs_request"],
            "CloudWatch": logged * (price["logs_gb"] + _LOGS_KEPT_SHARE * price["logs_gb_month"]),
            "X-Ray": traces * price["trace"],
            "Secrets Manager": 0.0,
            MODEL: answered
            * (
                inputs["work.input_tokens"] * price["model_input"]
                + inputs["work.output_tokens"] * price["model_output"]
            ),
        }
    )


def fixed(inputs: Inputs, chains: int = 1) -> Bill:
    """What a stack costs in a month beside its jobs; `chains` complete jobs in it, each with one model."""
    price = {name.removeprefix("price."): number.value for name, number in inputs.numbers.items() if "price." in name}
    polls = _QUEUES * inputs["limit.pollers_first"] * DAY / inputs["limit.poll_seconds"] * _MONTH_DAYS
    sweeps = _SWEEPS_A_DAY * _MONTH_DAYS
    return Bill(
        {
            "Lambda": sweeps * (price["lambda_request"] + _SWEEP_GB_SECONDS * price["lambda_gb_second"]),
            # Each shard is read to its end: half a unit where nothing is due. And each sweep notes that it ran.
            "DynamoDB": sweeps * (_SHARDS * 0.5 * price["table_read"] + price["table_write"]),
            "API Gateway": 0.0,
            "SQS": (polls + sweeps) * price["sqs_request"],
            "CloudWatch": (
                chains * _METRICS_A_CHAIN + (_METRICS_OF_COMPLETED_JOBS if chains else 0) + _METRICS_OF_THE_MODEL
            )
            * price["metric_month"]
            + _METRICS_OF_ALARMS * price["alarm_month"]
            + sweeps * 1e-6 * price["logs_gb"],
            "X-Ray": 0.0,
            "Secrets Manager": price["secret_month"],
            MODEL: 0.0,
        }
    )
