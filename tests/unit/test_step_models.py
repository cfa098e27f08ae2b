"""Steps with a model, an effort or a temperature of their own: what is sent, and whose usage and limits it is."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from aws_lambda_powertools import Logger

from jobchain.aws.queue import JobQueue
from jobchain.chains import CHAINS
from jobchain.chains.chain import Chain
from jobchain.domain import Status, WaitReason
from jobchain.errors import PermanentModelError, TransientModelError
from jobchain.llm import ModelRequest
from jobchain.prices import FREE, Price, PriceList
from jobchain_worker.dialects import Api
from jobchain_worker.openai_calls import create_client
from jobchain_worker.openai_llm import OpenAILLM
from tests.deployment import Deployment
from tests.fake_model.replies import MODEL, Reply, json_reply, output_text, response
from tests.fake_model.transport import ModelTransport
from tests.fakes import FakeClock
from tests.unit.test_call_reports import HTTPS, REQUEST, TIMEOUT, key

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

WHOLE = {"choices": [{"message": {"content": "{}"}}], "usage": {"prompt_tokens": 100, "completion_tokens": 50}}
OTHER = "another-model"


class Server:
    """A server that refuses some parameters, and notes the bodies that it got."""

    def __init__(
        self, *refused: str, message: str = "Unsupported parameter: '{}' is not supported with this model."
    ) -> None:
        self.refused = refused
        self.message = message
        self.bodies: list[dict[str, Any]] = []
        self.error_for: Callable[[dict[str, Any]], dict[str, Any] | None] = lambda _: None

    def choose(self, request: httpx2.Request) -> Reply:
        body = json.loads(request.content)
        self.bodies.append(body)
        if found := self.error_for(body):
            return json_reply("refused", {"error": found}, 400)
        for name in self.refused:
            if name.partition(".")[0] in body:
                error = {"message": self.message.format(name), "param": name, "code": "unsupported_parameter"}
                return json_reply("refused", {"error": error}, 400)
        return json_reply("whole", response(output_text("{}")) if "input" in body else WHOLE)

    def ask(self, *requests: ModelRequest, api: Api = "responses") -> list[dict[str, Any]]:
        async def call() -> None:
            async with httpx2.AsyncClient(transport=ModelTransport(self.choose)) as http_client:
                llm = OpenAILLM(create_client(HTTPS, key, TIMEOUT, http_client), MODEL, TIMEOUT, 16_384, api)
                for request in requests:
                    await llm.ask(request)

        asyncio.run(call())
        return self.bodies


OWN = replace(REQUEST, model=OTHER, effort="low", temperature=0.5)


class TestACall:
    def test_names_the_steps_model_effort_and_temperature(self) -> None:
        (body,) = Server().ask(OWN)

        assert (body["model"], body["reasoning"], body["temperature"]) == (OTHER, {"effort": "low"}, 0.5)

    def test_names_them_in_chat_completions_too(self) -> None:
        (body,) = Server().ask(OWN, api="chat")

        assert (body["model"], body["reasoning_effort"], body["temperature"]) == (OTHER, "low", 0.5)

    @pytest.mark.parametrize("api", ["responses", "chat"])
    def test_of_a_step_that_says_nothing_leaves_them_out(self, api: Api) -> None:
        (body,) = Server().ask(REQUEST, api=api)

        assert body["model"] == MODEL
        assert not {"reasoning", "reasoning_effort", "temperature"} & body.keys()

    @pytest.mark.parametrize(
        ("api", "refused"),
        [
            ("responses", "reasoning.effort"),
            ("responses", "temperature"),
            ("chat", "reasoning_effort"),
            ("chat", "temperature"),
        ],
    )
    def test_is_repeated_without_what_the_model_does_not_take_and_later_ones_of_the_model_go_without(
        self, api: Api, refused: str
    ) -> None:
        name = refused.partition(".")[0]

        bodies = Server(refused).ask(OWN, OWN, replace(OWN, model="a-third-model"), api=api)

        assert [name in body for body in bodies] == [True, False, False, True, False]

    @pytest.mark.parametrize("api", ["responses", "chat"])
    @pytest.mark.parametrize(
        "message", ['"llama3.2" does not support thinking', 'think value "low" is not supported for this model']
    )
    def test_is_repeated_without_the_effort_where_ollamas_model_does_not_think(self, api: Api, message: str) -> None:
        name = {"responses": "reasoning", "chat": "reasoning_effort"}[api]
        error = {"message": message, "type": "api_error", "param": None, "code": None}
        server = Server()
        server.error_for = lambda body: error if name in body else None

        bodies = server.ask(OWN, OWN, api=api)

        assert [name in body for body in bodies] == [True, False, False]

    def test_keeps_the_room_that_each_model_has_apart(self) -> None:
        bodies = Server().ask(replace(OWN, max_output_tokens=100), REQUEST)

        assert [body["max_output_tokens"] for body in bodies] == [100, 16_384]


def chain_with(**options: Any) -> dict[str, Chain]:
    """The default chain, whose second step has these options."""
    chain = CHAINS["guideline_checklist"]
    first, second, third = chain.calls
    second = replace(second, options=second.options._replace(**options))
    return {chain.name: replace(chain, steps=(first, second, third))}


@pytest.fixture
def deployment(dynamodb: "DynamoDBClient", queue: JobQueue, clock: FakeClock, logger: Logger) -> Deployment:
    return Deployment(dynamodb, queue, clock, logger)


PRICES = PriceList({MODEL: FREE, OTHER: Price(*[Decimal("0.001")] * 4)})


class TestAStepsOwnModel:
    def test_has_its_own_price_and_its_own_line_in_the_usage_of_the_day(self, deployment: Deployment) -> None:
        deployment.runner = deployment.worker(chains=chain_with(model=OTHER), prices=PRICES)
        deployment.create()

        job = deployment.run()

        assert job.status is Status.COMPLETED
        assert [request.model for request in deployment.llm.requests] == [None, OTHER, None]
        by_model = deployment.stores.usage.today("local").by_model
        assert {model: spending.calls for model, spending in by_model.items()} == {MODEL: 2, OTHER: 1}
        deployment.spent()

    def test_counts_for_the_jobs_budget(self, deployment: Deployment) -> None:
        deployment.runner = deployment.worker(chains=chain_with(model=OTHER), prices=PRICES)
        deployment.create(max_cost_usd=Decimal("0.5"))

        job = deployment.run()

        assert job.error
        assert (job.error.type, job.error.step) == ("budget_exceeded", "checklist")

    def test_that_the_server_does_not_have_makes_its_job_wait_and_no_other(self, deployment: Deployment) -> None:
        deployment.runner = deployment.worker(chains=chain_with(model=OTHER))
        first = deployment.create(1)
        missing = PermanentModelError("model_not_found", "there is no such model")
        deployment.llm.script.add(missing, step="checklist")
        deployment.run_together([first])

        job = deployment.job(first)
        assert job.waiting_for
        assert (job.status, job.waiting_for.reason) == (Status.PENDING, WaitReason.ACCOUNT)
        deployment.create(2)
        assert deployment.run().status is Status.COMPLETED

    def test_that_is_rate_limited_slows_down_no_other(self, deployment: Deployment) -> None:
        deployment.runner = deployment.worker(chains=chain_with(model=OTHER))
        first = deployment.create(1)
        deployment.llm.script.add(TransientModelError("slow down", type_="rate_limited"), step="checklist")
        deployment.run_together([first])

        deployment.create(2)
        assert deployment.run().status is Status.COMPLETED

    def test_is_what_a_worker_that_vanishes_is_estimated_by(self, deployment: Deployment) -> None:
        worker = deployment.worker(chains=chain_with(model=OTHER), prices=PRICES)

        model, most = worker._billing.at_risk("guideline_checklist", 100)

        assert (model, most.calls) == (OTHER, 1)
        assert most.known_cost_usd > 0
