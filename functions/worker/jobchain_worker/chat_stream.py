"""Puts a streamed chat completion together again.

https://platform.openai.com/docs/api-reference/chat-streaming
"""

from typing import Any

from jobchain.spending import Usage
from jobchain_worker.assembling import check_size, loads
from jobchain_worker.event_stream import Event
from jobchain_worker.reported_usage import CHAT_USAGE, read_usage

_END = b"[DONE]"

# How many chunks are read at once: as one list, that takes half of the time.
_AT_ONCE = 200

_TEXTS = ("content", "refusal", "reasoning_content", "reasoning")


def joined(content: object) -> object:
    """The text of a message that comes in parts, as Mistral's do; parts of other kinds, such as thoughts, are none."""
    if not isinstance(content, list):
        return content
    parts = [part for part in content if isinstance(part, dict) and part.get("type") == "text"]
    return "".join(part["text"] for part in parts if isinstance(part.get("text"), str))


class ChatStream:
    """See `Assembler`. Chunks are kept as they came until there are enough of them, or the answer ends."""

    def __init__(self) -> None:
        self.tokens = 0
        self.complete = False
        self._chunks: list[bytes] = []
        self._last: dict[str, Any] = {}
        self._whole: dict[str, Any] = {}
        self._texts: dict[str, list[str]] = {name: [] for name in _TEXTS}
        self._arguments: dict[int, list[str]] = {}
        self._finish: str | None = None
        self._size = 0

    def take(self, event: Event) -> None:
        """See `Assembler`."""
        data = event.data
        if data.startswith(_END):
            self.complete = True
            return
        self._chunks.append(b'{"error":%b}' % data if event.name == b"error" and b'"error"' not in data else data)
        begun = self.tokens > 0
        if begun:
            self.tokens += 1
        # In a text, quotation marks are escaped.
        if not begun or b'"error"' in data or len(self._chunks) == _AT_ONCE:
            self._read_chunks()

    def response(self) -> object | None:
        """See `Assembler`."""
        self._read_chunks()
        if "error" in self._whole and not self._begun():
            return {name: value for name, value in self._whole.items() if name != "choices"}
        if "choices" not in self._whole:
            return self._last or None
        if not self.complete and self._finish is None:
            return None
        if not self._whole["choices"]:
            return self._whole
        message = {
            **{name: "".join(parts) for name, parts in self._texts.items() if parts},
            "tool_calls": [{"function": {"arguments": "".join(parts)}} for parts in self._arguments.values()],
        }
        reason = "error" if "error" in self._whole else self._finish
        choice = {**self._whole["choices"][0], "message": message, "finish_reason": reason}
        return {**self._whole, "choices": [choice]}

    def text(self) -> str:
        """See `Assembler`."""
        try:
            self._read_chunks()
        except (ValueError, RecursionError):
            self._chunks.clear()
        return "".join(self._texts["content"])

    def usage(self) -> Usage | None:
        """See `Assembler`."""
        return read_usage(self._whole.get("usage"), CHAT_USAGE)

    def _begun(self) -> bool:
        return self.tokens > 0

    def _read_chunks(self) -> None:
        chunks, self._chunks = self._chunks, []
        for chunk in loads(b"[%b]" % b",".join(chunks)):
            if not isinstance(chunk, dict):
                raise ValueError("not an object")
            self._add(chunk)

    def _add(self, chunk: dict[str, Any]) -> None:
        self._last = chunk
        for name in ("model", "usage", "service_tier", "error"):
            if chunk.get(name):
                self._whole[name] = chunk[name]
        if chunk.get("error"):
            self.complete = True
        choices = chunk.get("choices")
        if not isinstance(choices, list):
            return
        self._whole.setdefault("choices", [])
        for choice in choices:
            if isinstance(choice, dict) and choice.get("index") in (0, None):
                self._add_choice(choice)

    def _add_choice(self, choice: dict[str, Any]) -> None:
        more = {"error": choice["error"]} if choice.get("error") else {}
        self._whole["choices"] = [{**(self._whole["choices"] or [{}])[0], **more}]
        if isinstance(choice.get("finish_reason"), str):
            self._finish = choice["finish_reason"]
        delta = choice.get("delta") or choice.get("message") or {}
        if not isinstance(delta, dict):
            raise ValueError("not an object")
        said = [self._add_text(name, joined(delta.get(name))) for name in _TEXTS]
        if any([*said, self._add_calls(delta.get("tool_calls"))]):
            self.tokens = self.tokens or 1

    def _add_text(self, name: str, text: object) -> bool:
        if not text:
            return False
        if not isinstance(text, str):
            if name == "content":
                raise ValueError("not a text")
            return False
        self._keep(self._texts[name], text)
        return True

    def _add_calls(self, calls: object) -> bool:
        """The arguments of the calls of tools come in pieces, by the number of the call."""
        found = False
        for place, call in enumerate(calls if isinstance(calls, list) else []):
            function = call.get("function") if isinstance(call, dict) else None
            arguments = function.get("arguments") if isinstance(function, dict) else None
            number = call["index"] if isinstance(call, dict) and isinstance(call.get("index"), int) else place
            if isinstance(arguments, str) and arguments:
                self._keep(self._arguments.setdefault(number, []), arguments)
                found = True
        return found

    def _keep(self, parts: list[str], text: str) -> None:
        self._size += len(text)
        check_size(self._size)
        parts.append(text)
