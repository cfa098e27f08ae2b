"""Log lines of all functions of a stack, in the order of their times: those of one job, or errors."""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jobchain_cli.stack import Stack
from jobchain_cli.words import in_one_line

_FUNCTIONS = "AWS::Lambda::Function"

_LEVELS = ("ERROR", "CRITICAL")
# https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html#platform-report
_REPORT, _SUCCESS = "platform.report", "success"
_ERRORS = (
    f'{{ ($.level = "{_LEVELS[0]}") || ($.level = "{_LEVELS[1]}") || '
    f'(($.type = "{_REPORT}") && ($.record.status != "{_SUCCESS}")) }}'
)

# What the line shows in its own columns, or what is the same in all lines, or of no use to a reader.
_SHOWN = frozenset({"timestamp", "level", "message", "errorMessage", "service", "event_id", "location", "tenant"})
_HIDDEN = frozenset(
    {
        "cold_start",
        "function_arn",
        "function_memory_size",
        "function_name",
        "function_request_id",
        "request_id",
        "requestId",
        "xray_trace_id",
        "message_id",
        "log_group",
        "_aws",
    }
)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a function's log. `fields` is what its JSON says; empty for a line that is no JSON object.

    `function` is the name in the template, such as `WorkerFunction`.
    """

    group: str
    function: str
    at: datetime
    text: str
    fields: Mapping[str, Any]

    @property
    def service(self) -> str:
        """The function that wrote it, such as `worker`; of a line that does not say so, its name in the template."""
        return str(self.fields.get("service") or self.function)

    @property
    def is_error(self) -> bool:
        """Whether it tells of an error, or of an invocation that crashed or ran out of time."""
        record = self.fields.get("record")
        status = record.get("status", _SUCCESS) if isinstance(record, dict) else _SUCCESS
        return self.fields.get("level") in _LEVELS or (self.fields.get("type") == _REPORT and status != _SUCCESS)


def groups(stack: Stack) -> dict[str, str]:
    """The log groups of all functions of a stack, by their names in the template. Raises ClientError, BotoCoreError."""
    return {name: f"/aws/lambda/{function}" for name, function in sorted(stack.resources(_FUNCTIONS).items())}


def lines(stack: Stack, text: str, since: datetime) -> list[Line]:
    """The lines that contain `text`, from `since` on, of all functions, the oldest first.

    A group that does not exist has none: a function's first line may create it. Raises ClientError, BotoCoreError.
    """
    # In quotes it is one term: a hyphen at the start of a word would exclude the lines that contain it.
    # https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html
    # Some emulators ignore the pattern, and give all lines.
    return [line for line in _lines(stack, groups(stack), f'"{text}"', since) if text in line.text]


def errors(stack: Stack, since: datetime, function: str | None = None) -> list[Line]:
    """The lines of errors from `since` on, of all functions or of the one with this name in the template.

    Those are lines of the level ERROR, and the platform's reports of invocations that crashed or ran out of time.
    Raises ClientError, BotoCoreError.
    """
    wanted = {name: group for name, group in groups(stack).items() if function in (None, name)}
    return [line for line in _lines(stack, wanted, _ERRORS, since) if line.is_error]


def _lines(stack: Stack, among: Mapping[str, str], pattern: str, since: datetime) -> list[Line]:
    client = stack.client("logs")

    def read(function: str) -> list[Line]:
        return list(_read(client, function, among[function], pattern, since))

    with ThreadPoolExecutor(max(1, len(among))) as pool:
        found = [line for part in pool.map(read, among) for line in part]
    # Lines of the same millisecond stay in the order of their log.
    return sorted(found, key=lambda line: line.at)


def _read(client: Any, function: str, group: str, pattern: str, since: datetime) -> Iterator[Line]:
    wanted = {"logGroupName": group, "filterPattern": pattern, "startTime": int(since.timestamp() * 1000)}
    pages = client.get_paginator("filter_log_events").paginate(**wanted)
    try:
        for page in pages:
            for event in page["events"]:
                yield _line(group, function, event["timestamp"], event["message"])
    except client.exceptions.ResourceNotFoundException:
        return


def _line(group: str, function: str, milliseconds: int, message: str) -> Line:
    text = message.rstrip("\n")
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        fields = None
    fields = fields if isinstance(fields, dict) else {}
    return Line(group, function, _moment(fields) or datetime.fromtimestamp(milliseconds / 1000, UTC), text, fields)


def _moment(fields: Mapping[str, Any]) -> datetime | None:
    """When the function wrote the line; CloudWatch's own time may be that of a batch of lines."""
    try:
        found = datetime.fromisoformat(str(fields["timestamp"]))
    except (KeyError, ValueError):
        return None
    return found.astimezone(UTC) if found.tzinfo else None


# --- in words --------------------------------------------------------------------------------------------------------


def readable(line: Line) -> str:
    """A line in words: time, function, level, message, and the other fields with their names."""
    at = f"{line.at:%Y-%m-%d %H:%M:%S}.{line.at.microsecond // 1000:03d}"
    if not line.fields:
        return in_one_line(f"{at}  {line.service}  {line.text}")
    level = line.fields.get("level", "")
    # The runtime's own lines of an exception have an errorMessage, the platform's reports a type.
    message = next((line.fields[name] for name in ("message", "errorMessage", "type") if line.fields.get(name)), "")
    # What is empty, zero or false says nothing.
    others = [
        f"{name}={_value(value)}"
        for name, value in line.fields.items()
        if name not in _SHOWN | _HIDDEN and value not in (None, "", 0, message)
    ]
    start = f"{at}  {in_one_line(line.service):<11} {in_one_line(level):<7} {in_one_line(_value(message))}"
    return "  ".join([start.rstrip(), in_one_line(" ".join(others))]).rstrip()


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def as_json(line: Line) -> dict[str, Any]:
    """A line for machines: its fields, or its text as `message`, and the name of its log group."""
    fields = dict(line.fields) or {"timestamp": line.at.isoformat(timespec="milliseconds"), "message": line.text}
    return {**fields, "log_group": line.group}
