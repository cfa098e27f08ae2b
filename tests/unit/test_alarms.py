"""The alarms of template.yaml: they see what goes wrong, no caller can page, and an idle stack costs little."""

import json
import math
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from jobchain.aws.items import Due
from jobchain.aws.outbox import SHARDS
from jobchain.aws.queue import MAX_DELAY
from jobchain.breaker import PROBE_EVERY, OpenBreaker, Scope
from jobchain.domain import JobError, WaitReason
from jobchain.metrics import count_breaker, count_failed_records, count_model, count_outcome, count_spending
from jobchain.model_check import WARN_DAYS, ModelCheck
from jobchain.outcomes import COMPLETED, ERROR_TYPES, PUT_OFF, Fault, failed
from jobchain.spending import Spending, Usage
from tests.cloudformation import defaults, evaluated, holds
from tests.conftest import ROOT

Template = dict[str, Any]

NAMESPACE = {"Fn::Sub": "Jobchain/${AWS::StackName}"}
PAGE = {"Fn::If": ["HasAlarmTopic", [{"Ref": "AlarmTopicArn"}], {"Ref": "AWS::NoValue"}]}
TICKET = {"Fn::If": ["HasTicketTopic", [{"Ref": "TicketTopicArn"}], PAGE]}
PAGING = ["BreakerAlarm", "FailingJobsAlarm", "ServerErrorsAlarm", "StuckQueueAlarm", "SweeperSilentAlarm"]
OF_WEBHOOKS = ["OldestWebhookAlarm"]
TICKETS = ["CostAlarm", "DeadLetterAlarm", "ModelEndAlarm", "OldestJobAlarm", "UnclearFailuresAlarm"]
BY_VERSION = [
    "ApiVersionAlarm",
    *("FlexWorkerRecordsAlarm", "FlexWorkerVersionAlarm"),
    *("WorkerRecordsAlarm", "WorkerVersionAlarm"),
]
# What callers bring about by what they post, decide, cancel and delete: see `jobchain.outcomes`.
CALLERS = {
    "approval_rejected",
    *("budget_exceeded", "budget_unknown"),
    *("content_filtered", "model_refused"),
    *("model_forbidden", "model_not_found"),
}
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
OF_ONE_METRIC = {"Namespace", "MetricName", "Dimensions", "Statistic", "Period"}


def alarms(template: Template) -> dict[str, dict[str, Any]]:
    found = template["Resources"].items()
    return {name: part["Properties"] for name, part in found if part["Type"] == "AWS::CloudWatch::Alarm"}


def watched(alarm: dict[str, Any]) -> list[dict[str, Any]]:
    """Each metric that the alarm reads, which is what it is billed by."""
    if "Metrics" not in alarm:
        return [alarm]
    return [entry["MetricStat"]["Metric"] for entry in alarm["Metrics"] if "MetricStat" in entry]


def expression(alarm: dict[str, Any], **values: float) -> Any:
    """The value of an alarm's expression, with these values of its metrics."""
    (text,) = (entry["Expression"] for entry in alarm["Metrics"] if "Expression" in entry)
    # CloudWatch's words, which are Python's but for these: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
    known = {"IF": lambda condition, this, other: this if condition else other, "MAX": max}
    return eval(text, {"__builtins__": {}}, {**known, **values})  # of the template


def rings(alarm: dict[str, Any], value: float) -> bool:
    if alarm["ComparisonOperator"] == "LessThanThreshold":
        return bool(value < alarm["Threshold"])
    assert alarm["ComparisonOperator"] == "GreaterThanThreshold"
    return bool(value > alarm["Threshold"])


class Metrics:
    """The metrics that functions wrote: each of its values, by its name and its dimensions."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._lines: list[dict[str, Any]] = []

    def of(self, metric: dict[str, Any]) -> list[float]:
        """The values of the metric that an alarm watches."""
        self._lines += [json.loads(line) for line in self._capsys.readouterr().out.splitlines()]
        wanted = {dimension["Name"]: dimension["Value"] for dimension in metric["Dimensions"]}
        assert metric["Namespace"] == NAMESPACE
        return [
            value
            for line in self._lines
            for written in line["_aws"]["CloudWatchMetrics"]
            for name in (entry["Name"] for entry in written["Metrics"])
            for dimensions in written["Dimensions"]
            if name == metric["MetricName"] and {one: line[one] for one in dimensions} == wanted
            for value in line[name]
        ]


@pytest.fixture
def metrics(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Metrics:
    """Those of a worker."""
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "a stack's")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "worker")
    return Metrics(capsys)


class TestTheAlarms:
    def test_are_ten_and_those_by_version_and_one_of_deployments_that_send_webhooks(self, template: Template) -> None:
        assert sorted(alarms(template)) == sorted([*PAGING, *TICKETS, *BY_VERSION, *OF_WEBHOOKS])
        assert template["Resources"]["OldestWebhookAlarm"]["Condition"] == "HasWebhooks"
        assert len(PAGING) + len(TICKETS) <= 10

    def test_go_to_the_pager_or_to_the_tickets_and_say_so_first(self, template: Template) -> None:
        for name, alarm in alarms(template).items():
            pages = name in PAGING
            assert alarm["AlarmActions"] == (PAGE if pages else TICKET), name
            assert alarm["AlarmDescription"].startswith("Page: " if pages else "Ticket: "), name

    def test_say_what_they_mean_and_where_the_runbook_says_what_to_type(self, template: Template) -> None:
        for name, alarm in alarms(template).items():
            title = re.sub(r"(?<!^)([A-Z])", r"-\1", name.removesuffix("Alarm")).lower()
            assert alarm["AlarmDescription"].endswith(f". Runbook: docs/how-to/runbook.md#{title}"), name
            # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
            assert len(alarm["AlarmDescription"]) <= 1024, name
        assert len({alarm["AlarmDescription"] for alarm in alarms(template).values()}) == len(alarms(template))

    def test_take_no_data_for_no_trouble_but_for_the_sweepers(self, template: Template) -> None:
        silent = {name for name, alarm in alarms(template).items() if alarm["TreatMissingData"] != "notBreaching"}

        assert silent == {"SweeperSilentAlarm"}
        assert alarms(template)["SweeperSilentAlarm"]["TreatMissingData"] == "breaching"

    def test_do_not_watch_the_same_twice(self, template: Template) -> None:
        """Properties that are shared by merging are easily left as they were."""
        seen = [
            json.dumps([(metric["Namespace"], metric["MetricName"], metric["Dimensions"]) for metric in watched(alarm)])
            for alarm in alarms(template).values()
        ]

        assert len(set(seen)) == len(seen)

    def test_have_an_expression_or_a_metric_and_no_mixture(self, template: Template) -> None:
        # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
        for name, alarm in alarms(template).items():
            assert OF_ONE_METRIC & alarm.keys() == (set() if "Metrics" in alarm else OF_ONE_METRIC), name
            if "Metrics" in alarm:
                assert [entry.get("ReturnData", True) for entry in alarm["Metrics"]].count(True) == 1, name
            periods = [entry["MetricStat"]["Period"] for entry in alarm.get("Metrics", []) if "MetricStat" in entry]
            period = max(periods, default=alarm.get("Period"))
            assert period * alarm["EvaluationPeriods"] <= timedelta(days=1).total_seconds(), name


class TestFailingJobs:
    def share(self, template: Template, metrics: Metrics) -> bool:
        alarm = alarms(template)["FailingJobsAlarm"]
        values = metrics.of(watched(alarm)[0])
        return rings(alarm, expression(alarm, faults=sum(values), runs=len(values))) if values else False

    def test_page_where_most_runs_meet_a_fault_of_the_service(self, template: Template, metrics: Metrics) -> None:
        for outcome in [PUT_OFF] * 4 + [failed(JobError("model_request_refused", ""))] * 2 + [COMPLETED] * 5:
            count_outcome(outcome)

        assert self.share(template, metrics)

    def test_page_where_no_job_completes_at_all(self, template: Template, metrics: Metrics) -> None:
        for _ in range(5):
            count_outcome(failed(JobError("deadline_exceeded", ""), WaitReason.RETRY))

        assert self.share(template, metrics)

    @pytest.mark.parametrize(("faults", "completed"), [(4, 0), (5, 5), (50, 60)])
    def test_page_nobody_where_they_are_few_or_the_fewer(
        self, template: Template, metrics: Metrics, faults: int, completed: int
    ) -> None:
        for outcome in [PUT_OFF] * faults + [COMPLETED] * completed:
            count_outcome(outcome)

        assert not self.share(template, metrics)

    @pytest.mark.parametrize("type_", sorted(CALLERS))
    def test_page_nobody_and_open_no_ticket_for_faults_of_callers(
        self, template: Template, metrics: Metrics, type_: str
    ) -> None:
        for _ in range(100):
            count_outcome(failed(JobError(type_, "")))

        assert not self.share(template, metrics)
        assert metrics.of(alarms(template)["UnclearFailuresAlarm"]) == []

    @pytest.mark.parametrize("waited", [None, *WaitReason])
    def test_page_nobody_for_deadlines_that_callers_set(
        self, template: Template, metrics: Metrics, waited: WaitReason | None
    ) -> None:
        for _ in range(100):
            count_outcome(failed(JobError("deadline_exceeded", ""), waited, own_deadline=True))

        assert not self.share(template, metrics)
        assert metrics.of(alarms(template)["UnclearFailuresAlarm"]) == []

    def test_are_seen_by_an_alarm_whatever_their_type_if_they_are_no_callers_fault(
        self, template: Template, metrics: Metrics
    ) -> None:
        for type_ in sorted({*ERROR_TYPES, "a new one"} - CALLERS):
            fault = failed(JobError(type_, "")).fault
            assert fault in (Fault.SERVICE, Fault.UNCLEAR), type_

    def test_open_a_ticket_for_what_texts_can_bring_about(self, template: Template, metrics: Metrics) -> None:
        for _ in range(10):
            count_outcome(failed(JobError("unusable_answer", "")))

        alarm = alarms(template)["UnclearFailuresAlarm"]
        assert rings(alarm, sum(metrics.of(alarm)))
        assert not rings(alarm, 9)
        assert not self.share(template, metrics)


def test_a_stuck_queue_pages_where_jobs_wait_and_none_is_worked_off(template: Template) -> None:
    alarm = alarms(template)["StuckQueueAlarm"]

    assert rings(alarm, expression(alarm, waiting=1, finished=0))
    assert not rings(alarm, expression(alarm, waiting=100_000, finished=1)), "a flood that is worked off"
    assert not rings(alarm, expression(alarm, waiting=0, finished=0))
    waiting, finished = alarm["Metrics"][1]["MetricStat"], alarm["Metrics"][2]["MetricStat"]
    assert (waiting["Stat"], finished["Stat"]) == ("Minimum", "Sum")
    # No invocation of a worker lasts as long.
    assert (
        waiting["Period"]
        == finished["Period"]
        >= 2 * max(template["Parameters"]["WorkerTimeoutSeconds"]["AllowedValues"])
    )


def test_the_sweeper_is_silent_where_all_sweeps_fail_or_there_is_none(template: Template) -> None:
    alarm = alarms(template)["SweeperSilentAlarm"]

    assert (alarm["Namespace"], alarm["MetricName"], alarm["Statistic"]) == ("AWS/Lambda", "Errors", "Minimum")
    assert alarm["Dimensions"] == [{"Name": "FunctionName", "Value": {"Ref": "SweeperFunction"}}]
    assert rings(alarm, min([1, 1, 1]))
    assert not rings(alarm, min([1, 0, 1]))


def test_server_errors_page_by_their_share_and_not_by_their_number(template: Template) -> None:
    alarm = alarms(template)["ServerErrorsAlarm"]

    assert (alarm["MetricName"], alarm["Statistic"]) == ("5XXError", "Average")
    assert alarm["DatapointsToAlarm"] == alarm["EvaluationPeriods"] == 3
    # A caller who meets a limit of the table with each of its own requests gets 503 for a fifth of them.
    assert not rings(alarm, 0.22)
    assert rings(alarm, 0.9)


def test_the_oldest_job_is_that_of_both_queues(template: Template) -> None:
    alarm = alarms(template)["OldestJobAlarm"]
    hour = 3600

    assert rings(alarm, expression(alarm, standard=hour + 1, flex=0))
    assert rings(alarm, expression(alarm, standard=0, flex=6 * hour + 6))
    assert not rings(alarm, expression(alarm, standard=hour, flex=6 * hour))


def test_the_oldest_webhook_is_older_than_a_try_can_be_put_off(template: Template) -> None:
    alarm = alarms(template)["OldestWebhookAlarm"]

    assert alarm["Dimensions"] == [{"Name": "QueueName", "Value": {"Fn::GetAtt": ["WebhookQueue", "QueueName"]}}]
    assert rings(alarm, 1801)
    assert not rings(alarm, 2 * MAX_DELAY.total_seconds())
    # A message is dropped after an hour: by then it has rung.
    kept = template["Resources"]["WebhookQueue"]["Properties"]["MessageRetentionPeriod"]
    assert alarm["Threshold"] + alarm["Period"] < kept


def test_the_alarm_of_costs_looks_at_all_spending_that_a_worker_counts(template: Template, metrics: Metrics) -> None:
    # given what the worker writes for calls of two chains, of which one failed
    for chain, retries in (("one", 0), ("other", 1)):
        count_spending(chain, "gpt", Spending(Usage(), Decimal("0.25"), calls=1, retries=retries))

    # then each has its cost under the one name that the alarm adds up
    alarm = alarms(template)["CostAlarm"]
    assert metrics.of(alarm) == [0.25, 0.25]
    assert alarm["Threshold"] == {"Ref": "CostAlarmUsdPerDay"}
    assert (alarm["Statistic"], alarm["Period"]) == ("Sum", timedelta(days=1).total_seconds())


def test_the_alarm_of_breakers_rings_in_the_minute_of_the_first_one_that_a_worker_counts(
    template: Template, monkeypatch: pytest.MonkeyPatch, metrics: Metrics
) -> None:
    # given what both workers write for a breaker
    now = datetime(2026, 11, 29, tzinfo=UTC)
    for service in ("worker", "flex-worker"):
        monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", service)
        count_breaker(OpenBreaker("model_unauthorized", Scope.KEY, now, now, now, now))

    # then the alarm sees them
    alarm = alarms(template)["BreakerAlarm"]
    assert metrics.of(alarm) == [1, 1]

    # and it rings at once, and until there has been no failed probe for longer than the time between two of them
    assert (alarm["Statistic"], alarm["Period"], alarm["Threshold"]) == ("Sum", 60, 0)
    assert alarm["DatapointsToAlarm"] == 1
    assert alarm["Period"] * alarm["EvaluationPeriods"] > 2 * PROBE_EVERY.total_seconds()


@pytest.mark.parametrize(
    ("check", "left", "ringing"),
    [
        (ModelCheck("gpt-6-luna", True, date(2027, 1, 1), ""), 40, True),
        (ModelCheck("gpt-6-luna", True, date(2027, 6, 1), ""), 200, False),
        (ModelCheck("gpt-6-luna", False, None, ""), None, True),
    ],
)
def test_the_alarm_of_the_model_sees_its_end_and_that_there_is_none(
    template: Template, metrics: Metrics, check: ModelCheck, left: int | None, ringing: bool
) -> None:
    count_model(check, left)

    alarm = alarms(template)["ModelEndAlarm"]
    assert alarm["Dimensions"][0] == {"Name": "model", "Value": {"Ref": "OpenAIModel"}}
    (found,) = metrics.of({**alarm, "Dimensions": [{"Name": "model", "Value": "gpt-6-luna"}, alarm["Dimensions"][1]]})
    assert rings(alarm, found) is ringing
    assert (alarm["Statistic"], alarm["Threshold"]) == ("Minimum", WARN_DAYS)


@pytest.mark.parametrize(
    ("name", "function", "service"),
    [
        ("WorkerRecordsAlarm", "WorkerFunction", "worker"),
        ("FlexWorkerRecordsAlarm", "FlexWorkerFunction", "flex-worker"),
    ],
)
def test_failed_messages_ring_for_the_version_that_failed(
    template: Template, monkeypatch: pytest.MonkeyPatch, metrics: Metrics, name: str, function: str, service: str
) -> None:
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", service)
    count_failed_records("12", 3)

    alarm = alarms(template)[name]
    of_service, of_version = alarm["Dimensions"]
    assert of_version == {"Name": "version", "Value": {"Fn::GetAtt": [function, "Version.Version"]}}
    assert metrics.of({**alarm, "Dimensions": [of_service, {"Name": "version", "Value": "12"}]}) == [3]
    assert rings(alarm, 1)
    preference = template["Resources"][function]["Properties"]["DeploymentPreference"]
    assert {"Ref": name} in preference["Alarms"]


# US dollars in us-east-1, as read on 2026-11-22: see docs/reference/operations.md.
ALARM, SECRET, METRIC_HOUR = Decimal("0.10"), Decimal("0.40"), Decimal("0.30") / 730
MILLION = 1_000_000
SQS_REQUEST, INVOCATION = Decimal("0.40") / MILLION, Decimal("0.20") / MILLION
READ, WRITE = Decimal("0.125") / MILLION, Decimal("0.625") / MILLION
GB_SECOND, LOG_BYTE = Decimal("0.0000133334"), Decimal("0.50") / 10**9
# https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html: five pollers, each of which waits for 20 s.
POLLS_A_MINUTE = 5 * 3
MINUTES = 30 * 24 * 60
# Measured in the embedded stack, rounded up: a sweep without jobs, and its lines in the log.
SWEEP_SECONDS, SWEEP_LOG_BYTES = Decimal("0.1"), 1000


def idle_costs(template: Template, **changed: str) -> Iterator[tuple[str, Decimal]]:
    """What a month of a stack costs that runs no job, part by part, without free tiers.

    Its parameters are the defaults, but for those that are `changed`.
    """
    parameters = {**defaults(template), **changed}
    resources = {
        name: part
        for name, part in template["Resources"].items()
        if "Condition" not in part or holds({"Condition": part["Condition"]}, template, parameters)
    }
    alarmed_by = alarms({"Resources": resources})
    functions = [part["Properties"] for part in resources.values() if part["Type"] == "AWS::Serverless::Function"]
    events = [event for function in functions for event in function.get("Events", {}).values()]
    alarmed = sum(len(watched(alarm)) for alarm in alarmed_by.values())
    yield f"{alarmed} metrics in {len(alarmed_by)} alarms", alarmed * ALARM
    sources = sum(
        event["Type"] == "SQS" and evaluated(event["Properties"].get("Enabled", True), template, parameters)
        for event in events
    )
    # Each sweep asks for the depth of one queue too.
    yield "queues: Lambda's polling", (sources * POLLS_A_MINUTE + 1) * MINUTES * SQS_REQUEST
    yield "secret", sum(part["Type"] == "AWS::SecretsManager::ResourcePolicy" for part in resources.values()) * SECRET
    schedules = {event["Properties"]["Schedule"] for event in events if event["Type"] == "Schedule"}
    assert schedules == {"rate(1 minute)", "rate(12 hours)"}
    memory = Decimal(resources["SweeperFunction"]["Properties"]["MemorySize"]) / 1024
    assert resources["SweeperFunction"]["Properties"]["Tracing"] == "PassThrough", "a trace a minute is $0.22"
    shards = sum(len(due.value) for due in Due) + len(SHARDS)
    yield (
        "sweeper: a run, the reads of its shards, and a write each minute",
        MINUTES * (INVOCATION + SWEEP_SECONDS * memory * GB_SECOND + shards * READ / 2 + WRITE),
    )
    yield "logs", MINUTES * SWEEP_LOG_BYTES * LOG_BYTE
    # Billed by the hours in which it is sent: twice a day, at most.
    yield "the metric `ModelDaysLeft`", 60 * METRIC_HOUR


class TestAnIdleStack:
    def test_costs_less_than_three_dollars_a_month(self, template: Template) -> None:
        assert sum(cost for _, cost in idle_costs(template)) < 3

    def test_costs_what_the_documentation_says(self, template: Template) -> None:
        page = (ROOT / "docs" / "reference" / "operations.md").read_text()
        costs = list(idle_costs(template))

        for name, cost in costs:
            assert f"| {name} | {cost:.2f} |" in page
        total = sum(cost for _, cost in costs)
        assert f"| **idle** | **{total:.2f}** |" in page

    def test_costs_with_webhooks_what_their_parameter_says(self, template: Template) -> None:
        without, with_them = (sum(cost for _, cost in idle_costs(template, Webhooks=value)) for value in ("off", "on"))

        cents = round((with_them - without) * 100)
        assert f"costs {cents} cents a month more" in template["Parameters"]["Webhooks"]["Description"]
        for page in ("how-to/deploy.md", "explanation/webhooks.md"):
            assert f" {cents} cents a month" in (ROOT / "docs" / page).read_text()

    def test_sends_no_metric_that_is_billed_all_month(self, template: Template) -> None:
        sweeper = (ROOT / "functions" / "sweeper" / "jobchain_sweeper" / "handler.py").read_text()

        assert "log_metrics" not in sweeper
        assert math.isclose(float(METRIC_HOUR * 730), 0.3)
