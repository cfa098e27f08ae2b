"""Reads the protocol's messages, and checks the headers that repeat parts of them.

A request of the current version carries its version and the client's capabilities. One of an earlier version began
with `initialize`, and is answered without remembering that.
https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http
"""

import binascii
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from pydantic import JsonValue

CURRENT = "2026-07-28"
EARLIER = ("2025-11-25", "2025-06-18", "2025-03-26")
"""Versions that open with `initialize`, the newest first."""

VERSIONS = (CURRENT, *EARLIER)
TASKS = "io.modelcontextprotocol/tasks"
"""The extension for calls that end later: https://github.com/modelcontextprotocol/ext-tasks"""

_META = "io.modelcontextprotocol/"
_VERSION = f"{_META}protocolVersion"
_CAPABILITIES = f"{_META}clientCapabilities"
SERVER_INFO = f"{_META}serverInfo"

INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
HEADER_MISMATCH = -32020
MISSING_CAPABILITY = -32021
UNSUPPORTED_VERSION = -32022

_STATUS = {METHOD_NOT_FOUND: HTTPStatus.NOT_FOUND}

# What the header `Mcp-Name` repeats.
_NAMED_BY = {"tools/call": "name", "tasks/get": "taskId", "tasks/update": "taskId", "tasks/cancel": "taskId"}

MessageId = str | int


class ProtocolError(Exception):
    """A message that can't be answered with a result. Its text holds nothing that the client sent."""

    def __init__(self, code: int, message: str, data: JsonValue = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data

    @property
    def status(self) -> HTTPStatus:
        """The status of the answer to a request of the current version."""
        return _STATUS.get(self.code, HTTPStatus.BAD_REQUEST)

    def body(self, message_id: MessageId | None) -> dict[str, JsonValue]:
        """The error as a message; `message_id` is that of the request, None if it has none that can be read."""
        error: dict[str, JsonValue] = {"code": self.code, "message": str(self)}
        if self.data is not None:
            error["data"] = self.data
        return {"jsonrpc": "2.0", **({} if message_id is None else {"id": message_id}), "error": error}


@dataclass(frozen=True, slots=True)
class McpRequest:
    """A request. `current`: of the current version; `takes_tasks`: its client reads a task in place of a result."""

    id: MessageId
    method: str
    params: Mapping[str, JsonValue]
    current: bool
    takes_tasks: bool = False


def read_id(message: Mapping[str, JsonValue]) -> MessageId | None:
    """The message's id; None if it has none. Raises ProtocolError for one that is neither a text nor a whole number."""
    if "id" not in message:
        return None
    found = message["id"]
    if isinstance(found, float) and found.is_integer():
        found = int(found)  # JSON has one kind of number
    if isinstance(found, bool) or not isinstance(found, str | int):
        raise ProtocolError(INVALID_REQUEST, "id: must be a string or a whole number")
    return found


def read_method(message: Mapping[str, JsonValue]) -> str:
    """The method of a request or a notification. Raises ProtocolError for any other message."""
    if message.get("jsonrpc") != "2.0":
        raise ProtocolError(INVALID_REQUEST, 'jsonrpc: must be "2.0"')
    method = message.get("method")
    if not isinstance(method, str):
        raise ProtocolError(INVALID_REQUEST, "method: must be a string, such as tools/list")
    return method


def read_request(message: Mapping[str, JsonValue], headers: Mapping[str, str]) -> McpRequest:
    """The request in a message that has an id and a method. The names of `headers` are case-insensitive.

    Raises ProtocolError.
    """
    message_id, method = read_id(message), read_method(message)
    assert message_id is not None
    params = message.get("params", {})
    if not isinstance(params, dict):
        raise ProtocolError(INVALID_PARAMS, "params: must be an object")
    meta = params.get("_meta", {})
    if not isinstance(meta, dict):
        raise ProtocolError(INVALID_PARAMS, "params._meta: must be an object")
    if not _is_current(method, meta, headers):
        return McpRequest(message_id, method, params, current=False)
    if missing := [name for name in (_VERSION, _CAPABILITIES) if name not in meta]:
        raise ProtocolError(INVALID_PARAMS, f"params._meta: {' and '.join(missing)} must be given")
    _check_headers(method, params, str(meta[_VERSION]), headers)
    if meta[_VERSION] not in VERSIONS:
        raise _unsupported(str(meta[_VERSION]))
    capabilities = meta[_CAPABILITIES]
    if not isinstance(capabilities, dict):
        raise ProtocolError(INVALID_PARAMS, f"params._meta: {_CAPABILITIES} must be an object")
    extensions = capabilities.get("extensions")
    takes_tasks = isinstance(extensions, dict) and TASKS in extensions
    return McpRequest(message_id, method, params, current=True, takes_tasks=takes_tasks)


def _is_current(method: str, meta: Mapping[str, JsonValue], headers: Mapping[str, str]) -> bool:
    """Whether a request carries its version itself. Raises ProtocolError for a version that is not known."""
    if method == "initialize":
        return False
    if _VERSION in meta:
        return meta[_VERSION] not in EARLIER
    named = headers.get("MCP-Protocol-Version", EARLIER[-1])
    if named not in VERSIONS:
        raise _unsupported(named)
    return named == CURRENT


def _check_headers(method: str, params: Mapping[str, JsonValue], version: str, headers: Mapping[str, str]) -> None:
    expected = {"MCP-Protocol-Version": version, "Mcp-Method": method}
    if name := _NAMED_BY.get(method):
        expected["Mcp-Name"] = str(params.get(name))
    for header, value in expected.items():
        if _decoded(headers.get(header, "")) != value:
            raise ProtocolError(
                HEADER_MISMATCH, f"the header {header} is missing, or says something else than the body"
            )


def _decoded(value: str) -> str:
    """A header's value, which is Base64 between marks where it is not plain ASCII."""
    if not (value.startswith("=?base64?") and value.endswith("?=")):
        return value
    try:
        return b64decode(value[9:-2], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _unsupported(requested: str) -> ProtocolError:
    data: dict[str, JsonValue] = {"supported": [*VERSIONS], "requested": requested[:50]}
    return ProtocolError(UNSUPPORTED_VERSION, f"unsupported protocol version: use {CURRENT}", data)
