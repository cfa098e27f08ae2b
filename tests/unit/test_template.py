"""template.yaml: what would only show on AWS, such as too wide a permission or too short a timeout."""

import copy
import fnmatch
import importlib
import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from datetime import timedelta
from types import ModuleType
from typing import Any, get_args

import pytest

from benchmarks import cold_start
from benchmarks.cold_start import BUDGETS
from jobchain.connection import UnusableSetting, checked_model_url
from jobchain.providers import Provider
from jobchain.settings import load_settings
from jobchain_worker.dialects import Api
from local import sam_template
from local.emulator_clients import Clients
from tests.cloudformation import defaults, evaluated, holds
from tests.conftest import ROOT

Template = dict[str, Any]

RUN_JOBS = {"dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem"}
# A tenant's usage is read for its daily budget.
# The events of a job are written with its end. AWS may ask for the right to update them, as the end is an update.
WRITE_EVENTS = {"dynamodb:PutItem", "dynamodb:UpdateItem"}
ADD_USAGE = {"dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem"}
# A fork is stored if the job is there that it was made of.
FORK = {"dynamodb:ConditionCheckItem"}
# Of breakers and paces, of which one look reads several items.
KEEP_WAITS = {"dynamodb:BatchGetItem", "dynamodb:UpdateItem"}
KEEP_VERSIONS = {"dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:PutItem"}
READ_WAITS = {"dynamodb:BatchGetItem"}
QUEUES = {"sqs:SendMessage", "sqs:GetQueueAttributes"}
ALLOWED_ACTIONS = {
    "ApiFunction": {
        *RUN_JOBS,
        *FORK,
        *("dynamodb:BatchGetItem", "dynamodb:BatchWriteItem", "dynamodb:DeleteItem"),
        *QUEUES,
    },
    "FlexWorkerFunction": {*RUN_JOBS, *KEEP_WAITS, *QUEUES, "secretsmanager:GetSecretValue"},
    "SweeperFunction": {
        *(f"dynamodb:{action}" for action in ("BatchGetItem", "PutItem", "Query", "Scan", "UpdateItem")),
        *QUEUES,
    },
    "WorkerFunction": {*RUN_JOBS, *KEEP_WAITS, *QUEUES, "secretsmanager:GetSecretValue"},
    "WebFunction": set(),
    "WebhookFunction": {"dynamodb:GetItem", "dynamodb:Query", "dynamodb:UpdateItem", "sqs:SendMessage"},
}
FUNCTIONS = sorted(ALLOWED_ACTIONS)
# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Projection.html
MOST_PROJECTED = 20
INVOKE = {"bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream"}
BEDROCK_ACTIONS = {
    "FlexWorkerFunction": INVOKE,
    "WorkerFunction": {*INVOKE, "bedrock:GetFoundationModel", "bedrock:GetInferenceProfile"},
}
# Models are in no account, and an inference profile leads to those of several regions.
MODELS = {
    "*::foundation-model/*",
    "*:${AWS::AccountId}:inference-profile/*",
    "*:${AWS::AccountId}:project/default",
}
# Of deployments: these have no versions themselves.
HOOKS = {"ApiHookFunction": ["ApiFunction"], "WorkerHookFunction": ["WorkerFunction", "FlexWorkerFunction"]}
# What each may do to the items of which partition keys.
ITEMS = {
    "ApiFunction": {
        "JOB#*": {*RUN_JOBS, *FORK, "dynamodb:BatchGetItem", "dynamodb:BatchWriteItem", "dynamodb:DeleteItem"},
        "TENANT#*": {*ADD_USAGE, *FORK},
        "WEBHOOKS#*": {"dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:Query", *WRITE_EVENTS},
        "WEBHOOK_SECRET#*": {"dynamodb:DeleteItem", *WRITE_EVENTS},
        "KEY#*": {"dynamodb:GetItem"},
        "MODEL": {"dynamodb:GetItem"},
        "SWEEP": {"dynamodb:GetItem"},
        "SECRET#cursors": {"dynamodb:GetItem", "dynamodb:PutItem"},
        "BREAKER#*": READ_WAITS,
        "PACE#*": READ_WAITS,
        "VERSION#*": {"dynamodb:BatchGetItem"},
    },
    "FlexWorkerFunction": {
        "JOB#*": RUN_JOBS,
        "TENANT#*": ADD_USAGE,
        "WEBHOOKS#*": WRITE_EVENTS,
        "BREAKER#*": KEEP_WAITS,
        "PACE#*": KEEP_WAITS,
        "VERSION#*": KEEP_VERSIONS,
    },
    "SweeperFunction": {
        "JOB#*": {"dynamodb:BatchGetItem", "dynamodb:Query", *WRITE_EVENTS},
        "TENANT#*": WRITE_EVENTS,
        "WEBHOOKS#*": {"dynamodb:BatchGetItem", *WRITE_EVENTS},
        "SWEEP": {"dynamodb:PutItem"},
    },
    "WorkerFunction": {
        "JOB#*": RUN_JOBS,
        "TENANT#*": ADD_USAGE,
        "WEBHOOKS#*": WRITE_EVENTS,
        "MODEL": {"dynamodb:PutItem"},
        "BREAKER#*": KEEP_WAITS,
        "PACE#*": KEEP_WAITS,
        "VERSION#*": KEEP_VERSIONS,
    },
    "WebFunction": {},
    "WebhookFunction": {
        "WEBHOOKS#*": {"dynamodb:GetItem", "dynamodb:UpdateItem"},
        "WEBHOOK_SECRET#*": {"dynamodb:Query"},
    },
}
TABLE = {"Fn::GetAtt": ["JobTable", "Arn"]}
WITH_ALIAS_EVENTS = ("AWS::Lambda::EventSourceMapping", "AWS::Events::Rule", "AWS::Lambda::Permission")
NAMESPACE = {"Fn::Sub": "Jobchain/${AWS::StackName}"}
# Of a function's properties those that are not its version's.
NOT_OF_A_VERSION = {
    *("AutoPublishAlias", "AutoPublishAliasAllProperties", "VersionDescription", "DeploymentPreference"),
    *("Events", "Policies"),
}
SETTINGS = {
    "ApiFunction": "ApiSettings",
    "FlexWorkerFunction": "WorkerSettings",
    "SweeperFunction": "SweeperSettings",
    "WebFunction": "WebSettings",
    "WebhookFunction": "WebhookSettings",
    "WorkerFunction": "WorkerSettings",
}
# Values of variables that take not any.
CHOICES = {
    "AUTH_MODE": "api_key",
    "WEBHOOKS": "on",
    "STORE_RAW_ANSWERS": "on",
    "CHECK": "job",
    "MODEL_PROVIDER": "openai",
    "OPENAI_API": "chat",
    "OPENAI_BASE_URL": "https://models.example.com/v1",
}
# What the libraries read themselves, and what no code reads.
# A key's value is never in a template, and Lambda itself tells the region.
NOT_OF_THE_TEMPLATE = {"OPENAI_API_KEY", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"}
LIBRARIES = ("LOG_LEVEL", "POWERTOOLS_*", "REVISION")


def properties(template: Template, name: str) -> dict[str, Any]:
    """A resource's properties; a function's with those that all functions share."""
    found: dict[str, Any] = template["Resources"][name]["Properties"]
    return {**template["Globals"]["Function"], **found} if name in (*FUNCTIONS, *HOOKS) else found


def of_type(template: Template, type_: str) -> dict[str, dict[str, Any]]:
    return {name: found for name, found in template["Resources"].items() if found["Type"] == type_}


def many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statements(
    template: Template, function: str, effect: str = "Allow", provider: str = "openai"
) -> Iterator[dict[str, Any]]:
    """Those of a function's role, with the model at this provider, but for its other parameters."""
    for policy in properties(template, function).get("Policies", []):
        chosen = evaluated(policy["Statement"], template, {"ModelProvider": provider})
        yield from (statement for statement in chosen if statement["Effect"] == effect)


def parameters_in(value: Any, template: Template) -> set[str]:
    """The parameters that a part of the template names."""
    return {name for name in template["Parameters"] if re.search(rf'"{name}"|\$\{{{name}\}}', json.dumps(value))}


def translated(template: Template) -> Template:
    """What SAM makes of it."""
    return sam_template.translate(copy.deepcopy(template), Clients("http://127.0.0.1").session)


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


@pytest.mark.parametrize("function", sorted(BUDGETS))
def test_the_benchmark_of_starts_has_a_value_for_each_variable(
    template: Template, handlers: dict[str, ModuleType], function: str
) -> None:
    variables = {name: cold_start.SETTINGS.get(name, "1") for name in ours(template, function)}

    load_settings(getattr(handlers[function], SETTINGS[function]), variables)


def test_every_function_is_looked_at_here(template: Template) -> None:
    assert sorted(of_type(template, "AWS::Serverless::Function")) == sorted([*FUNCTIONS, *HOOKS])


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
    def test_has_no_index_with_more_attributes_than_dynamodb_takes(self, template: Template) -> None:
        for index in properties(template, "JobTable")["GlobalSecondaryIndexes"]:
            assert len(index["Projection"].get("NonKeyAttributes", [])) <= MOST_PROJECTED, index["IndexName"]

    def test_has_the_keys_and_the_indexes_that_the_stores_ask_for(self, template: Template) -> None:
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

        assert (table["DeletionPolicy"], table["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")

    def test_can_be_protected_from_being_deleted(self, template: Template) -> None:
        assert properties(template, "JobTable")["DeletionProtectionEnabled"] == {"Ref": "DeletionProtection"}


def longest_value(parameter: dict[str, Any]) -> str:
    """One of the longest values that a parameter may have."""
    if "AllowedValues" in parameter:
        return max(map(str, parameter["AllowedValues"]), key=len)
    if "MaxValue" in parameter:
        return str(parameter["MaxValue"])
    if "MaxLength" in parameter:
        return "x" * int(parameter["MaxLength"])
    most = re.search(r",(\d+)\}\$$", parameter["AllowedPattern"])
    assert most is not None
    return "x" * int(most[1])


def keys_of(table: dict[str, Any]) -> list[str]:
    """The hash key and the range key of a table or an index."""
    keys = {key["KeyType"]: key["AttributeName"] for key in table["KeySchema"]}
    return [keys["HASH"], keys["RANGE"]]


@pytest.mark.parametrize("function", FUNCTIONS)
class TestAFunction:
    def test_may_do_what_its_code_does_and_nothing_more(self, template: Template, function: str) -> None:
        granted = {action for s in statements(template, function) for action in many(s["Action"])}

        assert granted == ALLOWED_ACTIONS[function]

    def test_may_call_bedrock_in_place_of_reading_a_key_where_the_model_is_there(
        self, template: Template, function: str
    ) -> None:
        granted = {action for s in statements(template, function, provider="bedrock") for action in many(s["Action"])}

        assert granted == {
            *(ALLOWED_ACTIONS[function] - {"secretsmanager:GetSecretValue"}),
            *BEDROCK_ACTIONS.get(function, ()),
        }
        for statement in statements(template, function, provider="bedrock"):
            if "bedrock" in json.dumps(statement["Action"]):
                assert {resource["Fn::Sub"].partition(":bedrock:")[2] for resource in statement["Resource"]} <= MODELS

    def test_may_do_it_to_one_table_one_queue_and_one_secret(self, template: Template, function: str) -> None:
        allowed = (
            {"Fn::GetAtt": ["JobTable", "Arn"]},
            *({"Fn::Sub": f"${{JobTable.Arn}}/index/{index}"} for index in ("due", "recent", "unfinished")),
            {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]},
            {"Fn::GetAtt": ["FlexQueue", "Arn"]},
            {"Fn::GetAtt": ["JobQueue", "Arn"]},
            {"Fn::GetAtt": ["WebhookQueue", "Arn"]},
            {"Fn::GetAtt": ["SlowWebhookQueue", "Arn"]},
            # Secrets Manager ends the name in six characters of its own.
            {
                "Fn::Sub": "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}"
                ":secret:${OpenAISecretName}-??????"
            },
        )

        for statement in statements(template, function):
            assert all(resource in allowed for resource in many(statement["Resource"]))

    def test_may_do_it_to_no_items_but_those_that_it_works_with(self, template: Template, function: str) -> None:
        allowed: dict[str, set[str]] = {}
        for statement in statements(template, function):
            if TABLE in many(statement["Resource"]):
                # For all keys of a request, and for none without keys, which ForAllValues alone would let through.
                condition = statement["Condition"]
                assert condition.keys() == {"ForAllValues:StringLike", "Null"}
                assert condition["Null"] == {"dynamodb:LeadingKeys": "false"}
                for key in many(condition["ForAllValues:StringLike"]["dynamodb:LeadingKeys"]):
                    allowed.setdefault(key, set()).update(many(statement["Action"]))

        assert allowed == ITEMS[function]

    def test_has_one_statement_for_the_writes_that_its_transactions_combine(
        self, template: Template, function: str
    ) -> None:
        # Each statement may be checked with the keys of its own part of a transaction, or with those of all parts.
        combined: dict[str, set[str]] = {}
        for statement in statements(template, function):
            if TABLE in many(statement["Resource"]):
                keys = {*many(statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"])}
                if "TENANT#*" in keys:
                    for action in many(statement["Action"]):
                        combined.setdefault(action, set()).update(keys)

        # The end of a job is stored with its events too.
        together = {"JOB#*", "TENANT#*"}
        writes = {action: {*together, "WEBHOOKS#*"} for action in ("dynamodb:PutItem", "dynamodb:UpdateItem")}
        writes |= dict.fromkeys(("dynamodb:DeleteItem", "dynamodb:ConditionCheckItem"), together)
        for action in writes.keys() & combined.keys():
            assert combined[action] == writes[action], action
        if "dynamodb:PutItem" in ITEMS[function].get("JOB#*", set()):
            assert "dynamodb:PutItem" in combined, "a job's items are stored with its tenant's usage"

    def test_publishes_a_version_when_a_parameter_that_it_depends_on_changes(
        self, template: Template, function: str
    ) -> None:
        # SAM sees no change of a parameter's value: https://github.com/aws/serverless-application-model/issues/3820
        own = properties(template, function)
        settings = {name: value for name, value in own.items() if name not in NOT_OF_A_VERSION}
        settings["every function's"] = template["Globals"]["Function"]["Environment"]

        described = parameters_in(own["VersionDescription"], template)

        # None too few, or it is not deployed; none too many, or Lambda refuses a version without a change.
        assert described == parameters_in(settings, template)
        assert own["AutoPublishAliasAllProperties"] is True

    def test_has_a_version_whose_description_is_never_too_long(self, template: Template, function: str) -> None:
        description = properties(template, function)["VersionDescription"]
        named = {name: template["Parameters"][name] for name in parameters_in(description, template)}
        longest = {name: longest_value(parameter) for name, parameter in named.items()}

        # https://docs.aws.amazon.com/lambda/latest/api/API_PublishVersion.html
        assert len(evaluated(description, template, longest)) <= 256

    def test_has_a_version_with_another_description_for_every_value_of_its_parameters(
        self, template: Template, function: str
    ) -> None:
        description = properties(template, function)["VersionDescription"]
        usual = defaults(template)

        for name in parameters_in(description, template):
            values = {str(value) for value in template["Parameters"][name].get("AllowedValues", ["7", "77", "777"])}
            described = {evaluated(description, template, {**usual, name: value}) for value in values | {usual[name]}}

            assert all("${" not in str(text) for text in described)
            assert len(described) == len(values | {usual[name]}), name

    def test_is_given_the_variables_that_its_settings_read(
        self, template: Template, function: str, handlers: dict[str, ModuleType]
    ) -> None:
        read = fields(getattr(handlers[function], SETTINGS[function])) if function in SETTINGS else ()

        assert ours(template, function) == {field.name.upper() for field in read} - NOT_OF_THE_TEMPLATE

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
        # Of a sweep each minute, traces would be a tenth of what an idle stack costs.
        traced = "PassThrough" if function == "SweeperFunction" else "Active"
        assert properties(template, function)["Tracing"] == traced

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


def test_the_model_is_looked_at_more_often_than_its_alarms_look(template: Template) -> None:
    schedule = properties(template, "WorkerFunction")["Events"]["ModelCheck"]

    assert (schedule["Type"], schedule["Properties"]["Schedule"]) == ("Schedule", "rate(12 hours)")
    assert properties(template, "ModelEndAlarm")["Period"] == timedelta(days=1).total_seconds()


@pytest.mark.parametrize(
    ("model", "accepted"),
    [("gpt-6-luna", False), ("global.openai.gpt-6-luna", True), ("openai.gpt-oss-120b-1:0", True)],
)
def test_a_model_of_bedrock_is_not_the_default_which_bedrock_does_not_know(
    template: Template, model: str, accepted: bool
) -> None:
    rule = template["Rules"]["BedrockHasItsOwnNames"]
    parameters = {**defaults(template), "ModelProvider": "bedrock", "OpenAIModel": model}

    assert not holds(rule["RuleCondition"], template, defaults(template))
    assert holds(rule["RuleCondition"], template, parameters)
    assert all(holds(each["Assert"], template, parameters) is accepted for each in rule["Assertions"])


def test_the_worker_takes_every_provider_that_the_template_offers(template: Template) -> None:
    assert tuple(template["Parameters"]["ModelProvider"]["AllowedValues"]) == get_args(Provider)


def test_the_worker_takes_every_api_that_the_template_offers(template: Template) -> None:
    assert tuple(template["Parameters"]["OpenAIApi"]["AllowedValues"]) == get_args(Api)


def test_the_api_gives_up_before_the_gateway_does(template: Template) -> None:
    # https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html
    assert properties(template, "ApiFunction")["Timeout"] < 29


def test_every_page_and_what_it_loads_is_served_by_the_web_function(template: Template) -> None:
    routes = {event["Properties"]["Path"] for event in properties(template, "WebFunction")["Events"].values()}
    pages = (ROOT / "functions" / "web" / "jobchain_web" / "static").glob("*.html")

    assert routes == {*(f"/{page.stem}" for page in pages), "/assets/{proxy+}"}


def test_a_flood_of_requests_without_a_key_leaves_health_its_own_rate(template: Template) -> None:
    # API Gateway applies a stage's rate to each method by itself:
    # https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-request-throttling.html
    routes = [event["Properties"]["Path"] for event in properties(template, "ApiFunction")["Events"].values()]

    assert sorted(routes) == ["/health", "/{proxy+}"]


def test_the_layer_has_no_python_folder_which_sam_would_double(template: Template) -> None:
    content = ROOT / properties(template, "CommonLayer")["ContentUri"]

    assert (content / "jobchain" / "__init__.py").is_file()
    assert (content / "requirements.txt").is_file()
    assert not (content / "python").exists()


def test_no_key_of_a_model_stands_in_the_template() -> None:
    text = (ROOT / "template.yaml").read_text()

    assert "OPENAI_API_KEY" not in text
    assert "sk-" not in text


class TestADeployment:
    def test_sends_every_event_to_the_alias(self, template: Template) -> None:
        resources = translated(template)["Resources"]
        events = {name: found for name, found in resources.items() if found["Type"] in WITH_ALIAS_EVENTS}
        events["Api"] = resources["Api"]["Properties"]["Body"]["paths"]

        assert len(events) > 10
        for name, event in events.items():
            found = set(re.findall(r'"(\w+Function)"|(\w+FunctionAliaslive)', json.dumps(event)))
            assert found, name
            assert all(alias for _, alias in found), name

    def test_puts_the_last_version_back_by_the_errors_of_its_own(self, template: Template) -> None:
        for function in ("ApiFunction", "WorkerFunction", "FlexWorkerFunction"):
            preference = properties(template, function)["DeploymentPreference"]
            alarm = properties(template, preference["Alarms"][0]["Ref"])
            assert preference["Type"] == {"Ref": "DeploymentType"}
            assert {dimension["Name"]: dimension["Value"] for dimension in alarm["Dimensions"]} == {
                "FunctionName": {"Ref": function},
                "Resource": {"Fn::Sub": f"${{{function}}}:live"},
                "ExecutedVersion": {"Fn::GetAtt": [function, "Version.Version"]},
            }

    def test_calls_a_function_of_a_name_that_codedeploy_may_call_before_a_version_gets_traffic(
        self, template: Template
    ) -> None:
        # https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AWSCodeDeployRoleForLambda.html
        resources = translated(template)["Resources"]
        for hook, functions in HOOKS.items():
            text, values = properties(template, hook)["FunctionName"]["Fn::Sub"]
            assert text.startswith("CodeDeployHook_${Id}-")
            # The last part of a stack's id, of 36 characters; a function's name has at most 64.
            assert values == {"Id": {"Fn::Select": [2, {"Fn::Split": ["/", {"Ref": "AWS::StackId"}]}]}}
            assert len(text.replace("${Id}", "x" * 36)) <= 64
            for function in functions:
                update = resources[f"{function}Aliaslive"]["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]
                assert update["BeforeAllowTrafficHook"] == {"Ref": hook}

    def test_lets_a_hook_call_the_new_versions_that_it_checks_and_nothing_else(self, template: Template) -> None:
        for hook, functions in HOOKS.items():
            invoke, report = statements(template, hook)
            assert invoke["Action"] == "lambda:InvokeFunction"
            assert many(invoke["Resource"]) == [{"Fn::Sub": f"${{{function}.Arn}}:*"} for function in functions]
            assert report["Action"] == "codedeploy:PutLifecycleEventHookExecutionStatus"
            assert report["Resource"]["Fn::Sub"].endswith(":deploymentgroup:${ServerlessDeploymentApplication}/*")
            versions = json.dumps(properties(template, hook)["Environment"]["Variables"]["VERSIONS"])
            assert re.findall(r'"(\w+)", "Version.Version"', versions) == functions
            assert "AutoPublishAlias" not in properties(template, hook)

    def test_moves_the_workers_before_the_api(self, template: Template) -> None:
        waits = translated(template)["Resources"]["ApiFunction"]["DependsOn"]

        assert set(waits) == {"WorkerFunctionAliaslive", "FlexWorkerFunctionAliaslive"}

    def test_keeps_the_versions_before_it(self, template: Template) -> None:
        resources = translated(template)["Resources"]

        for version in of_type({"Resources": resources}, "AWS::Lambda::Version").values():
            # Where another version is described, and where one takes the place of another in the template.
            assert (version["UpdateReplacePolicy"], version["DeletionPolicy"]) == ("Retain", "Retain")
        for name in (*FUNCTIONS, *HOOKS):
            assert "DeletionPolicy" not in resources[name], "it would outlive its stack"

    def test_publishes_versions_of_the_same_code_where_it_has_a_new_name(self, template: Template) -> None:
        # Lambda publishes nothing if neither code nor settings differ from the last version:
        # https://docs.aws.amazon.com/lambda/latest/api/API_PublishVersion.html
        assert template["Globals"]["Function"]["Environment"]["Variables"]["REVISION"] == {"Ref": "Revision"}
        for name in FUNCTIONS:
            description = properties(template, name)["VersionDescription"]
            assert evaluated(description, template, {**defaults(template), "Revision": "abc12"}).startswith("abc12 ")

    def test_makes_new_versions_of_functions_when_the_layer_alone_has_changed(self, template: Template) -> None:
        changed = copy.deepcopy(template)
        changed["Resources"]["CommonLayer"]["Properties"]["ContentUri"] = "s3://elsewhere/common"

        before, after = ({*of_type(translated(one), "AWS::Lambda::Version")} for one in (template, changed))

        assert len(before) == len(after) == len(FUNCTIONS)
        assert not before & after

    @pytest.mark.parametrize("function", ["WorkerFunction", "FlexWorkerFunction"])
    def test_lets_a_worker_feed_its_own_queue(self, template: Template, function: str) -> None:
        assert properties(template, function)["RecursiveLoop"] == "Allow"

    def test_fails_where_the_secret_is_missing(self, template: Template) -> None:
        policy = properties(template, "OpenAISecretPolicy")
        (statement,) = policy["ResourcePolicy"]["Statement"]

        assert policy["SecretId"] == {"Ref": "OpenAISecretName"}
        assert template["Resources"]["OpenAISecretPolicy"]["Condition"] == "UsesSecret"
        for provider, needed in (("openai", True), ("bedrock", False)):
            assert holds({"Condition": "UsesSecret"}, template, {"ModelProvider": provider}) is needed
        waits_for = template["Resources"][template["Resources"]["JobTable"]["DependsOn"]]["Metadata"]
        policies: dict[str, Any] = {"openai": {"Ref": "OpenAISecretPolicy"}, "bedrock": ""}
        for provider, policy in policies.items():
            found = evaluated(waits_for, template, {"ModelProvider": provider})
            assert found == {"Policy": policy}, "else much is made before"
        assert statement["Effect"] == "Deny"
        assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}

    def test_reserves_no_concurrency_which_a_new_account_does_not_have(self, template: Template) -> None:
        assert "ReservedConcurrentExecutions" not in json.dumps(template)
        workers = sum(template["Parameters"][name]["Default"] for name in ("WorkerConcurrency", "FlexConcurrency"))
        # https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html and docs/how-to/deploy.md
        assert workers < 10

    @pytest.mark.parametrize(
        ("function", "queue"), [("WorkerFunction", "JobQueue"), ("FlexWorkerFunction", "FlexQueue")]
    )
    def test_lets_a_worker_receive_from_its_own_queue_alone(
        self, template: Template, function: str, queue: str
    ) -> None:
        (denied,) = statements(template, function, "Deny")

        assert denied["NotResource"] == {"Fn::GetAtt": [queue, "Arn"]}
        assert set(denied["Action"]) == {"sqs:ReceiveMessage", "sqs:DeleteMessage"}

    def test_tells_where_everything_is(self, template: Template) -> None:
        assert set(template["Outputs"]) >= {
            *("ApiUrl", "QueuePageUrl", "DashboardUrl"),
            *("TableName", "QueueUrl", "FlexQueueUrl", "DeadLetterUrl", "SweeperName", "WorkerName"),
        }
        assert all(output["Description"].endswith(".") for output in template["Outputs"].values())

    def test_keeps_no_log_for_ever(self, template: Template) -> None:
        for name, group in of_type(template, "AWS::Logs::LogGroup").items():
            assert group["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}, name

    def test_logs_of_a_request_nothing_that_a_caller_wrote(self, template: Template) -> None:
        has, setting, otherwise = properties(template, "Api")["AccessLogSetting"]["Fn::If"]
        written = json.loads(setting["Format"])

        assert (has, otherwise) == ("HasAccessLogs", {"Ref": "AWS::NoValue"})
        assert set(written.values()) <= {
            *("$context.requestId", "$context.requestTime", "$context.identity.sourceIp", "$context.httpMethod"),
            *("$context.resourcePath", "$context.status", "$context.responseLength", "$context.responseLatency"),
            *("$context.integration.status", "$context.error.responseType"),
        }

    def test_shows_a_dashboard_that_can_be_read(self, template: Template) -> None:
        text = properties(template, "Dashboard")["DashboardBody"]["Fn::Sub"]
        names = {re.split("[.:]", name)[0] for name in re.findall(r"\$\{([\w.:]+)\}", text)}

        assert names <= {*template["Resources"], *template["Parameters"], "AWS"}
        titles = {widget["properties"]["title"] for widget in json.loads(text)["widgets"]}
        assert {"Waiting jobs", "Errors of functions, throttles", "Tokens", "US dollars for model calls"} <= titles


class TestSamconfig:
    @pytest.fixture
    def config(self) -> dict[str, Any]:
        return tomllib.loads((ROOT / "samconfig.toml").read_text())

    @pytest.mark.parametrize("environment", ["default", "prod"])
    def test_overrides_parameters_that_there_are_with_values_that_they_take(
        self, template: Template, config: dict[str, Any], environment: str
    ) -> None:
        for override in config[environment]["deploy"]["parameters"].get("parameter_overrides", []):
            name, _, value = override.partition("=")
            parameter = template["Parameters"][name]
            assert value in map(str, parameter.get("AllowedValues", [value]))
            assert re.fullmatch(parameter.get("AllowedPattern", ".*"), value)

    @pytest.mark.parametrize(
        ("url", "works"),
        [
            ("https://models.example.com/v1", True),
            ("http://[::1]:11434/v1", True),
            ("http://10.0.0.1:8000", True),
            ("https://models.example.com/openai/v1/", True),
            ("models.example.com/v1", False),
            ("ftp://models.example.com/v1", False),
            ("https://models.example.com/v1?api-version=1", False),
            ("https://models.example.com/v 1", False),
            ("https://models.example.com/v1”", False),
            ('"https://models.example.com/v1"', False),
        ],
    )
    def test_takes_the_base_urls_that_the_worker_takes(self, template: Template, url: str, works: bool) -> None:
        pattern = template["Parameters"]["OpenAIBaseUrl"]["AllowedPattern"]

        assert bool(re.fullmatch(pattern, url)) is works
        assert re.fullmatch(pattern, "")
        if works:
            assert checked_model_url("OpenAIBaseUrl", url) == url
        else:
            with pytest.raises(UnusableSetting):
                checked_model_url("OpenAIBaseUrl", url)

    @pytest.mark.parametrize("environment", ["default", "prod"])
    def test_leaves_the_region_to_the_user_and_asks_before_a_change(
        self, config: dict[str, Any], environment: str
    ) -> None:
        settings = config[environment]["deploy"]["parameters"]

        assert settings["confirm_changeset"] is True
        assert "region" not in json.dumps(config)
        assert config[environment]["validate"]["parameters"]["lint"] is True

    def test_gives_each_environment_a_stack_and_a_secret_of_its_own(
        self, template: Template, config: dict[str, Any]
    ) -> None:
        production = dict(line.split("=") for line in config["prod"]["deploy"]["parameters"]["parameter_overrides"])

        assert config["default"]["global"]["parameters"] != config["prod"]["global"]["parameters"]
        assert production["OpenAISecretName"] != template["Parameters"]["OpenAISecretName"]["Default"]
        assert production["DeletionProtection"] == "true"
        assert production["DeploymentType"] == "Canary10Percent5Minutes"
