"""What a new version must do before it gets traffic: the hooks, the worker's dry job, and the api's answer."""

import asyncio
import importlib
import io
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import botocore
import pytest
from aws_lambda_powertools import Logger
from botocore.awsrequest import AWSResponse, HTTPHeaders

from jobchain import Chain as DeclaredChain
from jobchain import Text
from jobchain.aws.queue import JobQueue
from jobchain.chains import CHAINS
from jobchain.chains.chain import Chain
from jobchain_hook.checks import CHECKS, FunctionFailed, fault_of
from jobchain_worker.consumer import Consumer
from jobchain_worker.dry_job import EVENT, OK, DryJob
from tests.conftest import TABLE, Items, Messages, make_runner
from tests.fake_model.llm import ScriptedLLM
from tests.fakes import FakeClock, FakeContext
from tests.stores import Stores

FIRST = next(iter(CHAINS.values()))


class TestADryJob:
    @pytest.fixture
    def consumer(
        self,
        stores: Stores,
        queue: JobQueue,
        clock: FakeClock,
        logger: Logger,
        event_loop: asyncio.AbstractEventLoop,
    ) -> Consumer:
        return Consumer(make_runner(stores, queue, ScriptedLLM(), logger), event_loop, clock, logger)

    def run(self, consumer: Consumer, logger: Logger, chains: Mapping[str, Chain] = CHAINS) -> dict[str, Any]:
        return DryJob(consumer=consumer, chains=chains, max_input_tokens=8000, logger=logger).run(FakeContext())  # type: ignore[arg-type]

    def test_goes_the_way_of_a_job_and_leaves_nothing(
        self, consumer: Consumer, logger: Logger, items: Items, messages: Messages
    ) -> None:
        assert self.run(consumer, logger) == OK

        assert items.all() == []
        assert messages.count() == 0

    def test_fails_where_the_table_cannot_be_read(self, consumer: Consumer, logger: Logger, stores: Stores) -> None:
        stores.client.delete_table(TableName=stores.table)

        assert self.run(consumer, logger)["job"] == "failed"

    def test_fails_where_a_chain_has_a_bug(self, consumer: Consumer, logger: Logger, log: io.StringIO) -> None:
        def broken(_: object) -> str:
            raise KeyError("a-text-that-no-log-may-show")

        step = replace(FIRST.calls[0], write_input=broken)
        chains = {FIRST.name: replace(FIRST, steps=(step, *FIRST.steps[1:]))}

        answer = self.run(consumer, logger, chains)

        assert answer == {"job": "failed", "at": f"the chain {FIRST.name}: KeyError"}
        assert "a-text-that" not in log.getvalue()

    def test_makes_no_payload_up_that_is_more_than_texts(self, consumer: Consumer, logger: Logger) -> None:
        declared = DeclaredChain("guide", description="")

        @declared.ask
        def summary(document: Text, most: int) -> str:
            """Summarize."""
            raise NotImplementedError

        assert self.run(consumer, logger, {"guide": declared.compiled}) == OK

    def test_is_what_the_hook_asks_for(self) -> None:
        assert CHECKS["job"].event == EVENT
        assert CHECKS["job"].fault(OK) == ""


class TestACheck:
    @pytest.mark.parametrize("answer", [{"job": "failed", "at": "the claim"}, {"batchItemFailures": []}, None])
    def test_of_a_worker_fails_by_any_other_answer(self, answer: Any) -> None:
        assert fault_of("worker:2", CHECKS["job"], lambda *_: answer).startswith("the dry job ended with")

    @pytest.mark.parametrize(("status", "works"), [(200, True), (503, True), (500, False), (404, False), (None, False)])
    def test_of_the_api_takes_an_answer_that_is_no_fault_of_the_version(self, status: int | None, works: bool) -> None:
        assert (fault_of("api:2", CHECKS["health"], lambda *_: {"statusCode": status}) == "") is works

    def test_fails_where_the_version_does_not_start(self) -> None:
        def crash(_version: str, _event: Mapping[str, Any]) -> None:
            raise FunctionFailed("it failed: Unhandled")

        assert fault_of("api:2", CHECKS["health"], crash) == "it failed: Unhandled"

    def test_of_the_api_is_a_request_that_the_api_answers(
        self, monkeypatch: pytest.MonkeyPatch, dynamodb: object, queue_url: str
    ) -> None:
        for name, value in {
            "TABLE_NAME": TABLE,
            "AUTH_MODE": "api_key",
            "RETENTION_DAYS": "30",
            "QUEUE_URL": queue_url,
            "FLEX_QUEUE_URL": queue_url,
            "WEBHOOK_QUEUE_URL": queue_url,
            "DEAD_LETTER_URL": queue_url,
            # With certificates of one's own its clients are botocore's, which moto answers.
            "AWS_CA_BUNDLE": str(Path(botocore.__file__).with_name("cacert.pem")),
        }.items():
            monkeypatch.setenv(name, value)
        handler = importlib.reload(importlib.import_module("jobchain_api.handler"))

        answer = handler.lambda_handler(dict(CHECKS["health"].event), FakeContext())

        assert CHECKS["health"].fault(answer) == ""
        assert answer["statusCode"] == 200


class Aws:
    """Lambda, which answers as each version was told to, and CodeDeploy."""

    def __init__(self, **answers: Any) -> None:
        self._answers = {name.replace("_", ":"): answer for name, answer in answers.items()}
        self.asked: list[tuple[str, Any]] = []
        self.told: list[Any] = []

    def __call__(self, request: Any, **_: object) -> AWSResponse:
        path = request.url.partition("amazonaws.com")[2]
        if "invocations" not in path:
            self.told.append(json.loads(request.body))
            return self._response({})
        name = path.split("/")[3].replace("%3A", ":")
        version = f"{name}:{path.partition('Qualifier=')[2]}" if "Qualifier=" in path else name
        self.asked.append((version, json.loads(request.body)))
        answer = self._answers[version]
        return self._response({}, "Unhandled") if answer == "crash" else self._response(answer)

    def _response(self, answer: Any, error: str | None = None) -> AWSResponse:
        headers = HTTPHeaders()
        if error:
            headers["X-Amz-Function-Error"] = error
        return AWSResponse("", 200, headers, _Raw(json.dumps(answer).encode()))


class _Raw(io.BytesIO):
    """What urllib3 would have read from."""

    def stream(self, *_: object, **__: object) -> Any:
        yield self.read()


class TestAHook:
    def call(self, monkeypatch: pytest.MonkeyPatch, aws: Aws, check: str, versions: str) -> dict[str, Any]:
        monkeypatch.setenv("CHECK", check)
        monkeypatch.setenv("VERSIONS", versions)
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "made-up")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "made-up")
        handler = importlib.reload(importlib.import_module("jobchain_hook.handler"))
        for client in (handler.functions, handler.deployments):
            client.meta.events.register("before-send", aws)
        event = {"DeploymentId": "d-1", "LifecycleEventHookExecutionId": "hook-1"}
        answer: dict[str, Any] = handler.lambda_handler(event, FakeContext())
        return answer

    def test_lets_versions_have_traffic_that_all_work(self, monkeypatch: pytest.MonkeyPatch) -> None:
        aws = Aws(worker_2=OK, flex_3=OK)

        self.call(monkeypatch, aws, "job", "worker:2,flex:3")

        assert aws.asked == [("worker:2", EVENT), ("flex:3", EVENT)]
        assert aws.told == [{"deploymentId": "d-1", "lifecycleEventHookExecutionId": "hook-1", "status": "Succeeded"}]

    @pytest.mark.parametrize("answer", ["crash", {"job": "failed", "at": "the claim"}])
    def test_stops_the_deployment_where_one_does_not(self, monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
        aws = Aws(worker_2=OK, flex_3=answer)

        told = self.call(monkeypatch, aws, "job", "worker:2,flex:3")

        assert [one["status"] for one in aws.told] == ["Failed"]
        assert list(told["faults"]) == ["flex:3"]

    def test_stops_the_deployment_of_an_api_that_answers_500(self, monkeypatch: pytest.MonkeyPatch) -> None:
        aws = Aws(api_7={"statusCode": 500})

        self.call(monkeypatch, aws, "health", "api:7")

        assert [one["status"] for one in aws.told] == ["Failed"]
