"""Answers the protocol's messages: each is one HTTP request, and nothing is remembered between two of them."""

import math
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple

from pydantic import JsonValue

from jobchain.chains.chain import Chain
from jobchain.domain import Job
from jobchain.errors import InvalidRequest, JobchainError, JobIsFinal, JobNotFound, LimitReached, Unavailable
from jobchain_api.auth import Caller
from jobchain_api.mcp.messages import (
    EARLIER,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    MISSING_CAPABILITY,
    SERVER_INFO,
    TASKS,
    VERSIONS,
    McpRequest,
    ProtocolError,
    read_id,
    read_method,
    read_request,
)
from jobchain_api.mcp.tasks import task
from jobchain_api.mcp.tools import CANCEL_JOB, GET_JOB, MOST_WAIT_SECONDS, job_result, refused, tool_list
from jobchain_api.requests import CreateJob
from jobchain_api.service import JobService

_TOOLS_KEPT_MS = 300_000
_INSTRUCTIONS = (
    "Each chain is a tool that starts a job and answers at once with its event_id. Read the job with get-job until its "
    "status is completed, failed or cancelled."
)

_EARLIER_ONLY = {"initialize", "ping"}
_CURRENT_ONLY = {"server/discover", "tasks/get", "tasks/update", "tasks/cancel"}

Result = dict[str, JsonValue]


class McpAnswer(NamedTuple):
    """The answer to a message: an HTTP status, and the message of the answer, None for a notification."""

    status: HTTPStatus
    body: Result | None


class McpEndpoint:
    """Answers messages with `service`, which runs jobs of `chains`."""

    def __init__(
        self,
        service: JobService,
        chains: Mapping[str, Chain],
        version: str,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`version` is the deployment's. `sleep` waits, in seconds, between two reads of a job that is waited for."""
        self._service = service
        self._chains = chains
        self._sleep = sleep
        self._server: Result = {"name": "jobchain", "title": "Jobchain", "version": version}
        self._methods: Mapping[str, Callable[[Caller, McpRequest], Result]] = {
            "initialize": self._initialize,
            "server/discover": self._discover,
            "ping": lambda _caller, _request: {},
            "tools/list": self._list_tools,
            "tools/call": self._call_tool,
            "tasks/get": self._get_task,
            "tasks/update": self._update_task,
            "tasks/cancel": self._cancel_task,
        }

    def answer(self, caller: Caller, message: Mapping[str, JsonValue], headers: Mapping[str, str]) -> McpAnswer:
        """The answer to a message of `caller`. Raises Unavailable."""
        message_id = None
        try:
            message_id = read_id(message)
            if message_id is None:
                read_method(message)
                return McpAnswer(HTTPStatus.ACCEPTED, None)
            request = read_request(message, headers)
        except ProtocolError as error:
            return McpAnswer(error.status, error.body(message_id))
        try:
            result = self._method(request)(caller, request)
        except ProtocolError as error:
            # Clients of earlier versions read an error's message only with this status.
            return McpAnswer(error.status if request.current else HTTPStatus.OK, error.body(request.id))
        if request.current:
            result = {"resultType": "complete", **result, "_meta": {SERVER_INFO: self._server}}
        return McpAnswer(HTTPStatus.OK, {"jsonrpc": "2.0", "id": request.id, "result": result})

    def _method(self, request: McpRequest) -> Callable[[Caller, McpRequest], Result]:
        found = self._methods.get(request.method)
        if found is None or request.method in (_EARLIER_ONLY if request.current else _CURRENT_ONLY):
            raise ProtocolError(METHOD_NOT_FOUND, "there is no such method in this version of the protocol")
        return found

    # --- the server --------------------------------------------------------------------------------

    def _initialize(self, _caller: Caller, request: McpRequest) -> Result:
        asked = request.params.get("protocolVersion")
        return {
            "protocolVersion": asked if asked in EARLIER else EARLIER[0],
            "capabilities": {"tools": {}},
            "serverInfo": self._server,
            "instructions": _INSTRUCTIONS,
        }

    def _discover(self, _caller: Caller, _request: McpRequest) -> Result:
        return {
            "supportedVersions": [*VERSIONS],
            "capabilities": {"tools": {}, "extensions": {TASKS: {}}},
            "instructions": _INSTRUCTIONS,
            "ttlMs": _TOOLS_KEPT_MS,
            "cacheScope": "private",
        }

    # --- tools -------------------------------------------------------------------------------------

    def _list_tools(self, _caller: Caller, request: McpRequest) -> Result:
        tools: Result = {"tools": tool_list(self._chains)}
        return {**tools, "ttlMs": _TOOLS_KEPT_MS, "cacheScope": "private"} if request.current else tools

    def _call_tool(self, caller: Caller, request: McpRequest) -> Result:
        name, arguments = request.params.get("name"), request.params.get("arguments", {})
        if not isinstance(arguments, dict):
            raise ProtocolError(INVALID_PARAMS, "arguments: must be an object")
        try:
            if name == GET_JOB:
                return self._result(self._awaited(caller, arguments))
            if name == CANCEL_JOB:
                return self._result(self._cancelled(caller, _event_id(arguments)))
            if isinstance(name, str) and name in self._chains:
                return self._start(caller, name, arguments, takes_tasks=request.takes_tasks)
        except (Unavailable, ProtocolError):
            raise
        except InvalidRequest as error:
            reasons = (f"{where.removeprefix('payload.')}: {why}" for where, why in error.errors.items())
            return refused("; ".join(reasons))
        except LimitReached as error:
            return refused(f"{error}; try again in {error.retry_after.total_seconds():.0f} seconds")
        except JobchainError as error:
            return refused(str(error))
        raise ProtocolError(INVALID_PARAMS, "name: there is no such tool, see tools/list")

    def _start(self, caller: Caller, name: str, arguments: Result, *, takes_tasks: bool) -> Result:
        job = self._service.submit(caller, CreateJob(job_name=name, payload=arguments), None).job
        retry_after = self._service.retry_after.of_new(job)
        if takes_tasks:
            return {"resultType": "task", **task(job, self._chains, retry_after)}
        return job_result(job, self._chains, retry_after)

    def _awaited(self, caller: Caller, arguments: Mapping[str, JsonValue]) -> Job:
        """The job that is named, after up to the seconds that are named if it has not ended."""
        event_id, left = _event_id(arguments), _wait_seconds(arguments)
        job = self._service.get(caller, event_id)
        while left > 0 and not job.status.final:
            pause = min(left, max(1, self._service.retry_after.of(job)))
            try:
                # A wait holds a function, of which an account has few: each second counts as a request.
                for _ in range(math.ceil(pause)):
                    caller.count()
            except LimitReached:
                return job
            self._sleep(pause)
            left -= pause
            job = self._service.get(caller, event_id)
        return job

    def _cancelled(self, caller: Caller, event_id: str) -> Job:
        try:
            return self._service.cancel(caller, event_id)
        except JobIsFinal:
            return self._service.get(caller, event_id)

    def _result(self, job: Job) -> Result:
        retry_after = 0 if job.status.final else self._service.retry_after.of(job)
        return job_result(job, self._chains, retry_after)

    # --- tasks -------------------------------------------------------------------------------------

    def _get_task(self, caller: Caller, request: McpRequest) -> Result:
        job = self._job_of_task(caller, request)
        return task(job, self._chains, 0 if job.status.final else self._service.retry_after.of(job))

    def _update_task(self, caller: Caller, request: McpRequest) -> Result:
        """Acknowledges answers. No task asks for any."""
        self._job_of_task(caller, request)
        return {}

    def _cancel_task(self, caller: Caller, request: McpRequest) -> Result:
        self._cancelled(caller, self._job_of_task(caller, request).event_id)
        return {}

    def _job_of_task(self, caller: Caller, request: McpRequest) -> Job:
        if not request.takes_tasks:
            needed: Result = {"requiredCapabilities": {"extensions": {TASKS: {}}}}
            raise ProtocolError(MISSING_CAPABILITY, f"the client must declare the extension {TASKS}", needed)
        task_id = request.params.get("taskId")
        try:
            return self._service.get(caller, task_id if isinstance(task_id, str) else "")
        except JobNotFound:
            raise ProtocolError(INVALID_PARAMS, "taskId: there is no such task") from None


def _event_id(arguments: Mapping[str, JsonValue]) -> str:
    event_id = arguments.get("event_id")
    if not isinstance(event_id, str):
        raise InvalidRequest({"event_id": "must be the text that the chain's tool has answered"})
    return event_id


def _wait_seconds(arguments: Mapping[str, JsonValue]) -> float:
    seconds = arguments.get("wait_seconds", 0)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= MOST_WAIT_SECONDS:
        raise InvalidRequest({"wait_seconds": f"must be a number from 0 to {MOST_WAIT_SECONDS}"})
    return seconds
