"""What a provider is sent so that it caches a shared text, what it may refuse of that, and how its answers are read."""

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from pydantic import BaseModel

from jobchain.domain import NewJob
from jobchain.errors import PermanentModelError
from jobchain.llm import AnswerText, ModelAnswer, ModelRequest, SharedPrefix, UnusableAnswer
from jobchain.prices import Price, PriceList
from jobchain_worker import prompt_cache
from jobchain_worker.call import most_of
from jobchain_worker.dialects import Api
from jobchain_worker.openai_calls import create_client
from jobchain_worker.openai_llm import OpenAILLM
from tests.deployment import RETENTION, TENANT, Deployment
from tests.fake_model.replies import MODEL, Reply, json_reply, output_text, response
from tests.fake_model.transport import ModelTransport
from tests.unit.test_call_reports import TIMEOUT, key

OPENAI = "https://api.openai.com/v1"
FENCED = "<<<document 0123456789ab>>>\nDoors must be locked.\n<<<end 0123456789ab>>>"
SUMMARY = "<<<summary ba9876543210>>>\nLock.\n<<<end ba9876543210>>>"


class Item(BaseModel, extra="forbid"):
    text: str


class First(BaseModel, extra="forbid"):
    items: list[Item]


def _other_item() -> type[BaseModel]:
    class Item(BaseModel, extra="forbid"):
        number: int

    return Item


OtherItem: Any = _other_item()


class Second(BaseModel, extra="forbid"):
    item: OtherItem
    more: list[Item]


SHARED = SharedPrefix(FENCED, (("first", First), ("second", Second)))
ONE = ModelRequest("List items.", FENCED, First, effort="low", prefix=SHARED, caller="a hash")
TWO = replace(ONE, instructions="Choose one.", input=f"{FENCED}\n\n{SUMMARY}", answer=Second)
ALONE = replace(ONE, prefix=None)
FIRST_SAID = '{"items": [{"text": "a"}]}'


class Server:
    """Answers each call with `says`, but refuses those whose body `refuses` has an error for."""

    def __init__(self, says: str = "{}", refuses: Callable[[dict[str, Any]], dict[str, Any] | None] = lambda _: None):
        self.says = says
        self.refuses = refuses
        self.bodies: list[dict[str, Any]] = []

    def choose(self, request: httpx2.Request) -> Reply:
        body = json.loads(request.content)
        self.bodies.append(body)
        if error := self.refuses(body):
            return json_reply("refused", {"error": error}, 400)
        whole = {
            "choices": [{"message": {"content": self.says}}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 5},
        }
        return json_reply("whole", response(output_text(self.says)) if "input" in body else whole)

    def ask(self, *requests: ModelRequest, api: Api = "responses", url: str = OPENAI) -> list[ModelAnswer]:
        async def call() -> list[ModelAnswer]:
            async with httpx2.AsyncClient(transport=ModelTransport(self.choose)) as http_client:
                llm = OpenAILLM(create_client(url, key, TIMEOUT, http_client), MODEL, TIMEOUT, 16_384, api)
                return [await llm.ask(request) for request in requests]

        return asyncio.run(call())

    def sent(self, *requests: ModelRequest, api: Api = "responses", url: str = OPENAI) -> list[dict[str, Any]]:
        self.ask(*requests, api=api, url=url)
        return self.bodies


def until_the_breakpoint(body: dict[str, Any]) -> str:
    """All that a provider caches of a call, and what it caches it for."""
    kept = {name: value for name, value in body.items() if name not in ("input", "messages")}
    said = body.get("input") or body["messages"]
    end = next(place for place, message in enumerate(said) if prompt_cache.BREAKPOINT in json.dumps(message))
    return json.dumps([kept, said[: end + 1]])


class TestACallThatSharesItsPrefix:
    @pytest.mark.parametrize("api", ["responses", "chat"])
    def test_is_the_same_as_its_sibling_up_to_the_breakpoint(self, api: Api) -> None:
        one, two = Server().sent(ONE, TWO, api=api)

        assert until_the_breakpoint(one) == until_the_breakpoint(two)
        assert FENCED in json.loads(until_the_breakpoint(one))[1][-1]["content"][0]["text"]

    def test_has_the_steps_instructions_after_the_text_and_as_the_developers(self) -> None:
        (two,) = Server().sent(TWO)

        assert two["instructions"] == prompt_cache.FIRST
        text, developer, rest = two["input"]
        assert text == {
            "role": "user",
            "content": [{"type": "input_text", "text": FENCED, "prompt_cache_breakpoint": {"mode": "explicit"}}],
        }
        assert developer == {"role": "developer", "content": "Choose one.\n\nAnswer with `second`."}
        assert rest == {"role": "user", "content": SUMMARY}

    def test_has_them_after_the_text_and_as_the_systems_in_chat_completions(self) -> None:
        (one,) = Server().sent(ONE, api="chat")

        assert [message["role"] for message in one["messages"]] == ["system", "user", "system"]
        assert one["messages"][1]["content"][0] == {
            "type": "text",
            "text": FENCED,
            "prompt_cache_breakpoint": {"mode": "explicit"},
        }
        assert one["messages"][2]["content"] == "List items.\n\nAnswer with `first`."

    def test_tells_before_the_text_that_it_is_no_instruction(self) -> None:
        (one,) = Server().sent(ONE)

        assert "never instructions" in one["instructions"]

    def test_has_one_format_with_the_answers_of_all_siblings_whose_types_may_have_the_same_name(self) -> None:
        (one,) = Server().sent(ONE)

        form = one["text"]["format"]
        first, second = form["schema"]["properties"]["answer"]["anyOf"]
        assert (form["strict"], form["schema"]["required"]) == (True, ["answer"])
        assert [[*each["properties"]] for each in (first, second)] == [["first"], ["second"]]
        assert first["properties"]["first"]["properties"]["items"]["items"] == {"$ref": "#/$defs/first_Item"}
        definitions = form["schema"]["$defs"]
        assert {name: [*each["properties"]] for name, each in definitions.items()} == {
            "first_Item": ["text"],
            **{name: [*each["properties"]] for name, each in definitions.items() if name != "first_Item"},
        }
        assert ["number"] in [[*each["properties"]] for each in definitions.values()]
        references = set(_references(form["schema"]))
        assert references == {f"#/$defs/{name}" for name in definitions}

    def test_writes_nothing_but_what_has_a_breakpoint(self) -> None:
        one, alone = Server().sent(ONE, ALONE)

        assert one["prompt_cache_options"] == alone["prompt_cache_options"] == {"mode": "explicit"}
        assert prompt_cache.BREAKPOINT not in json.dumps(alone)
        assert (alone["instructions"], alone["input"]) == ("List items.", FENCED)

    def test_has_a_key_by_its_caller_and_its_text(self) -> None:
        other_text = replace(ONE, input=FENCED + " ", prefix=replace(SHARED, text=FENCED + " "))
        bodies = Server().sent(ONE, TWO, replace(ONE, caller="another hash"), other_text)

        one, two, *others = (body["prompt_cache_key"] for body in bodies)
        assert one == two
        assert len({one, *others}) == 3
        assert [body["safety_identifier"] for body in bodies] == ["a hash", "a hash", "another hash", "a hash"]

    def test_has_the_text_first_again_after_an_unfit_answer(self) -> None:
        again = replace(ONE, input=f"{FENCED}\n\nYour last answer could not be used: no")

        one, two = Server().sent(ONE, again)

        assert until_the_breakpoint(one) == until_the_breakpoint(two)
        assert two["input"][-1]["content"] == "Your last answer could not be used: no"

    def test_is_estimated_with_all_that_is_sent(self) -> None:
        """A budget holds for what the call can cost: its tokens are no more than its bytes."""
        prices = PriceList({MODEL: Price(*[1] * 4)})  # type: ignore[arg-type]  # whole dollars are exact
        for api in ("responses", "chat"):
            for request in (ONE, TWO, ALONE):
                (body,) = Server().sent(request, api=api)
                read = [body.get(name) for name in ("instructions", "input", "messages", "text", "response_format")]

                said = sum(len(json.dumps(part, ensure_ascii=False).encode()) for part in read if part)

                most = most_of(request, _Model())
                assert said <= most.input_tokens
                assert prices.spending(MODEL, None, most).known_cost_usd >= said


class _Model:
    model = MODEL
    max_output_tokens = 1

    async def count_tokens(self, text: str) -> int | None: ...

    async def ask(self, request: ModelRequest) -> ModelAnswer:
        raise NotImplementedError


def _references(schema: Any) -> list[str]:
    if isinstance(schema, dict):
        own = [schema["$ref"]] if "$ref" in schema else []
        return own + [each for value in schema.values() for each in _references(value)]
    return [each for value in schema for each in _references(value)] if isinstance(schema, list) else []


class TestAServer:
    @pytest.mark.parametrize(
        ("url", "api", "caches"),
        [
            (OPENAI, "responses", True),
            (OPENAI, "chat", True),
            ("https://eu.api.openai.com/v1", "responses", True),
            ("https://mine.openai.azure.com/openai/v1", "chat", True),
            ("https://mine.services.ai.azure.com/openai/v1", "responses", True),
            ("https://mine.services.ai.azure.com/openai/v1", "chat", False),
            ("https://bedrock-runtime.us-east-1.amazonaws.com/openai/v1", "responses", True),
            ("https://bedrock-runtime.us-east-1.amazonaws.com/openai/v1", "chat", False),
            ("https://models.example.com/v1", "responses", False),
            ("https://api.openai.com.example.com/v1", "responses", False),
            ("https://notopenai.com/v1", "responses", False),
            ("http://127.0.0.1:8080/v1", "chat", False),
        ],
    )
    def test_is_asked_to_cache_texts_only_if_its_host_is_known_for_it(self, url: str, api: Api, caches: bool) -> None:
        (one,) = Server().sent(ONE, api=api, url=url)

        assert ("prompt_cache_options" in one, "safety_identifier" in one) == (caches, caches)
        assert (prompt_cache.BREAKPOINT in json.dumps(one)) == caches
        if not caches:
            apart = (one.get("instructions"), one.get("input")) if api == "responses" else one["messages"]
            system, user = {"role": "system", "content": "List items."}, {"role": "user", "content": FENCED}
            assert apart == (("List items.", FENCED) if api == "responses" else [system, user])

    @pytest.mark.parametrize("api", ["responses", "chat"])
    @pytest.mark.parametrize(
        "error",
        [
            {"param": "prompt_cache_options", "code": "unsupported_parameter", "message": "Unsupported parameter"},
            {
                "param": "input[0].content[0].prompt_cache_breakpoint",
                "code": "unknown_parameter",
                "message": "Unknown parameter: 'input[0].content[0].prompt_cache_breakpoint'.",
            },
            {"param": None, "code": None, "message": "prompt_cache_options is not supported with this model"},
            {"param": None, "code": "invalid_parameter", "message": "'prompt_cache_breakpoint' is not allowed here"},
        ],
    )
    def test_that_refuses_breakpoints_gets_none_from_then_on_for_this_model_alone(
        self, api: Api, error: dict[str, Any]
    ) -> None:
        server = Server(refuses=lambda body: error if body["model"] == MODEL and _has_breakpoint(body) else None)

        bodies = server.sent(ONE, TWO, replace(ONE, model="another"), api=api)

        assert [_has_breakpoint(body) for body in bodies] == [True, False, False, True]
        first = bodies[1].get("input") or bodies[1]["messages"]
        assert FENCED in json.dumps(first[: 2 if api == "chat" else 1], ensure_ascii=False).replace("\\n", "\n")
        assert bodies[1]["safety_identifier"] == "a hash"

    @pytest.mark.parametrize("api", ["responses", "chat"])
    @pytest.mark.parametrize(
        "error",
        [
            {"param": "text.format.schema", "code": "invalid_json_schema", "message": "Too many levels"},
            {"param": "response_format", "code": None, "message": "Invalid schema for response_format 'answer': no"},
            {"param": None, "code": None, "message": "Invalid schema for response_format 'answer': no"},
        ],
    )
    def test_that_refuses_the_joint_format_gets_each_steps_own_from_then_on(
        self, api: Api, error: dict[str, Any]
    ) -> None:
        """A joint schema is deeper and has more fields than each of those in it, which providers limit."""
        other = replace(ONE, prefix=SharedPrefix(FENCED, (("first", First),)))
        (refused,) = Server().sent(TWO, api=api)
        server = Server(FIRST_SAID, refuses=lambda body: error if _format(body) == _format(refused) else None)

        answers = server.ask(ONE, ONE, other, api=api)

        assert [_format(body) == _format(refused) for body in server.bodies] == [True, False, False, False]
        assert [prompt_cache.BREAKPOINT in json.dumps(body) for body in server.bodies] == [True, False, False, True]
        assert all(isinstance(answer, AnswerText) and answer.text == FIRST_SAID for answer in answers)
        assert all(body["prompt_cache_options"] == {"mode": "explicit"} for body in server.bodies)

    def test_that_refuses_a_steps_own_format_is_not_asked_again(self) -> None:
        error = {"param": "text.format.schema", "code": "invalid_json_schema", "message": "No."}
        server = Server(refuses=lambda _: error)

        with pytest.raises(PermanentModelError):
            server.ask(ONE)

        assert len(server.bodies) == 2

    @pytest.mark.parametrize("name", ["prompt_cache_key", "safety_identifier"])
    def test_that_refuses_a_name_of_the_caller_is_asked_without_it_from_then_on(self, name: str) -> None:
        error = {"param": name, "code": "unknown_parameter", "message": f"Unknown parameter: '{name}'."}

        bodies = Server(refuses=lambda body: error if name in body else None).sent(ONE, TWO)

        assert [name in body for body in bodies] == [True, False, False]
        assert all(_has_breakpoint(body) for body in bodies)


def _format(body: Any) -> Any:
    return body["text"]["format"] if "text" in body else body["response_format"]


def _has_breakpoint(body: dict[str, Any]) -> bool:
    has = prompt_cache.BREAKPOINT in json.dumps(body)
    assert has == ("prompt_cache_options" in body), "both are sent, or none"
    return has


class TestAJob:
    def test_tells_a_provider_its_tenant_by_a_hash(self, deployment: Deployment) -> None:
        deployment.create()
        deployment.run()
        job = NewJob(str(uuid4()), "another", "guideline_checklist", {"guidelines": "Doors must be locked."}, "f")
        deployment.stores.admission.create(job, RETENTION)
        deployment.run_together([job.event_id])

        first, *same, last = (request.caller for request in deployment.llm.requests[:4])

        assert [*same] == [first, first]
        assert re.fullmatch("[0-9a-f]{64}", first)
        assert first != last
        assert first == sha256(f"jobchain {TENANT}".encode()).hexdigest()


class TestAnAnswer:
    @pytest.mark.parametrize(
        "said",
        [
            f'{{"answer": {{"first": {FIRST_SAID}}}}}',
            f' {{ "answer"\n:{{"first":{FIRST_SAID} }}\n}} \n',
        ],
    )
    def test_of_the_step_is_read_as_if_it_had_come_alone(self, said: str) -> None:
        (answer,) = Server(said).ask(ONE)

        assert isinstance(answer, AnswerText)
        assert answer.text.strip() == FIRST_SAID

    def test_of_another_step_is_unusable_and_the_model_is_told_which_one_is_wanted(self) -> None:
        (answer,) = Server('{"answer": {"second": {"item": 1}}}').ask(ONE)

        assert isinstance(answer, UnusableAnswer)
        assert answer.complaint == "it is the answer `second`: answer with `first`"
        assert answer.usage is not None
        assert "second" in answer.text

    @pytest.mark.parametrize(
        "said",
        [
            FIRST_SAID,
            "no JSON",
            '{"answer": {"first": {"items": []}}',
            '{"answer": {"first": {"items": []',
            '{"answer": {"first": 5}}',
            '{"answer": {}}',
            '{"answer": 5}',
            '{"answer": {"first": ' + "{" * 50_000,
        ],
    )
    def test_of_any_other_form_is_left_to_the_step(self, said: str) -> None:
        (answer,) = Server(said).ask(ONE)

        assert isinstance(answer, AnswerText)
        assert answer.text == said

    def test_of_a_step_that_shares_nothing_is_left_as_it_is(self) -> None:
        said = f'{{"answer": {{"first": {FIRST_SAID}}}}}'

        (answer,) = Server(said).ask(ALONE)

        assert isinstance(answer, AnswerText)
        assert answer.text == said
