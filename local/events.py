"""A whole answer as the events of a stream, in the form of the API that it belongs to."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

CHARACTERS = 40
"""How much of a text one event has. A model's own events have a token each."""

DONE = b"data: [DONE]\n\n"


def events_of(answer: Mapping[str, Any], characters: int = CHARACTERS) -> Iterator[bytes]:
    """The events of a Response or of a ChatCompletion."""
    return completion_events(answer, characters) if "choices" in answer else response_events(answer, characters)


def response_events(response: Mapping[str, Any], characters: int = CHARACTERS) -> Iterator[bytes]:
    """https://platform.openai.com/docs/api-reference/responses-streaming"""
    begun = {**response, "status": "in_progress", "output": [], "usage": None}
    yield _named("response.created", response=begun)
    yield _named("response.in_progress", response=begun)
    for number, item in enumerate(response["output"]):
        for index, part in enumerate(item.get("content") or []):
            place = {"item_id": item.get("id"), "output_index": number, "content_index": index}
            for piece in pieces(part.get("text") or "", characters):
                yield _named("response.output_text.delta", **place, delta=piece)
        yield _named("response.output_item.done", output_index=number, item=item)
    yield _named(f"response.{response['status']}", response=response)


def completion_events(completion: Mapping[str, Any], characters: int = CHARACTERS) -> Iterator[bytes]:
    """https://platform.openai.com/docs/api-reference/chat-streaming"""
    begin = {**completion, "object": "chat.completion.chunk", "usage": None}
    yield _chunk(begin, {"role": "assistant", "content": ""})
    (choice,) = completion["choices"]
    for piece in pieces(choice["message"].get("content") or "", characters):
        yield _chunk(begin, {"content": piece})
    yield _chunk(begin, {}, choice["finish_reason"])
    yield _event({**begin, "choices": [], "usage": completion["usage"]})
    yield DONE


def pieces(text: str, characters: int) -> Sequence[str]:
    """The text in parts of so many characters."""
    return [text[start : start + characters] for start in range(0, len(text), characters)]


def _named(kind: str, **content: object) -> bytes:
    return b"event: %b\n" % kind.encode() + _event({"type": kind, **content})


def _chunk(begin: Mapping[str, Any], delta: Mapping[str, Any], finish: str | None = None) -> bytes:
    return _event({**begin, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def _event(content: Mapping[str, Any]) -> bytes:
    return b"data: %b\n\n" % json.dumps(content).encode()
