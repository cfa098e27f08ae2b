"""Agents: the official client of the Model Context Protocol, in its versions, against the whole stack."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Literal, TypeVar

import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, Request, RequestParams, Result
from pydantic import Field

from jobchain.aws.api_keys import ApiKeyStore
from jobchain.domain import utc_now
from jobchain_api.mcp.messages import CURRENT, TASKS
from local.stack import EmbeddedStack
from tests.e2e.conftest import LIMIT

MODES = ("auto", CURRENT, "legacy")
CHAIN = "guideline_checklist"
DOCUMENT = {"guidelines": "Doors must be locked. Windows should be closed in the evening."}

T = TypeVar("T")


class Task(Result):
    """A task in place of a tool's result."""

    result_type: Literal["task"] = Field(default="task", alias="resultType")
    task_id: str = Field(alias="taskId")
    poll_interval_ms: int = Field(alias="pollIntervalMs")


class TaskParams(RequestParams):
    """The task that is asked for."""

    task_id: str = Field(alias="taskId")


class GetTask(Request[TaskParams, Literal["tasks/get"]]):
    """Asks how a task is."""

    name_param = "taskId"
    method: Literal["tasks/get"] = "tasks/get"
    params: TaskParams


class CancelTask(Request[TaskParams, Literal["tasks/cancel"]]):
    """Cancels a task."""

    name_param = "taskId"
    method: Literal["tasks/cancel"] = "tasks/cancel"
    params: TaskParams


class TaskState(Result):
    """How a task is."""

    task_id: str = Field(alias="taskId")
    status: str
    status_message: str = Field(alias="statusMessage")
    poll_interval_ms: int | None = Field(default=None, alias="pollIntervalMs")
    result: CallToolResult | None = None


class Tasks(ClientExtension):
    """Polls a task until it has ended, as hosts do, and remembers what it was told."""

    identifier = TASKS

    def __init__(self) -> None:
        self.states: list[TaskState] = []

    def claims(self) -> Sequence[ResultClaim[Any]]:
        return (ResultClaim(result_type="task", model=Task, resolve=self._resolve),)

    async def _resolve(self, task: Task, context: ClaimContext) -> CallToolResult:
        async with asyncio.timeout(LIMIT):
            while True:
                request = GetTask(params=TaskParams(taskId=task.task_id))
                state = await context.session.send_request(request, TaskState)
                self.states.append(state)
                if state.result:
                    return state.result
                await asyncio.sleep((state.poll_interval_ms or 0) / 1000)


@pytest.fixture(scope="module")
def keyed() -> Iterator[EmbeddedStack]:
    """A stack that asks for keys."""
    with EmbeddedStack.start(parameters={"AuthMode": "api_key"}) as stack:
        yield stack


@pytest.fixture
def connected(keyed: EmbeddedStack) -> Callable[..., Any]:
    """Connects a client with a key of its own tenant, gives it to a function, and gives that one's result."""
    keys = ApiKeyStore(keyed.client("dynamodb"), keyed.table, utc_now)

    def connect(
        use: Callable[[Client], Awaitable[T]], mode: str = "auto", tenant: str = "acme", *extensions: ClientExtension
    ) -> T:
        secret, _ = keys.create(tenant, tenant)

        async def run() -> T:
            headers = {"Authorization": f"Bearer {secret}"}
            async with httpx2.AsyncClient(headers=headers, timeout=60, trust_env=False) as http:
                transport = streamable_http_client(f"{keyed.api_url}/mcp", http_client=http)
                async with Client(transport, mode=mode, extensions=extensions) as client:
                    return await use(client)

        return asyncio.run(run())

    return connect


async def _finished(client: Client, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """What a client without tasks reads in the end of a job that it starts."""
    started = await client.call_tool(name, arguments)
    job = _content(started)
    async with asyncio.timeout(LIMIT):
        while job["status"] in ("pending", "processing"):
            job = _content(await client.call_tool("get-job", {"event_id": job["event_id"], "wait_seconds": 5}))
    return job


def _content(result: Any) -> dict[str, Any]:
    assert isinstance(result, CallToolResult)
    assert not result.is_error, result.content
    content: dict[str, Any] = result.structured_content
    return content


@pytest.mark.parametrize("mode", MODES)
def test_a_client_finds_the_chains_and_runs_one(connected: Callable[..., Any], mode: str) -> None:
    async def use(client: Client) -> tuple[list[str], dict[str, Any]]:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        return tools, await _finished(client, CHAIN, DOCUMENT)

    tools, job = connected(use, mode)

    assert tools == ["guideline_checklist", "extract_actions", "compare_guidelines", "get-job", "cancel-job"]
    assert job["status"] == "completed"
    assert job["progress"] == "completed, 3 of 3 steps completed"
    assert job["result"].keys() >= {"summary", "checklist", "diagram"}


def test_a_client_that_reads_tasks_gets_the_result_in_one_call(connected: Callable[..., Any]) -> None:
    tasks = Tasks()

    async def use(client: Client) -> CallToolResult:
        result = await client.call_tool(CHAIN, DOCUMENT)
        assert isinstance(result, CallToolResult)
        return result

    result = connected(use, CURRENT, "acme", tasks)

    assert _content(result)["result"].keys() >= {"summary", "checklist", "diagram"}
    assert {state.status for state in tasks.states} <= {"working", "completed"}
    assert tasks.states[-1].status_message == "completed, 3 of 3 steps completed"


def test_a_task_is_cancelled(connected: Callable[..., Any]) -> None:
    async def use(client: Client) -> str:
        made = await client.session.call_tool("compare_guidelines", {"first": "A.", "second": "B."}, allow_claimed=True)
        assert isinstance(made, Task)
        params = TaskParams(taskId=made.task_id)
        await client.session.send_request(CancelTask(params=params), Result)
        async with asyncio.timeout(LIMIT):
            while True:
                state = await client.session.send_request(GetTask(params=params), TaskState)
                # A worker that has begun ends the job before its next step.
                if state.status != "working":
                    return state.status
                await asyncio.sleep(0.1)

    assert connected(use, CURRENT, "acme", Tasks()) in ("cancelled", "completed")


@pytest.mark.parametrize("mode", MODES)
def test_a_model_is_told_what_is_wrong_with_its_call(connected: Callable[..., Any], mode: str) -> None:
    async def use(client: Client) -> Any:
        return await client.call_tool(CHAIN, {"guidelines": "  "})

    result = connected(use, mode)

    assert result.is_error
    assert result.content[0].text.startswith("guidelines: ")


@pytest.mark.parametrize("mode", MODES)
def test_an_unknown_tool_is_an_error_of_the_protocol(connected: Callable[..., Any], mode: str) -> None:
    async def use(client: Client) -> None:
        await client.call_tool("no_such_tool", {})

    with pytest.raises((MCPError, ExceptionGroup)) as raised:
        connected(use, mode)

    assert "there is no such tool" in str(_only(raised.value))


def test_a_job_of_another_tenant_is_not_found(connected: Callable[..., Any]) -> None:
    async def start(client: Client) -> str:
        started: str = _content(await client.call_tool(CHAIN, DOCUMENT))["event_id"]
        return started

    async def read(client: Client) -> tuple[Any, Any]:
        return (
            await client.call_tool("get-job", {"event_id": event_id}),
            await client.call_tool("cancel-job", {"event_id": event_id}),
        )

    event_id = connected(start)
    answers = connected(read, "auto", "other")

    assert [answer.is_error for answer in answers] == [True, True]
    assert all("there is no job" in answer.content[0].text for answer in answers)


def _only(error: BaseException) -> BaseException:
    """The one error in groups of one."""
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    return error
