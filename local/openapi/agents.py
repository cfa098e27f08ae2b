"""What the OpenAPI document says of the Model Context Protocol's messages, whose own schemas are the protocol's."""

from collections.abc import Mapping
from typing import Any

MESSAGE: dict[str, Any] = {
    "title": "Message",
    "description": "A request, or without `id` a notification, of "
    "[JSON-RPC](https://modelcontextprotocol.io/specification/2026-07-28/schema).",
    "type": "object",
    "properties": {
        "jsonrpc": {"const": "2.0"},
        "id": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        "method": {"type": "string"},
        "params": {"type": "object", "properties": {"_meta": {"type": "object"}}},
    },
    "required": ["jsonrpc", "method"],
    "examples": [{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}],
}
_ERROR: dict[str, Any] = {
    "schema": {"type": "object", "required": ["jsonrpc", "error"]},
    "example": {
        "jsonrpc": "2.0",
        "id": 1,
        "error": {"code": -32601, "message": "there is no such method in this version of the protocol"},
    },
}
RESULT: dict[str, Any] = {
    "description": "The result of a request, or the error of one of an earlier version.",
    "content": {
        "application/json": {
            "schema": {"type": "object", "required": ["jsonrpc", "id"]},
            "example": {"jsonrpc": "2.0", "id": 1, "result": {"tools": []}},
        }
    },
}


def with_errors_of_the_protocol(responses: Mapping[int, Any]) -> dict[int, Any]:
    """`responses`, with the protocol's errors added to the problems of status 400, and those of status 404."""
    malformed = responses[400]
    return {
        **responses,
        400: {
            **malformed,
            "description": f"{malformed['description']}; or an error of the protocol",
            "content": {**malformed["content"], "application/json": _ERROR},
        },
        404: {
            "description": "An error of the protocol: there is no such method.",
            "content": {"application/json": _ERROR},
        },
    }
