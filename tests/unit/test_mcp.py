"""The Model Context Protocol: `POST /mcp`, message by message, as the specification has them."""

from base64 import b64encode
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from aws_lambda_powertools import Logger
from jsonschema import Draft202012Validator

from jobchain.aws.api_keys import ApiKeyStore
from jobchain.aws.request_quotas import RequestQuotas
from jobchain.chains import CHAINS
from jobchain.domain import JobError, Status
from jobchain.errors import LimitReached, Unavailable
from jobchain.limits import Limits
from jobchain_api.auth import ApiKeys, Caller
from jobchain_api.mcp.endpoint import McpEndpoint
from jobchain_api.mcp.messages import CURRENT, EARLIER, TASKS
from jobchain_api.service import JobService
from tests.conftest import TABLE
from tests.deployment import Deployment
from tests.fake_model.answers import SUMMARY
from tests.fakes import FakeClock
from tests.gateway import Answer, Api
from tests.stores import Stores

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

CHAIN = "guideline_checklist"
DOCUMENT: dict[str, object] = {"guidelines": "Lock the door."}
META = "io.modelcontextprotocol/"
UNKNOWN_JOB = "00000000-0000-4000-8000-000000000000"

Send = Callable[..., Answer]


@pytest.fixture
def api(service: JobService, logger: Logger) -> Api:
    return Api(service, logger)


@pytest.fixture
def current(api: Api) -> Send:
    """Sends a request of the current version; `tasks`: of a client that reads tasks."""

    def send(method: str, *, tasks: bool = False, headers: dict[str, str] | None = None, **params: object) -> Answer:
        return api(
            "POST", "/mcp", request(method, tasks=tasks, **params), {**headers_of(method, params), **(headers or {})}
        )

    return send


@pytest.fixture
def earlier(api: Api) -> Send:
    """Sends a request of an earlier version."""

    def send(method: str, **params: object) -> Answer:
        message = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
        return api("POST", "/mcp", message, {"MCP-Protocol-Version": EARLIER[0]})

    return send


def request(method: str, *, tasks: bool = False, **params: object) -> dict[str, Any]:
    capabilities: dict[str, object] = {"extensions": {TASKS: {}}} if tasks else {}
    meta = {f"{META}protocolVersion": CURRENT, f"{META}clientCapabilities": capabilities}
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}


def headers_of(method: str, params: dict[str, Any]) -> dict[str, str]:
    name = params.get("name") or params.get("taskId")
    return {"MCP-Protocol-Version": CURRENT, "Mcp-Method": method, **({"Mcp-Name": str(name)} if name else {})}


def call(
    service: JobService,
    caller: Caller,
    name: str,
    arguments: dict[str, object],
    sleep: Callable[[float], None] = lambda _: pytest.fail("it waited"),
) -> Any:
    """The result of a tool's call; `sleep` waits for a job."""
    message = request("tools/call", name=name, arguments=arguments)
    answer = McpEndpoint(service, CHAINS, "1", sleep).answer(caller, message, headers_of("tools/call", {"name": name}))
    assert answer.body
    return answer.body["result"]


def error_of(answer: Answer) -> tuple[int, int]:
    return answer.status, answer.body["error"]["code"]


class TestTheServer:
    def test_tells_its_versions_and_that_calls_may_be_tasks(self, current: Send) -> None:
        result = current("server/discover").body["result"]

        assert result["supportedVersions"][0] == CURRENT
        assert result["capabilities"] == {"tools": {}, "extensions": {TASKS: {}}}
        assert (result["resultType"], result["cacheScope"]) == ("complete", "private")
        assert result["_meta"][f"{META}serverInfo"]["name"] == "jobchain"

    @pytest.mark.parametrize("version", EARLIER)
    def test_opens_earlier_versions_as_they_are_asked_for(self, earlier: Send, version: str) -> None:
        result = earlier(
            "initialize", protocolVersion=version, capabilities={}, clientInfo={"name": "a", "version": "1"}
        )

        assert result.body["result"]["protocolVersion"] == version
        assert result.body["result"]["capabilities"] == {"tools": {}}

    def test_offers_a_client_of_an_unknown_version_the_newest_that_opens_so(self, earlier: Send) -> None:
        assert earlier("initialize", protocolVersion="2024-11-05").body["result"]["protocolVersion"] == EARLIER[0]

    def test_answers_a_ping_of_an_earlier_version_alone(self, earlier: Send, current: Send) -> None:
        assert earlier("ping").body == {"jsonrpc": "2.0", "id": 7, "result": {}}
        assert error_of(current("ping")) == (404, -32601)

    @pytest.mark.parametrize("method", ["resources/list", "tasks/list", "tools", ""])
    def test_has_no_other_method(self, current: Send, earlier: Send, method: str) -> None:
        assert error_of(current(method)) == (404, -32601)
        assert error_of(earlier(method)) == (200, -32601)

    def test_takes_notifications_and_answers_none(self, api: Api) -> None:
        answer = api("POST", "/mcp", {"jsonrpc": "2.0", "method": "notifications/initialized"})

        assert (answer.status, answer.body) == (202, None)

    @pytest.mark.parametrize("method", ["GET", "DELETE"])
    def test_has_no_stream_and_no_session(self, api: Api, method: str) -> None:
        answer = api(method, "/mcp")

        assert (answer.status, answer.headers["Allow"]) == (405, "POST")

    def test_requires_a_key_as_every_route(
        self, service: JobService, logger: Logger, dynamodb: "DynamoDBClient", clock: FakeClock
    ) -> None:
        keys = ApiKeys(ApiKeyStore(dynamodb, TABLE, clock), RequestQuotas(dynamodb, TABLE, clock), clock)

        answer = Api(service, logger, keys)("POST", "/mcp", request("tools/list"))

        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")

    def test_refuses_pages_of_other_origins(self, api: Api) -> None:
        headers = {"Origin": "https://evil.example", "Host": "127.0.0.1", **headers_of("tools/list", {})}

        assert api("POST", "/mcp", request("tools/list"), headers).status == 403


class TestAMessage:
    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"jsonrpc": "1.0"}, -32600),
            ({"id": None}, -32600),
            ({"id": True}, -32600),
            ({"id": 1.5}, -32600),
            ({"id": {}}, -32600),
            ({"method": 1}, -32600),
            ({"method": None}, -32600),
            ({"params": []}, -32602),
            ({"params": None}, -32602),
            ({"params": {"_meta": 1}}, -32602),
            ({"params": {"_meta": {f"{META}protocolVersion": CURRENT}}}, -32602),
        ],
    )
    def test_that_does_not_fit_is_refused(self, api: Api, changes: dict[str, object], code: int) -> None:
        answer = api("POST", "/mcp", {**request("tools/list"), **changes}, headers_of("tools/list", {}))

        assert error_of(answer) == (400, code)

    def test_with_a_whole_number_written_as_a_fraction_has_that_id(self, api: Api) -> None:
        answer = api("POST", "/mcp", '{"jsonrpc": "2.0", "id": 3.0, "method": "ping"}')

        assert answer.body["id"] == 3

    @pytest.mark.parametrize("body", ["[]", '[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]', "1", '"ping"'])
    def test_is_one_object_and_no_batch(self, api: Api, body: str) -> None:
        assert api("POST", "/mcp", body).status == 422

    @pytest.mark.parametrize("body", ["{", '{"jsonrpc": NaN}', "\ud83d"])
    def test_is_json(self, api: Api, body: str) -> None:
        assert api("POST", "/mcp", body.encode("utf-8", "surrogatepass")).status == 400

    @pytest.mark.parametrize("version", ["1900-01-01", "2099-01-01", "x" * 5000])
    def test_of_another_version_is_told_those_that_there_are(self, api: Api, version: str) -> None:
        message = request("tools/list")
        message["params"]["_meta"][f"{META}protocolVersion"] = version

        answer = api("POST", "/mcp", message, {"MCP-Protocol-Version": version, "Mcp-Method": "tools/list"})

        assert error_of(answer) == (400, -32022)
        assert answer.body["error"]["data"] == {"supported": [CURRENT, *EARLIER], "requested": version[:50]}
        assert answer.body["id"] == 1

    def test_of_an_unknown_version_in_its_header_is_refused(self, api: Api) -> None:
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}

        assert error_of(api("POST", "/mcp", message, {"MCP-Protocol-Version": "2024-11-05"})) == (400, -32022)

    @pytest.mark.parametrize(
        "headers",
        [
            {"MCP-Protocol-Version": "2025-11-25"},
            {"Mcp-Method": "tools/list"},
            {"Mcp-Name": "get-job"},
            {"Mcp-Name": "=?base64?!?="},
            {"Mcp-Name": ""},
        ],
    )
    def test_whose_headers_say_something_else_is_refused(self, current: Send, headers: dict[str, str]) -> None:
        answer = current("tools/call", name=CHAIN, arguments=DOCUMENT, headers=headers)

        assert error_of(answer) == (400, -32020)

    def test_may_have_its_name_in_base64(self, current: Send) -> None:
        name = f"=?base64?{b64encode(CHAIN.encode()).decode()}?="

        assert current("tools/call", name=CHAIN, arguments=DOCUMENT, headers={"Mcp-Name": name}).status == 200


class TestTheTools:
    def test_are_the_chains_in_their_order_and_two_for_jobs(self, current: Send, earlier: Send) -> None:
        result = current("tools/list").body["result"]

        assert [tool["name"] for tool in result["tools"]] == [*CHAINS, "get-job", "cancel-job"]
        assert (result["ttlMs"], result["cacheScope"]) == (300_000, "private")
        assert earlier("tools/list").body["result"] == {"tools": result["tools"]}

    def test_have_valid_schemas(self, current: Send) -> None:
        for tool in current("tools/list").body["result"]["tools"]:
            assert tool["inputSchema"]["type"] == "object"
            Draft202012Validator.check_schema(tool["inputSchema"])
            Draft202012Validator.check_schema(tool["outputSchema"])

    def test_start_jobs_that_are_read_by_their_id(self, current: Send, schemas: dict[str, Any]) -> None:
        started = current("tools/call", name=CHAIN, arguments=DOCUMENT).body["result"]
        job = started["structuredContent"]

        Draft202012Validator(schemas[CHAIN]).validate(job)
        assert (job["status"], job["progress"], started["isError"]) == (
            "pending",
            "pending, 0 of 3 steps completed",
            False,
        )
        assert job["retry_after_seconds"] >= 1
        read = current("tools/call", name="get-job", arguments={"event_id": job["event_id"]}).body["result"]
        assert read["structuredContent"]["event_id"] == job["event_id"]
        Draft202012Validator(schemas["get-job"]).validate(read["structuredContent"])

    def test_start_jobs_for_earlier_versions(self, earlier: Send) -> None:
        started = earlier("tools/call", name=CHAIN, arguments=DOCUMENT).body["result"]

        assert "resultType" not in started
        assert started["structuredContent"]["status"] == "pending"

    def test_show_what_a_job_has_made_and_cost(self, current: Send, ended: Callable[..., str]) -> None:
        event_id = ended()

        result = current("tools/call", name="get-job", arguments={"event_id": event_id}).body["result"]

        assert result["structuredContent"]["status"] == "completed"
        assert result["structuredContent"]["result"]["summary"] == SUMMARY["summary"]
        assert "retry_after_seconds" not in result["structuredContent"]

    def test_show_why_a_job_failed_as_an_error(self, current: Send, ended: Callable[..., str]) -> None:
        event_id = ended(JobError("model_refused", "the model refuses the request"))

        result = current("tools/call", name="get-job", arguments={"event_id": event_id}).body["result"]

        assert result["isError"] is True
        assert result["structuredContent"]["error"] == "model_refused: the model refuses the request"

    def test_cancel_jobs_and_say_how_those_ended_that_have(self, current: Send, ended: Callable[..., str]) -> None:
        started = current("tools/call", name=CHAIN, arguments=DOCUMENT).body["result"]["structuredContent"]

        statuses = [
            current("tools/call", name="cancel-job", arguments={"event_id": event_id}).body["result"]
            for event_id in (started["event_id"], started["event_id"], ended())
        ]

        assert [result["structuredContent"]["status"] for result in statuses] == ["cancelled", "cancelled", "completed"]

    @pytest.mark.parametrize(
        ("name", "arguments", "reason"),
        [
            (CHAIN, {}, "guidelines: is missing: give it"),
            (CHAIN, {"guidelines": 1}, "guidelines: must be a string"),
            (CHAIN, {"guidelines": "a", "more": 1}, "more: unknown field: remove it"),
            (CHAIN, {"guidelines": "a" * 300_000}, "at most 100000 characters"),
            ("get-job", {}, "event_id: must be the text that the chain's tool has answered"),
            ("get-job", {"event_id": 1}, "event_id: must be the text"),
            ("get-job", {"event_id": UNKNOWN_JOB}, "there is no job"),
            ("get-job", {"event_id": "x"}, "malformed event_id"),
            ("get-job", {"event_id": UNKNOWN_JOB, "wait_seconds": 16}, "wait_seconds: must be a number from 0 to 15"),
            ("get-job", {"event_id": UNKNOWN_JOB, "wait_seconds": True}, "wait_seconds"),
            ("get-job", {"event_id": UNKNOWN_JOB, "wait_seconds": "1"}, "wait_seconds"),
            ("cancel-job", {"event_id": UNKNOWN_JOB}, "there is no job"),
        ],
    )
    def test_tell_the_model_what_it_can_fix(
        self, current: Send, name: str, arguments: dict[str, object], reason: str
    ) -> None:
        result = current("tools/call", name=name, arguments=arguments).body["result"]

        assert result["isError"] is True
        assert reason in result["content"][0]["text"]

    @pytest.mark.parametrize("name", ["no_such_tool", None, 1, [], "jobs"])
    def test_are_no_others(self, current: Send, name: object) -> None:
        assert error_of(current("tools/call", name=name, headers={"Mcp-Name": str(name)})) == (400, -32602)

    @pytest.mark.parametrize("arguments", [[], "a", 1, None])
    def test_take_an_object(self, current: Send, arguments: object) -> None:
        assert error_of(current("tools/call", name=CHAIN, arguments=arguments)) == (400, -32602)

    def test_keep_to_the_limits_of_the_key(self, service: JobService) -> None:
        caller = Caller("acme", Limits(jobs_per_minute=1))

        results = [call(service, caller, CHAIN, DOCUMENT) for _ in range(2)]

        assert [result["isError"] for result in results] == [False, True]
        assert "try again in" in results[1]["content"][0]["text"]

    def test_wait_for_a_job_no_longer_than_they_are_asked_to(self, service: JobService) -> None:
        slept: list[float] = []
        event_id = call(service, Caller("local"), CHAIN, DOCUMENT)["structuredContent"]["event_id"]

        arguments = {"event_id": event_id, "wait_seconds": 12.5}
        read = call(service, Caller("local"), "get-job", arguments, slept.append)

        assert read["structuredContent"]["status"] == "pending"
        assert sum(slept) == 12.5
        assert all(pause > 0 for pause in slept)

    def test_wait_for_a_job_only_while_the_key_may_make_a_request_each_second(self, service: JobService) -> None:
        """A call that waits holds one of the account's functions, which all callers and the workers share."""
        slept: list[float] = []
        left = iter(range(4))

        def count() -> None:
            if next(left, None) is None:
                raise LimitReached("requests_per_minute", 4, timedelta(seconds=30), "k")

        caller = Caller("local", count=count)
        event_id = call(service, caller, CHAIN, DOCUMENT)["structuredContent"]["event_id"]

        read = call(service, caller, "get-job", {"event_id": event_id, "wait_seconds": 15}, slept.append)

        assert read["structuredContent"]["status"] == "pending"
        assert sum(slept) <= 4

    def test_of_another_tenant_are_not_found(self, service: JobService) -> None:
        event_id = call(service, Caller("acme"), CHAIN, DOCUMENT)["structuredContent"]["event_id"]

        for name in ("get-job", "cancel-job"):
            assert call(service, Caller("other"), name, {"event_id": event_id})["isError"] is True
        assert call(service, Caller("acme"), "get-job", {"event_id": event_id})["isError"] is False


class TestATask:
    def test_is_made_only_for_clients_that_read_tasks(self, current: Send) -> None:
        made = current("tools/call", tasks=True, name=CHAIN, arguments=DOCUMENT).body["result"]

        assert (made["resultType"], made["status"]) == ("task", "working")
        assert made["pollIntervalMs"] >= 1000
        assert made["ttlMs"] > timedelta(days=1).total_seconds() * 1000
        assert "structuredContent" not in made

    def test_is_working_while_the_job_waits(self, current: Send) -> None:
        task_id = current("tools/call", tasks=True, name=CHAIN, arguments=DOCUMENT).body["result"]["taskId"]

        found = current("tasks/get", tasks=True, taskId=task_id).body["result"]

        assert (found["resultType"], found["taskId"], found["status"]) == ("complete", task_id, "working")
        assert found["statusMessage"].startswith("pending, 0 of 3 steps completed; waiting for queue")

    def test_has_the_result_of_a_job_that_is_completed(self, current: Send, ended: Callable[..., str]) -> None:
        found = current("tasks/get", tasks=True, taskId=ended()).body["result"]

        assert (found["status"], found["result"]["isError"]) == ("completed", False)
        assert found["result"]["structuredContent"]["result"]["summary"] == SUMMARY["summary"]
        assert "pollIntervalMs" not in found

    def test_of_a_job_that_failed_is_completed_with_an_error(self, current: Send, ended: Callable[..., str]) -> None:
        found = current("tasks/get", tasks=True, taskId=ended(JobError("model_refused", "no"))).body["result"]

        assert (found["status"], found["result"]["isError"]) == ("completed", True)

    def test_can_be_cancelled_again_and_again(self, current: Send) -> None:
        task_id = current("tools/call", tasks=True, name=CHAIN, arguments=DOCUMENT).body["result"]["taskId"]

        acknowledged = [current("tasks/cancel", tasks=True, taskId=task_id).body["result"] for _ in range(2)]

        assert [result["resultType"] for result in acknowledged] == ["complete", "complete"]
        found = current("tasks/get", tasks=True, taskId=task_id).body["result"]
        assert (found["status"], "result" in found) == ("cancelled", False)

    def test_takes_answers_that_nobody_asked_for(self, current: Send) -> None:
        task_id = current("tools/call", tasks=True, name=CHAIN, arguments=DOCUMENT).body["result"]["taskId"]

        assert (
            current("tasks/update", tasks=True, taskId=task_id, inputResponses={}).body["result"]["resultType"]
            == "complete"
        )

    @pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
    @pytest.mark.parametrize("task_id", [UNKNOWN_JOB, "x", "a\n"])
    def test_that_does_not_exist_is_an_error(self, current: Send, method: str, task_id: str) -> None:
        headers = {"Mcp-Name": f"=?base64?{b64encode(task_id.encode()).decode()}?="}

        assert error_of(current(method, tasks=True, taskId=task_id, headers=headers)) == (400, -32602)

    @pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
    def test_is_not_shown_to_a_client_that_reads_none(self, current: Send, method: str) -> None:
        answer = current(method, taskId=UNKNOWN_JOB)

        assert error_of(answer) == (400, -32021)
        assert answer.body["error"]["data"] == {"requiredCapabilities": {"extensions": {TASKS: {}}}}

    def test_is_unknown_to_earlier_versions(self, earlier: Send) -> None:
        assert error_of(earlier("tasks/get", taskId=UNKNOWN_JOB)) == (200, -32601)


def test_an_outage_is_a_problem_with_a_time_to_come_back(
    api: Api, service: JobService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> None:
        raise Unavailable("TimeoutError")

    monkeypatch.setattr(service, "submit", fail)

    answer = api(
        "POST", "/mcp", request("tools/call", name=CHAIN, arguments=DOCUMENT), headers_of("tools/call", {"name": CHAIN})
    )

    assert (answer.status, "Retry-After" in answer.headers) == (503, True)


@pytest.fixture
def schemas(current: Send) -> dict[str, Any]:
    return {tool["name"]: tool["outputSchema"] for tool in current("tools/list").body["result"]["tools"]}


@pytest.fixture
def ended(deployment: Deployment, stores: Stores, clock: FakeClock) -> Callable[..., str]:
    """Ends a new job; its id."""

    def end(error: JobError | None = None) -> str:
        event_id = deployment.create()
        if error:
            stores.claims.fail(stores.claim(event_id, clock() + timedelta(minutes=5)), error)
        else:
            assert deployment.run(event_id=event_id).status is Status.COMPLETED
        return event_id

    return end
