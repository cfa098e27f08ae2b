"""Tells on standard error how the calls of a run go on."""

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Lock, Thread
from typing import TextIO

from jobchain.errors import ModelError
from jobchain.llm import LLM, AnswerText, FailedAnswer, ModelAnswer, ModelRequest, UnusableAnswer
from jobchain.testing import Call
from jobchain_cli.words import in_one_line
from jobchain_worker.call_trace import CallTrace

LIVE_SECONDS = 0.2
"""The seconds between two looks at an answer that arrives, on a terminal."""

TOLD_SECONDS = 4.0
"""The same where no terminal shows it."""

_CLEAR = "\r\x1b[K"


class Progress:
    """A line for each call that has ended, and one for those that have not."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._live = out.isatty()
        self._open: dict[str, CallTrace | None] = {}
        self._lock = Lock()

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Shows the answers that arrive for as long as the context lasts."""
        ended = Event()
        thread = Thread(target=self._look, args=(ended,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self._print("", end="")

    def begin(self, step: str) -> None:
        """A call has begun."""
        with self._lock:
            self._open[step] = None

    def watch(self, request: ModelRequest, trace: CallTrace) -> None:
        """The answer of a call that has begun arrives in this trace."""
        with self._lock:
            self._open[request.step] = trace

    def end(self, step: str, how: str) -> None:
        """A call has ended."""
        with self._lock:
            self._open.pop(step, None)
        self.tell(f"{step}: {how}")

    def tell(self, line: str) -> None:
        """Prints a line."""
        self._print(in_one_line(line))

    def _look(self, ended: Event) -> None:
        while not ended.wait(LIVE_SECONDS if self._live else TOLD_SECONDS):
            if line := self._line():
                if self._live:
                    self._print(line[: shutil.get_terminal_size().columns - 1], end="")
                else:
                    self._print(line)

    def _line(self) -> str:
        with self._lock:
            running = dict(self._open)
        return in_one_line("; ".join(f"{step}: {_arrived(trace)}" for step, trace in running.items()))

    def _print(self, line: str, end: str = "\n") -> None:
        with self._lock:
            self._out.write(f"{_CLEAR if self._live else ''}{line}{end}")
            self._out.flush()


def _arrived(trace: CallTrace | None) -> str:
    """What has come of an answer."""
    if trace is None or trace.answer is None:
        return "waiting for the model"
    tail = " ".join(trace.answer.text()[-60:].split())
    return f"{trace.answer.tokens} tokens … {tail}" if tail else f"{trace.answer.tokens} tokens"


class WatchedLLM:
    """A model whose calls are told of and kept."""

    def __init__(self, llm: LLM, progress: Progress) -> None:
        self._llm = llm
        self._progress = progress
        self.calls: list[Call] = []

    @property
    def model(self) -> str:
        """See `jobchain.llm.LLM`."""
        return self._llm.model

    @property
    def max_output_tokens(self) -> int:
        """See `jobchain.llm.LLM`."""
        return self._llm.max_output_tokens

    async def count_tokens(self, text: str) -> int | None:
        """See `jobchain.llm.LLM`."""
        return await self._llm.count_tokens(text)

    async def ask(self, request: ModelRequest) -> ModelAnswer:
        """See `jobchain.llm.LLM`."""
        self._progress.begin(request.step)
        started = time.monotonic()
        try:
            answer = await self._llm.ask(request)
        except ModelError as error:
            self.calls.append(Call(request.step, request, None))
            self._progress.end(request.step, f"{error}{f': {cause}' if (cause := error.report.cause) else ''}")
            raise
        self.calls.append(Call(request.step, request, _text(answer)))
        self._progress.end(request.step, f"{_how(answer)} after {time.monotonic() - started:.1f} s{_tokens(answer)}")
        return answer


def _text(answer: ModelAnswer) -> str | None:
    return None if isinstance(answer, FailedAnswer) else answer.text


def _how(answer: ModelAnswer) -> str:
    match answer:
        case AnswerText():
            return "answered"
        case UnusableAnswer(complaint=complaint):
            return f"unusable ({complaint})"
        case FailedAnswer(error=error):
            return f"failed ({error})"


def _tokens(answer: ModelAnswer) -> str:
    if answer.usage is None:
        return ""
    return f", {answer.usage.input_tokens} tokens in, {answer.usage.output_tokens} out"


def to_terminal() -> Progress:
    """Progress on standard error."""
    return Progress(sys.stderr)
