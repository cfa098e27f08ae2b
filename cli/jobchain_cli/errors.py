"""What ends a command."""

from enum import IntEnum


class Code(IntEnum):
    """How a command ended, as its exit code: docs/reference/command-line.md."""

    DONE = 0
    ERROR = 1
    USAGE = 2
    FAILED = 3
    CANCELLED = 4
    TIMEOUT = 5
    INTERRUPTED = 130


class CommandError(Exception):
    """The command can't go on; says why, in one line, and what to do."""

    def __init__(self, message: str, code: Code = Code.ERROR) -> None:
        super().__init__(message)
        self.code = code
