"""Logs: one JSON object a line, with the ids that it concerns, and never a caller's text."""

import logging
import os
import traceback
from pathlib import Path

from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError

__all__ = ["Logger", "create_logger", "describe"]


def create_logger() -> Logger:
    """The process's logger; the service's name and the level come from the environment.

    Libraries log warnings and errors only, at any level: botocore's debug lines hold texts and keys.
    """
    logging.getLogger().setLevel(logging.WARNING)
    logger = Logger(utc=True)
    # Lambda passes every line on, as it would drop metrics with lines of the level INFO, and Powertools follows Lambda.
    logging.getLogger(logger.name).setLevel(os.environ.get("LOG_LEVEL") or logging.INFO)
    return logger


def describe(error: BaseException) -> dict[str, object]:
    """`error` for a log line: its type and where it came from.

    Its message is left out, as that of a library may quote the value that caused it.
    """
    frames = traceback.extract_tb(error.__traceback__)
    cause = error.__cause__ if isinstance(error.__cause__, ClientError) else error
    code = {"code": cause.response["Error"]["Code"]} if isinstance(cause, ClientError) else {}
    return {
        "error": type(error).__name__,
        **code,
        "at": [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames[-5:]],
    }
