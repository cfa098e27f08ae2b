"""Logs: one JSON object a line, with the ids of what it is about, and never a caller's text."""

import traceback
from pathlib import Path

from aws_lambda_powertools import Logger

__all__ = ["Logger", "create_logger", "describe"]


def create_logger() -> Logger:
    """The process's logger; the service's name and the level come from the environment."""
    return Logger(log_uncaught_exceptions=False, utc=True)


def describe(error: BaseException) -> dict[str, object]:
    """`error` for a log line: its type and where it came from.

    Its message stays out, as that of a library may quote the value that it stumbled over.
    """
    frames = traceback.extract_tb(error.__traceback__)
    return {
        "error": type(error).__name__,
        "at": [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames[-5:]],
    }
