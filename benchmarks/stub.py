"""A server that answers as DynamoDB, SQS and OpenAI do, at once and always the same: `python -m benchmarks.stub`.

It keeps nothing, so that a measurement of its callers measures nothing else. It prints its port, and
ends with its input.
"""

import asyncio
import json
import re
import sys
import threading
from functools import cache
from typing import Any

from local.events import events_of

CLAIM = 1
TENANT = "local"
TEXT = "Passwords must be long. They must be stored hashed. " * 20
MODEL = "gpt-6-luna"

_EXPIRES_AT = "1900000000"
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_TARGET = re.compile(rb"x-amz-target: *\w+\.(\w+)", re.IGNORECASE)
_TIME = {"S": "2026-11-22T10:00:00.000Z"}
_ITEM = {"source": "Passwords must be long.", "text": "Make passwords long.", "category": "Rules", "priority": "must"}
_ANSWERS: dict[str, dict[str, Any]] = {
    "SummaryAnswer": {"summary": "Passwords must be long, and stored hashed."},
    "ChecklistAnswer": {"checklist": [_ITEM, {**_ITEM, "text": "Store passwords hashed."}]},
    "DiagramAnswer": {
        "nodes": [
            {"id": "a", "label": "Make passwords long", "kind": "step"},
            {"id": "b", "label": "Store them hashed", "kind": "step"},
        ],
        "edges": [{"source": "a", "target": "b", "label": ""}],
    },
}
_USAGE = {
    "input_tokens": 600,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 120,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 720,
}


def _meta(pk: str) -> dict[str, Any]:
    """A job that has just been claimed."""
    numbers = {"claim": CLAIM, "dispatches": 1, "stalls": 1, "due_shard": 1, "due_at": 1800000000, "lease_until": 1}
    return {
        "pk": {"S": pk},
        "sk": {"S": "META"},
        "tenant": {"S": TENANT},
        "job_name": {"S": "guideline_checklist"},
        "status": {"S": "processing"},
        "fingerprint": {"S": "0" * 64},
        "created_at": _TIME,
        "updated_at": _TIME,
        "started_at": _TIME,
        "created_at_id": {"S": f"{_TIME['S']}#{pk}"},
        "tries": {"M": {}},
        "expires_at": {"N": _EXPIRES_AT},
        **{name: {"N": str(number)} for name, number in numbers.items()},
    }


def _key(pk: str) -> dict[str, Any]:
    """An API key without limits."""
    return {
        "pk": {"S": pk},
        "sk": {"S": "META"},
        "tenant": {"S": TENANT},
        "name": {"S": "benchmark"},
        "created_at": _TIME,
        "limits": {"M": {}},
        "operator": {"BOOL": False},
    }


def _aws(operation: str, body: bytes) -> dict[str, Any]:
    match operation:
        case "UpdateItem":
            return {"Attributes": _meta(json.loads(body)["Key"]["pk"]["S"])}
        case "GetItem":
            pk = json.loads(body)["Key"]["pk"]["S"]
            return {"Item": _key(pk) if pk.startswith("KEY#") else _meta(pk)}
        case "Query":
            pk = json.loads(body)["ExpressionAttributeValues"][":pk"]["S"]
            payload = {"S": json.dumps({"guidelines": TEXT})}
            given = {"pk": {"S": pk}, "sk": {"S": "INPUT"}, "payload": payload, "expires_at": {"N": _EXPIRES_AT}}
            return {"Items": [given, _meta(pk)], "Count": 2, "ScannedCount": 2}
        case "BatchGetItem":
            # Neither breakers nor paces: an account that has just been used for the first time.
            return {"Responses": {name: [] for name in json.loads(body)["RequestItems"]}, "UnprocessedKeys": {}}
        case "SendMessage":
            return {"MessageId": "0b6c2f4e-0000-4000-8000-000000000001", "MD5OfMessageBody": "0" * 32}
    return {}


TOKEN = 4
"""The characters of a token, which is an event of a streamed answer."""


WHOLE = "/whole"
"""In front of the paths of a model that streams no answers."""

_NO_STREAM = {"message": "Unsupported parameter: 'stream'.", "param": "stream", "code": "unsupported_parameter"}


def _answered(head: bytes, body: bytes) -> tuple[bytes, bytes, bytes]:
    """The status, the headers and the body of a model's answer."""
    request = json.loads(body)
    asked = request["text"]["format"]["name"]
    if not request.get("stream"):
        answer = json.dumps(_model(asked)).encode()
        return b"200 OK", _headers(b"application/json", answer), answer
    if f"POST {WHOLE}/".encode() in head:
        refusal = json.dumps({"error": {"type": "invalid_request_error", **_NO_STREAM}}).encode()
        return b"400 Bad Request", _headers(b"application/json", refusal), refusal
    return b"200 OK", b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked", _chunks(asked)


def _headers(kind: bytes, body: bytes) -> bytes:
    return b"Content-Type: %b\r\nContent-Length: %d" % (kind, len(body))


@cache
def _chunks(asked: str) -> bytes:
    """Each event in a chunk of its own, as servers send them."""
    events = events_of(_model(asked), TOKEN)
    return b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in events) + b"0\r\n\r\n"


def _model(asked: str) -> dict[str, Any]:
    said = {"type": "output_text", "text": json.dumps(_ANSWERS[asked]), "annotations": []}
    message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [said]}
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1763805600,
        "model": MODEL,
        "status": "completed",
        "output": [message],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": _USAGE,
    }


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            body = await reader.readexactly(int(length[1])) if length else b""
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
            return
        target = _TARGET.search(head)
        if target:
            answer = json.dumps(_aws(target[1].decode(), body)).encode()
            status, headers = b"200 OK", _headers(b"application/x-amz-json-1.0", answer)
        else:
            status, headers, answer = _answered(head, body)
        writer.write(b"HTTP/1.1 %b\r\n%b\r\n\r\n%b" % (status, headers, answer))


async def _main() -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", 0, limit=2**22)
    print(server.sockets[0].getsockname()[1], flush=True)
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), loop.call_soon_threadsafe(ended.set)), daemon=True).start()
    await ended.wait()


if __name__ == "__main__":
    asyncio.run(_main())
