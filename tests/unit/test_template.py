"""template.yaml: what would only show on AWS, such as too wide a permission or too short a timeout."""

import fnmatch
import importlib
import json
from collections.abc import Iterator
from dataclasses import fields
from datetime import date, timedelta
from types import ModuleType
from typing import Any, get_args

import pytest

from jobchain.model_check import WARN_DAYS, ModelCheck
from jobchain_worker.dialects import Api
from tests.conftest import ROOT

Template = dict[str, Any]

RUN_JOBS = {"dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem"}
ALLOWED_ACTIONS = {
    "ApiFunction": {
        *RUN_JOBS,
        *("dynamodb:BatchGetItem", "dynamodb:DeleteItem", "sqs:SendMessage", "sqs:GetQueueAttributes"),
    },
    "FlexWorkerFunction": {*RUN_JOBS, "sqs:SendMessage", "secretsmanager:GetSecretValue"},
    "SweeperFunction": {"dynamodb:Query", "dynamodb:UpdateItem", "sqs:SendMessage"},
    "WorkerFunction": {*RUN_JOBS, "sqs:SendMessage", "secretsmanager:GetSecretValue"},
    "WebFunction": set(),
}
FUNCTIONS = sorted(ALLOWED_ACTIONS)
SETTINGS = {
    "ApiFunction": "ApiSettings",
    "FlexWorkerFunction": "WorkerSettings",
    "SweeperFunction": "SweeperSettings",
    "WorkerFunction": "WorkerSettings",
}
# Values of variables that take not any.
CHOICES = {"AUTH_MODE": "api_key", "OPENAI_API": "chat"}
# What the libraries read themselves.
LIBRARIES = ("LOG_LEVEL", "POWERTOOLS_*")


def properties(template: Template, name: str) -> dict[str, Any]:
    """A resource's properties; a function's with those that all functions share."""
    found: dict[str, Any] = template["Resources"][name]["Properties"]
    return {**template["Globals"]["Function"], **found} if name in FUNCTIONS else found


def of_type(template: Template, type_: str) -> dict[str, dict[str, Any]]:
    return {name: found for name, found in template["Resources"].items() if found["Type"] == type_}


def many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statements(template: Template, function: str) -> Iterator[dict[str, Any]]:
    for policy in properties(template, function).get("Policies", []):
        yield from policy["Statement"]


def ours(template: Template, function: str) -> set[str]:
    """The variables that the function is given and our code reads."""
    shared = template["Globals"]["Function"]["Environment"]["Variables"]
    own = properties(template, function)["Environment"]["Variables"]
    return {name for name in (*shared, *own) if not any(fnmatch.fnmatchcase(name, of) for of in LIBRARIES)}


@pytest.fixture
def handlers(template: Template, monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    """Each function's handler module, with the variables that the template gives it."""
    for name in {name for function in FUNCTIONS for name in ours(template, function)}:
        monkeypatch.setenv(name, CHOICES.get(name, "1"))
    modules = {name: properties(template, name)["Handler"].rpartition(".")[0] for name in FUNCTIONS}
    return {name: importlib.import_module(module) for name, module in modules.items()}


def test_every_function_is_looked_at_here(template: Template) -> None:
    assert sorted(of_type(template, "AWS::Serverless::Function")) == FUNCTIONS


def test_every_parameter_says_what_it_is_and_has_a_default(template: Template) -> None:
    for name, parameter in template["Parameters"].items():
        assert parameter["Description"].endswith("."), name
        assert "Default" in parameter, name


class TestTheQueue:
    def test_hides_a_message_for_six_times_the_workers_timeout(self, template: Template) -> None:
        timeouts = template["Parameters"]["WorkerTimeoutSeconds"]["AllowedValues"]
        following = template["Mappings"]["ByWorkerTimeout"]

        assert properties(template, "WorkerFunction")["Timeout"] == {"Ref": "WorkerTimeoutSeconds"}
        assert properties(template, "JobQueue")["VisibilityTimeout"] == {
            "Fn::FindInMap": ["ByWorkerTimeout", {"Ref": "WorkerTimeoutSeconds"}, "Visibility"]
        }
        assert {name: values["Visibility"] for name, values in following.items()} == {
            str(timeout): 6 * timeout for timeout in timeouts
        }

    def test_gives_a_message_some_tries_before_it_is_dead(self, template: Template) -> None:
        redrive = properties(template, "JobQueue")["RedrivePolicy"]

        assert redrive["maxReceiveCount"] >= 3
        assert redrive["deadLetterTargetArn"] == {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}

    def test_keeps_dead_letters_as_long_as_can_be(self, template: Template) -> None:
        fortnight = timedelta(days=14).total_seconds()

        assert properties(template, "DeadLetterQueue")["MessageRetentionPeriod"] == fortnight

    def test_is_encrypted_and_so_are_its_dead_letters(self, template: Template) -> None:
        for name in of_type(template, "AWS::SQS::Queue"):
            assert properties(template, name)["SqsManagedSseEnabled"] is True

    def test_feeds_the_worker_in_batches_whose_records_fail_one_by_one(self, template: Template) -> None:
        source = properties(template, "WorkerFunction")["Events"]["Jobs"]

        assert source["Type"] == "SQS"
        assert source["Properties"]["Queue"] == {"Fn::GetAtt": ["JobQueue", "Arn"]}
        assert source["Properties"]["BatchSize"] == {"Ref": "BatchSize"}
        # Larger batches need a batching window, for which every job would wait:
        # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
        assert template["Parameters"]["BatchSize"]["MaxValue"] == 10
        assert source["Properties"]["FunctionResponseTypes"] == ["ReportBatchItemFailures"]

    def test_feeds_no_more_workers_than_the_parameter_allows(self, template: Template) -> None:
        source = properties(template, "WorkerFunction")["Events"]["Jobs"]

        assert source["Properties"]["ScalingConfig"] == {"MaximumConcurrency": {"Ref": "WorkerConcurrency"}}
        # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html
        parameter = template["Parameters"]["WorkerConcurrency"]
        assert (parameter["MinValue"], parameter["MaxValue"]) == (2, 1000)


class TestTheTable:
    def test_has_the_keys_and_the_indexes_that_the_repository_asks_for(self, template: Template) -> None:
        table = properties(template, "JobTable")
        keys = {"table": keys_of(table)}
        keys |= {index["IndexName"]: keys_of(index) for index in table["GlobalSecondaryIndexes"]}

        assert keys == {
            "table": ["pk", "sk"],
            "recent": ["tenant", "created_at_id"],
            "due": ["due_shard", "due_at"],
            "unfinished": ["tenant", "due_at"],
        }

    def test_defines_the_keys_attributes_and_no_others(self, template: Template) -> None:
        table = properties(template, "JobTable")
        used = {key for part in (table, *table["GlobalSecondaryIndexes"]) for key in keys_of(part)}

        assert {attribute["AttributeName"] for attribute in table["AttributeDefinitions"]} == used

    def test_erases_what_has_expired(self, template: Template) -> None:
        expected = {"AttributeName": "expires_at", "Enabled": True}

        assert properties(template, "JobTable")["TimeToLiveSpecification"] == expected

    def test_can_be_put_back_to_an_earlier_time(self, template: Template) -> None:
        table = properties(template, "JobTable")

        assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}

    def test_is_encrypted(self, template: Template) -> None:
        assert properties(template, "JobTable")["SSESpecification"] == {"SSEEnabled": True}

    def test_outlives_its_stack(self, template: Template) -> None:
        table = template["Resources"]["JobTable"]

        assert (table["DeletionPolicy"], table["UpdateReplacePolicy"]) == ("Retain", "Retain")


def keys_of(table: dict[str, Any]) -> list[str]:
    """The hash key and the range key of a table or an index."""
    keys = {key["KeyType"]: key["AttributeName"] for key in table["KeySchema"]}
    return [keys["HASH"], keys["RANGE"]]


@pytest.mark.parametrize("function", FUNCTIONS)
class TestAFunction:
    def test_may_do_what_its_code_does_and_nothing_more(self, template: Template, function: str) -> None:
        granted = {action for s in statements(template, function) for action in many(s["Action"])}

        assert granted == ALLOWED_ACTIONS[function]

    def test_may_do_it_to_one_table_one_queue_and_one_secret(self, template: Template, function: str) -> None:
        allowed = (
            {"Fn::GetAtt": ["JobTable", "Arn"]},
            *({"Fn::Sub": f"${{JobTable.Arn}}/index/{index}"} for index in ("due", "recent", "unfinished")),
            {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]},
            {"Fn::GetAtt": ["FlexQueue", "Arn"]},
            {"Fn::GetAtt": ["JobQueue", "Arn"]},
            # Secrets Manager ends the name in six characters of its own.
            {
                "Fn::Sub": "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}"
                ":secret:${OpenAISecretName}-??????"
            },
        )

        for statement in statements(template, function):
            assert statement["Effect"] == "Allow"
            assert all(resource in allowed for resource in many(statement["Resource"]))

    def test_is_given_the_variables_that_its_settings_read(
        self, template: Template, function: str, handlers: dict[str, ModuleType]
    ) -> None:
        read = fields(getattr(handlers[function], SETTINGS[function])) if function in SETTINGS else ()

        # A key's value never stands in a template.
        assert ours(template, function) == {field.name.upper() for field in read} - {"OPENAI_API_KEY"}

    def test_has_a_handler_where_the_template_says(self, template: Template, function: str) -> None:
        code = ROOT / properties(template, function)["CodeUri"]
        module, _, handler = properties(template, function)["Handler"].rpartition(".")

        assert f"def {handler}(" in code.joinpath(*module.split(".")).with_suffix(".py").read_text()

    def test_has_logs_that_are_not_kept_for_ever(self, template: Template, function: str) -> None:
        groups = [group["Properties"] for group in of_type(template, "AWS::Logs::LogGroup").values()]
        retention = {group["LogGroupName"]["Fn::Sub"]: group["RetentionInDays"] for group in groups}

        assert retention[f"/aws/lambda/${{{function}}}"] == {"Ref": "LogRetentionDays"}

    def test_writes_logs_as_json_and_is_traced(self, template: Template, function: str) -> None:
        assert properties(template, function)["LoggingConfig"]["LogFormat"] == "JSON"
        assert properties(template, function)["Tracing"] == "Active"

    def test_runs_on_the_python_and_the_machine_of_the_layer(self, template: Template, function: str) -> None:
        own, layer = properties(template, function), template["Resources"]["CommonLayer"]

        assert layer["Properties"]["CompatibleRuntimes"] == [own["Runtime"]]
        assert layer["Metadata"]["BuildMethod"] == own["Runtime"]
        assert layer["Properties"]["CompatibleArchitectures"] == own["Architectures"]
        assert own["Layers"] == [{"Ref": "CommonLayer"}]


def test_three_calls_of_the_model_fit_into_any_invocation(template: Template, handlers: dict[str, ModuleType]) -> None:
    reserve = handlers["WorkerFunction"].WRITE_RESERVE / timedelta(seconds=1)

    for timeout, values in template["Mappings"]["ByWorkerTimeout"].items():
        assert 3 * (int(values["ModelCall"]) + reserve) <= int(timeout)


def test_the_sweeper_runs_every_minute(template: Template) -> None:
    (event,) = properties(template, "SweeperFunction")["Events"].values()

    assert (event["Type"], event["Properties"]["Schedule"]) == ("Schedule", "rate(1 minute)")


@pytest.mark.parametrize(
    ("alarm", "metric"),
    [
        ("DeadLetterAlarm", "ApproximateNumberOfMessagesVisible"),
        ("SweeperAlarm", "Errors"),
        ("ModelEndAlarm", "ModelDaysLeft"),
        ("ModelUnknownAlarm", "ModelUnknown"),
    ],
)
def test_what_somebody_must_look_at_raises_an_alarm(template: Template, alarm: str, metric: str) -> None:
    found = properties(template, alarm)

    assert found["MetricName"] == metric
    assert found["AlarmActions"] == {"Fn::If": ["HasAlarmTopic", [{"Ref": "AlarmTopicArn"}], {"Ref": "AWS::NoValue"}]}


@pytest.mark.parametrize("alarm", ["ModelEndAlarm", "ModelUnknownAlarm"])
def test_an_alarm_of_the_model_looks_at_what_the_worker_counts(
    template: Template,
    handlers: dict[str, ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    alarm: str,
) -> None:
    # given what the worker writes for a model with an end
    names = template["Resources"]["WorkerFunction"]["Properties"]["Environment"]["Variables"]
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", names["POWERTOOLS_SERVICE_NAME"])
    shared = template["Globals"]["Function"]["Environment"]["Variables"]
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", shared["POWERTOOLS_METRICS_NAMESPACE"])
    handlers["WorkerFunction"].count_model(ModelCheck("gpt-6-luna", True, date(2027, 1, 1), ""), 40)
    written = json.loads(capsys.readouterr().out)
    (metrics,) = written["_aws"]["CloudWatchMetrics"]

    # then the alarm has the same namespace, name and dimensions
    found = properties(template, alarm)
    assert found["Namespace"] == metrics["Namespace"]
    assert found["MetricName"] in {metric["Name"] for metric in metrics["Metrics"]}
    dimensions = {dimension["Name"]: dimension["Value"] for dimension in found["Dimensions"]}
    assert dimensions == {"model": {"Ref": "OpenAIModel"}, "service": written["service"]}
    assert set(dimensions) == set(metrics["Dimensions"][0])


def test_the_model_is_looked_at_more_often_than_its_alarms_look(template: Template) -> None:
    schedule = properties(template, "WorkerFunction")["Events"]["ModelCheck"]

    assert (schedule["Type"], schedule["Properties"]["Schedule"]) == ("Schedule", "rate(12 hours)")
    assert properties(template, "ModelEndAlarm")["Period"] == timedelta(days=1).total_seconds()
    assert properties(template, "ModelEndAlarm")["Threshold"] == WARN_DAYS


def test_the_worker_takes_every_api_that_the_template_offers(template: Template) -> None:
    assert tuple(template["Parameters"]["OpenAIApi"]["AllowedValues"]) == get_args(Api)


def test_the_api_gives_up_before_the_gateway_does(template: Template) -> None:
    # https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html
    assert properties(template, "ApiFunction")["Timeout"] < 29


def test_every_page_and_what_it_loads_is_served_by_the_web_function(template: Template) -> None:
    routes = {event["Properties"]["Path"] for event in properties(template, "WebFunction")["Events"].values()}
    pages = (ROOT / "functions" / "web" / "jobchain_web" / "static").glob("*.html")

    assert routes == {*(f"/{page.stem}" for page in pages), "/assets/{proxy+}"}


def test_the_layer_has_no_python_folder_which_sam_would_double(template: Template) -> None:
    content = ROOT / properties(template, "CommonLayer")["ContentUri"]

    assert (content / "jobchain" / "__init__.py").is_file()
    assert (content / "requirements.txt").is_file()
    assert not (content / "python").exists()


def test_no_key_of_a_model_stands_in_the_template() -> None:
    text = (ROOT / "template.yaml").read_text()

    assert "OPENAI_API_KEY" not in text
    assert "sk-" not in text
