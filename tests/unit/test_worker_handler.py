"""The worker's composition root, and what each function's import brings along."""

import asyncio
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import botocore
import pytest

from jobchain.breaker import scope_of
from jobchain.errors import ModelSettingsError, SettingsError
from jobchain.llm import ModelRequest
from jobchain.settings import load_settings
from jobchain.spending import Usage
from jobchain_worker.chat_dialect import Chat
from jobchain_worker.consumer import Consumer
from jobchain_worker.responses_dialect import Responses
from jobchain_worker.worker_settings import UnusableLLM, model_key
from local import offline_model
from tests.conftest import ROOT, TABLE
from tests.fakes import FakeContext
from tests.shipped import SummaryAnswer

FUNCTIONS = {
    "jobchain_api": "ApiFunction",
    "jobchain_sweeper": "SweeperFunction",
    "jobchain_web": "WebFunction",
    "jobchain_webhooks": "WebhookFunction",
    "jobchain_worker": "WorkerFunction",
}

REQUEST = ModelRequest("You summarize.", "a text", SummaryAnswer)


def environment(template: dict[str, Any], function: str) -> dict[str, str]:
    """The variables that the template gives to a function, each with a value that will do."""
    own = template["Resources"][function]["Properties"]["Environment"]["Variables"]
    names = {*template["Globals"]["Function"]["Environment"]["Variables"], *own} - {"LOG_LEVEL"}
    choices = {
        "AUTH_MODE": "api_key",
        "MODEL_CALL_SECONDS": "0",
        "MODEL_PROVIDER": "openai",
        "MODEL_TIMEOUT_SECONDS": "95",
        "OPENAI_API": "responses",
        "OPENAI_BASE_URL": "https://models.example.com/v1",
        "STORE_RAW_ANSWERS": "on",
        "WEBHOOKS": "on",
        "WORKER_TIMEOUT_SECONDS": "300",
    }
    return {name: choices.get(name, "1") for name in names}


def import_anew(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The worker's handler module, as a new process would import it."""
    monkeypatch.delitem(sys.modules, "jobchain_worker.handler", raising=False)
    return importlib.import_module("jobchain_worker.handler")


@pytest.fixture
def handler(template: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    for name, value in environment(template, "WorkerFunction").items():
        monkeypatch.setenv(name, value)
    # With certificates of one's own the worker's clients are botocore's, which moto answers.
    monkeypatch.setenv("AWS_CA_BUNDLE", str(Path(botocore.__file__).with_name("cacert.pem")))
    return import_anew(monkeypatch)


def read_key(handler: ModuleType, key: str | None = None, secret: str | None = None) -> str:
    """The key that the handler's reader finds."""
    loaded = load_settings(handler.WorkerSettings, os.environ)
    settings = replace(loaded, openai_api_key=key, openai_secret_name=secret)
    found: str = asyncio.run(model_key(settings, handler.AWS).read())
    return found


@pytest.fixture
def secret(aws: None) -> str:
    """The name of a secret that holds a key."""
    boto3.client("secretsmanager").create_secret(Name="jobchain/key", SecretString=" sk-stored\n")
    return "jobchain/key"


class TestTheKey:
    def test_comes_from_the_environment_where_it_is_there(self, handler: ModuleType, secret: str) -> None:
        assert read_key(handler, key="sk-environment", secret=secret) == "sk-environment"

    def test_comes_from_the_secret_else_without_its_white_space(self, handler: ModuleType, secret: str) -> None:
        assert read_key(handler, secret=secret) == "sk-stored"

    def test_is_kept_for_a_while(self, handler: ModuleType, secret: str) -> None:
        settings = replace(load_settings(handler.WorkerSettings, os.environ), openai_secret_name=secret)
        read = model_key(settings, handler.AWS).read

        async def before_and_after_a_rotation() -> tuple[str, str]:
            before = await read()
            boto3.client("secretsmanager").put_secret_value(SecretId=secret, SecretString="sk-rotated")
            return before, await read()

        assert asyncio.run(before_and_after_a_rotation()) == ("sk-stored", "sk-stored")

    def test_is_for_the_operator_to_mend_where_there_is_no_such_secret(self, handler: ModuleType, secret: str) -> None:
        with pytest.raises(ModelSettingsError, match="the secret jobchain/other can't be read") as caught:
            read_key(handler, secret="jobchain/other")

        assert scope_of(caught.value.type) is not None

    @pytest.mark.parametrize("content", [" \n", "sk-“quoted”", "sk-abc\ndef", '{"key": "sk-abc"}', "\ufeffsk-abc"])
    def test_is_no_outage_where_the_secret_holds_none_and_is_read_again_once_mended(
        self, handler: ModuleType, secret: str, content: str
    ) -> None:
        client = boto3.client("secretsmanager")
        client.put_secret_value(SecretId=secret, SecretString=content)
        settings = replace(load_settings(handler.WorkerSettings, os.environ), openai_secret_name=secret)
        read = model_key(settings, handler.AWS).read

        async def before_and_after_the_fix() -> str:
            with pytest.raises(ModelSettingsError, match=rf"^the secret {secret} ") as caught:
                await read()
            assert "sk-" not in str(caught.value)
            assert caught.value.as_job_error("summary").type == "model_misconfigured"
            client.put_secret_value(SecretId=secret, SecretString="sk-fixed")
            found: str = await read()
            return found

        assert asyncio.run(before_and_after_the_fix()) == "sk-fixed"

    def test_has_to_have_a_source(self, handler: ModuleType) -> None:
        with pytest.raises(SettingsError, match="OPENAI_API_KEY, or OPENAI_SECRET_NAME"):
            read_key(handler)


class TestThePrices:
    @pytest.mark.parametrize(
        ("base_url", "cost"),
        [
            ("http://127.0.0.1:11434/v1", 0),
            ("http://localhost:8080/v1", 0),
            ("http://[::1]:8080/v1", 0),
            ("http://192.168.1.7:8080/v1", None),
            ("https://models.example.com/v1", None),
            ("https://api.openai.com/v1", None),
        ],
    )
    def test_are_zero_for_a_model_on_this_machine_and_unknown_for_any_other(
        self, handler: ModuleType, base_url: str, cost: int | None
    ) -> None:
        used = Usage(1_000, output_tokens=100)

        settings = replace(load_settings(handler.WorkerSettings, os.environ), openai_base_url=base_url)
        prices = handler.price_list(settings)

        assert prices.spending("qwen3-8b", used, used).cost_usd == cost
        assert prices.spending("gpt-6-luna", used, used).cost_usd == Decimal("0.00015")


class TestTheModule:
    def test_asks_openai_where_the_template_leaves_the_base_url_out(
        self, monkeypatch: pytest.MonkeyPatch, handler: ModuleType
    ) -> None:
        # CloudFormation can't leave a variable out, and the SDK would take the empty one for an address.
        monkeypatch.setenv("OPENAI_BASE_URL", "")

        llm = import_anew(monkeypatch).consumer._runner._executor._llm

        assert str(llm._client.base_url) == "https://api.openai.com/v1/"

    @pytest.mark.parametrize(("api", "dialect"), [("", Responses), ("responses", Responses), ("chat", Chat)])
    def test_asks_by_the_api_that_its_environment_names(
        self, monkeypatch: pytest.MonkeyPatch, handler: ModuleType, api: str, dialect: type
    ) -> None:
        monkeypatch.setenv("OPENAI_API", api)

        assert isinstance(import_anew(monkeypatch).consumer._runner._executor._llm._dialect, dialect)

    def test_refuses_another_api(self, monkeypatch: pytest.MonkeyPatch, handler: ModuleType) -> None:
        monkeypatch.setenv("OPENAI_API", "assistants")

        with pytest.raises(SettingsError, match="OPENAI_API"):
            import_anew(monkeypatch)

    @pytest.mark.parametrize(("value", "most"), [("", 16_384), ("4000", 4_000)])
    def test_has_the_room_for_answers_that_its_environment_names(
        self, monkeypatch: pytest.MonkeyPatch, handler: ModuleType, value: str, most: int
    ) -> None:
        monkeypatch.setenv("MAX_OUTPUT_TOKENS", value)

        assert import_anew(monkeypatch).consumer._runner._executor._llm.max_output_tokens == most

    @pytest.mark.parametrize(
        ("name", "value", "says"),
        [
            ("OPENAI_BASE_URL", "models.example.com/v1", "OPENAI_BASE_URL is 'models.example.com/v1'"),
            ("OPENAI_BASE_URL", "https://models.example.com/v1/chat/completions", "OPENAI_BASE_URL is 'https://"),
            ("OPENAI_API_KEY", "sk-abc\ndef", "OPENAI_API_KEY can't be an API key: it holds a line break"),
            ("OPENAI_MODEL", "\u201cgpt-6-luna\u201d", "OPENAI_MODEL can't be used: it holds"),
            ("OPENAI_MODEL", "gpt-6\u200b-luna", "OPENAI_MODEL can't be used: it holds"),
            ("OPENAI_MODEL", "gpt 6", "OPENAI_MODEL can't be used: it holds"),
            ("MODEL_CALL_SECONDS", "281", "ModelCallSeconds is 281: set it to 280 at most"),
            ("MODEL_CALL_SECONDS", "-1", "ModelCallSeconds is -1: set it to 280 at most"),
        ],
    )
    def test_starts_with_settings_that_can_not_work_and_says_so_at_each_call(
        self, monkeypatch: pytest.MonkeyPatch, handler: ModuleType, name: str, value: str, says: str
    ) -> None:
        monkeypatch.setenv(name, value)

        started = import_anew(monkeypatch)

        llm = started.consumer._runner._executor._llm
        for call in (llm.ask(REQUEST), llm.count_tokens("a text"), llm.ask(REQUEST)):
            with pytest.raises(ModelSettingsError) as caught:
                asyncio.run(call)
            assert str(caught.value).startswith(says)
            assert "sk-" not in str(caught.value)
        assert isinstance(llm, UnusableLLM)
        assert llm.model.isascii()
        assert llm.max_output_tokens > 0
        assert started.consumer._runner._call_time.total_seconds() == 95 + 5, "the job is claimed nevertheless"

    @pytest.mark.parametrize(("call", "whole"), [("0", 95), ("", 95), ("40", 40), ("280", 280)])
    def test_has_the_time_for_a_call_that_its_environment_names(
        self, monkeypatch: pytest.MonkeyPatch, handler: ModuleType, call: str, whole: int
    ) -> None:
        monkeypatch.setenv("MODEL_CALL_SECONDS", call)
        monkeypatch.setenv("MODEL_IDLE_SECONDS", "7")

        runner = import_anew(monkeypatch).consumer._runner

        time = runner._executor._llm._time
        assert (time.whole.total_seconds(), time.idle.total_seconds()) == (whole, 7)
        assert runner._call_time.total_seconds() == whole + 5

    def test_needs_no_proxy_and_no_certificates_for_a_model_on_this_machine(
        self, monkeypatch: pytest.MonkeyPatch, handler: ModuleType
    ) -> None:
        monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
        monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")
        with offline_model.running() as url:
            monkeypatch.setenv("OPENAI_BASE_URL", url)
            monkeypatch.setenv("OPENAI_API_KEY", "sk-made-up")
            monkeypatch.setenv("OPENAI_MODEL", offline_model.MODEL)

            assert asyncio.run(import_anew(monkeypatch).model_checker._find_shutdown()) is None

    def test_builds_a_consumer_from_its_environment(self, handler: ModuleType) -> None:
        assert isinstance(handler.consumer, Consumer)

    def test_names_all_that_its_environment_lacks(self, monkeypatch: pytest.MonkeyPatch, handler: ModuleType) -> None:
        monkeypatch.delenv("TABLE_NAME")
        monkeypatch.delenv("QUEUE_URL")

        with pytest.raises(SettingsError) as caught:
            import_anew(monkeypatch)

        assert "TABLE_NAME" in str(caught.value)
        assert "QUEUE_URL" in str(caught.value)
        assert "OPENAI_MODEL" not in str(caught.value)


class TestTheLookAtTheModel:
    @pytest.fixture
    def handler(self, handler: ModuleType, dynamodb: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
        with offline_model.running() as url:
            monkeypatch.setenv("TABLE_NAME", TABLE)
            monkeypatch.setenv("OPENAI_BASE_URL", url)
            monkeypatch.setenv("OPENAI_API_KEY", "sk-made-up")
            monkeypatch.setenv("OPENAI_MODEL", offline_model.MODEL)
            monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "Jobchain")
            yield import_anew(monkeypatch)

    def test_answers_the_schedules_event_and_stores_what_it_found(
        self, handler: ModuleType, capsys: pytest.CaptureFixture[str]
    ) -> None:
        event = json.loads((ROOT / "events" / "schedule_model_check.json").read_text())

        answer = handler.lambda_handler(event, FakeContext())

        assert answer == {"model": offline_model.MODEL, "checked": True, "known": True, "days_left": None}
        assert handler.model_checks.last().model == offline_model.MODEL
        assert "ModelDaysLeft" not in capsys.readouterr().out, "no end is known"

    def test_leaves_the_event_loop_of_the_batches_as_it_is(
        self, handler: ModuleType, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with asyncio.Runner() as runner:
            loop = runner.get_loop()
            asyncio.set_event_loop(loop)

            handler.lambda_handler({"check": "model"}, FakeContext())

            assert asyncio.get_event_loop() is loop
            asyncio.set_event_loop(None)

    def test_is_another_thing_than_a_batch(self, handler: ModuleType) -> None:
        record = {"messageId": "m-1", "eventSource": "aws:sqs", "body": '{"check": "model"}'}

        answer = handler.lambda_handler({"Records": [record]}, FakeContext())

        assert answer == {"batchItemFailures": [{"itemIdentifier": "m-1"}]}
        assert handler.model_checks.last() is None


@pytest.mark.parametrize(
    ("function", "stranger"),
    [
        ("jobchain_api", "openai"),
        ("jobchain_api", "jobchain_worker"),
        ("jobchain_api", "moto"),
        ("jobchain_api", "aws_lambda_powertools.event_handler.openapi.models"),
        ("jobchain_api", "aws_lambda_powertools.utilities.batch"),
        ("jobchain_api", "aws_xray_sdk"),
        ("jobchain_api", "asyncio"),
        ("jobchain_api", "aws_lambda_powertools.metrics"),
        ("jobchain_api", "aws_lambda_powertools.utilities.data_classes.kafka_event"),
        ("jobchain_api", "boto3"),
        ("jobchain_api", "botocore.session"),
        ("jobchain_api", "importlib.metadata._adapters"),
        ("jobchain_api", "importlib.resources"),
        ("jobchain_api", "jobchain.breaker"),
        ("jobchain_api", "jobchain_chains.compare_guidelines"),
        ("jobchain_api", "jobchain.pace"),
        ("jobchain_api", "jobchain.pacer"),
        ("jobchain_api", "jobchain_api.call_views"),
        ("jobchain_api", "jobchain_api.health"),
        ("jobchain_api", "jobchain_api.system_views"),
        ("jobchain_api", "jobchain_api.views"),
        ("jobchain_api", "urllib3"),
        ("jobchain_sweeper", "aws_lambda_powertools.event_handler"),
        ("jobchain_sweeper", "boto3"),
        ("jobchain_sweeper", "botocore.session"),
        ("jobchain_sweeper", "jobchain.chains"),
        ("jobchain_sweeper", "jobchain_worker"),
        ("jobchain_sweeper", "openai"),
        ("jobchain_web", "boto3"),
        ("jobchain_web", "pydantic"),
        ("jobchain_worker", "aws_lambda_powertools.utilities.batch"),
        ("jobchain_worker", "aws_lambda_powertools.utilities.parameters"),
        ("jobchain_worker", "boto3"),
        ("jobchain_worker", "jobchain_api"),
        ("jobchain_worker", "openai.resources"),
        ("jobchain_worker", "jobchain_worker.openai_bedrock"),
        ("jobchain_worker", "jobchain_worker.openai_bedrock_models"),
        ("jobchain_worker", "jobchain_worker.role_credentials"),
        ("jobchain_worker", "moto"),
    ],
)
def test_a_function_imports_nothing_that_it_is_not_deployed_with_or_need_not_have_at_its_start(
    imports: dict[str, set[str]], function: str, stranger: str
) -> None:
    assert function in imports[function]
    assert stranger not in imports[function]


@pytest.mark.slow
@pytest.mark.parametrize("function", ["jobchain_api", "jobchain_sweeper", "jobchain_worker"])
def test_a_function_starts_without_garbage_collection_and_never_looks_at_what_its_start_made(
    template: dict[str, Any], function: str
) -> None:
    program = f"""\
import gc, json
gc.callbacks.append(lambda phase, info: runs.append(phase))
runs = []
from jobchain import startup
runs.clear()
import {function}.handler
print(json.dumps([len(runs), gc.isenabled(), gc.get_freeze_count() > 10_000]))"""

    assert printed_by(program, environment(template, FUNCTIONS[function])) == [0, True, True]


@pytest.mark.slow
def test_environments_that_are_restored_from_one_snapshot_draw_different_numbers(template: dict[str, Any]) -> None:
    program = """\
import json, random
from jobchain_api import handler
from jobchain.startup import first_invocation
from tests.fakes import FakeContext
from tests.gateway import _event
snapshot = random.getstate()
drawn = []
for environment in range(3):
    random.setstate(snapshot)
    first_invocation.cache_clear()
    for _ in range(2):
        handler.lambda_handler(_event("GET", "/openapi.json", None, {}, "192.0.2.1"), FakeContext())
    drawn.append(random.random())
random.seed(7)
handler.lambda_handler(_event("GET", "/openapi.json", None, {}, "192.0.2.1"), FakeContext())
print(json.dumps([len(set(drawn)), random.random() == random.Random(7).random()]))"""

    assert printed_by(program, environment(template, "ApiFunction")) == [3, True]


@pytest.mark.slow
def test_the_api_has_built_at_its_start_what_a_post_needs_and_no_other_view(template: dict[str, Any]) -> None:
    program = """\
import jobchain_api.handler, json
from jobchain_api import created_views, requests, system_views, views
def models(module):
    found = (one for one in vars(module).values() if hasattr(one, "__pydantic_complete__"))
    return [one for one in found if one.__module__ == module.__name__]
modules = requests, created_views, views, system_views
built = [one for module in modules for one in models(module) if one.__pydantic_complete__]
print(json.dumps([one.__name__ for one in built]))"""

    assert printed_by(program, environment(template, "ApiFunction")) == ["CreateJob", "JobCreated"]


@pytest.fixture(scope="module")
def imports(template: dict[str, Any]) -> dict[str, set[str]]:
    """The modules that a fresh process has after the import of each function's handler."""
    return {
        package: imported_by(f"{package}.handler", environment(template, function))
        for package, function in FUNCTIONS.items()
    }


def imported_by(module: str, variables: dict[str, str]) -> set[str]:
    return set(printed_by(f"import {module}, json, sys; print(json.dumps(sorted(sys.modules)))", variables))


def printed_by(program: str, variables: dict[str, str]) -> Any:
    """What a program prints last, as JSON, in a fresh process like that of a function."""
    # A Lambda function has its credentials and its region from the platform.
    platform = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={"PATH": os.environ["PATH"], **platform, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(result.stdout.splitlines()[-1])
