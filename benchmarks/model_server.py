"""A model for benchmarks: an OpenAI-compatible server in a process of its own, which answers after a given time.

    python -m benchmarks.model_server --port 9000 --delay 0.5

It answers `POST /v1/responses` with what fits the schema that is asked for, by rules and out of the text that it is
given, as a stream where that is asked for. `GET /count` tells how many calls were answered, `POST /delay` with a number
sets the seconds that each takes. Of texts that are about a numbered door, `GET /calls` tells what became of each step's
calls.
It speaks as much HTTP as the two clients do, and no more: it must not be what limits a measure.
"""

import argparse
import asyncio
import json
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

from local.events import events_of

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_FENCED = re.compile(r"<<<\w+ \w+>>>\n(.*?)\n<<<end", re.DOTALL)
_MARK = re.compile(r"\b[Dd]oor (\d+)\b")
_SENTENCE = re.compile(r"[A-Z][^.!?]*\bmust\b[^.!?]*\.")

_JSON, _EVENTS = b"application/json", b"text/event-stream"

MODEL = "gpt-6-luna"
MOST_ITEMS = 6
USAGE = {
    "input_tokens": 600,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 120,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 720,
}


def answer(schema: str, text: str) -> dict[str, Any]:
    """What the steps of `guideline_checklist` ask for, by the name of the answer's schema. Raises KeyError."""
    fenced = _FENCED.search(text)
    material = fenced[1] if fenced else text
    sentences = [found for paragraph in material.split("\n\n") for found in _SENTENCE.findall(paragraph)]
    obligations = [" ".join(sentence.split()) for sentence in sentences[:MOST_ITEMS]] or [material[:80]]
    nodes = [{"id": f"n{number}", "label": one[:60], "kind": "step"} for number, one in enumerate(obligations)]
    answers: dict[str, dict[str, Any]] = {
        "SummaryAnswer": {"summary": " ".join(obligations[:2])},
        "ChecklistAnswer": {
            "checklist": [
                {"source": one, "text": one[:200], "category": "Rules", "priority": "must"} for one in obligations
            ]
        },
        "DiagramAnswer": {
            "nodes": nodes,
            "edges": [{"source": f"n{one}", "target": f"n{one + 1}", "label": ""} for one in range(len(nodes) - 1)],
        },
    }
    return answers[schema]


def respond(request: dict[str, Any]) -> dict[str, Any]:
    """https://platform.openai.com/docs/api-reference/responses/object"""
    said = json.dumps(answer(request["text"]["format"]["name"], request["input"]))
    content = [{"type": "output_text", "text": said, "annotations": []}]
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 0,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "model": MODEL,
        "output": [{"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": content}],
        "parallel_tool_calls": False,
        "tool_choice": "none",
        "tools": [],
        "usage": USAGE,
    }


@dataclass(frozen=True, slots=True)
class StepCalls:
    """What became of the calls for one step of one job."""

    job: int
    step: str
    """The name of the answer's schema."""
    answered: int
    cut: int
    """Calls whose caller was gone before its answer came."""


class _State:
    def __init__(self, delay: float) -> None:
        self.delay = delay
        self.answered = 0
        self.calls: dict[tuple[int, str], Counter[str]] = defaultdict(Counter)

    def count(self, request: dict[str, Any], *, cut: bool) -> None:
        """Counts a call that is over, as one of its job where its text names one."""
        self.answered += 1
        if mark := _MARK.search(request["input"]):
            self.calls[int(mark[1]), request["text"]["format"]["name"]]["cut" if cut else "answered"] += 1


class _Connection(asyncio.Protocol):
    """One client's connection, which is kept; a client asks one thing at a time."""

    def __init__(self, state: _State) -> None:
        self._state = state
        self._received = b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, rest = self._received.partition(b"\r\n\r\n")
        length = int(match[1]) if (match := _LENGTH.search(head)) else 0
        if found and len(rest) >= length:
            self._received = rest[length:]
            self._take(head.split(b" ", 2)[1], rest[:length])

    def _take(self, path: bytes, body: bytes) -> None:
        if path == b"/count":
            self._send(json.dumps(self._state.answered).encode())
        elif path == b"/calls":
            counts = [[*call, count["answered"], count["cut"]] for call, count in self._state.calls.items()]
            self._send(json.dumps(counts).encode())
        elif path == b"/delay":
            self._state.delay = float(body)
            self._send(b"null")
        else:
            request = json.loads(body)
            said = respond(request)
            if request.get("stream"):
                self._answer_later(request, _EVENTS, b"".join(events_of(said)))
            else:
                self._answer_later(request, _JSON, json.dumps(said).encode())

    def _answer_later(self, request: dict[str, Any], kind: bytes, said: bytes) -> None:
        if self._state.delay:
            asyncio.get_running_loop().call_later(self._state.delay, self._answer, request, kind, said)
        else:
            self._answer(request, kind, said)

    def _answer(self, request: dict[str, Any], kind: bytes, said: bytes) -> None:
        self._state.count(request, cut=self._transport.is_closing())
        self._send(said, kind)

    def _send(self, body: bytes, kind: bytes = _JSON) -> None:
        if not self._transport.is_closing():
            head = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n" % (kind, len(body))
            self._transport.write(head + body)


async def serve(port: int, delay: float) -> None:
    """Serves until it is stopped, and prints its port first; 0 takes a free one."""
    state = _State(delay)
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(state), "127.0.0.1", port, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


class ModelServer:
    """A server that runs, as its user sees it."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    @property
    def base_url(self) -> str:
        """What OPENAI_BASE_URL is set to."""
        return f"{self.url}/v1"

    def answered(self) -> int:
        """How many calls it has answered."""
        with urlopen(f"{self.url}/count", timeout=10) as response:  # noqa: S310  # our own
            return int(response.read())

    def calls(self) -> list[StepCalls]:
        """What became of the calls for numbered doors."""
        with urlopen(f"{self.url}/calls", timeout=10) as response:  # noqa: S310  # our own
            return [StepCalls(*one) for one in json.loads(response.read())]

    def set_delay(self, seconds: float) -> None:
        """Has each call take so long from now on."""
        with urlopen(f"{self.url}/delay", str(seconds).encode(), timeout=10):  # noqa: S310  # our own
            pass


@contextmanager
def running(delay: float = 0) -> Iterator[ModelServer]:
    """A server in a process of its own, for as long as the block lasts."""
    command = [sys.executable, "-m", "benchmarks.model_server", "--delay", str(delay)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield ModelServer(int(process.stdout.readline()))
        finally:
            process.terminate()


def ask_many(model: ModelServer, calls: int, connections: int) -> int:
    """Sends this many requests at next to no cost of its own, and returns the number: it measures the server."""
    request = {"input": "Doors must be locked. " * 40, "text": {"format": {"name": "ChecklistAnswer"}}}
    body = json.dumps(request).encode()
    message = b"POST /v1/responses HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    async def ask(times: int) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(model.url).port)
        for _ in range(times):
            writer.write(message)
            head = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            assert length is not None
            await reader.readexactly(int(length[1]))
        writer.close()
        return times

    async def ask_all() -> int:
        return sum(await asyncio.gather(*(ask(calls // connections) for _ in range(connections))))

    return asyncio.run(ask_all())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delay", type=float, default=0)
    options = parser.parse_args()
    asyncio.run(serve(options.port, options.delay))
