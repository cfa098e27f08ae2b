"""Log lines as an operator reads them."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import boto3
import pytest
from botocore.stub import Stubber

from jobchain_cli.job_logs import Line, _line, as_json, errors, lines, readable
from jobchain_cli.stack import Stack

GROUP = "/aws/lambda/jobchain-WorkerFunction-1A2B"
NOW = datetime(2026, 11, 22, 10, 0, 0, 123_000, tzinfo=UTC)
EVENT_ID = "0b6c2f4e-0000-4000-8000-000000000001"
STEP = {
    "level": "INFO",
    "location": "_log:145",
    "message": "step completed",
    "timestamp": "2026-11-22 11:00:00,123+0100",
    "service": "worker",
    "cold_start": True,
    "function_arn": "arn:…",
    "request_id": "4fc92bf2",
    "event_id": EVENT_ID,
    "tenant": "acme",
    "claim": 1,
    "step": "summary",
    "cached_tokens": 0,
    "seconds": 1.5,
}


def line(fields: dict[str, Any] | str, milliseconds: int = 0) -> Line:
    return _line(GROUP, "WorkerFunction", milliseconds, fields if isinstance(fields, str) else json.dumps(fields))


def test_a_line_is_one_line_of_words() -> None:
    assert readable(line(STEP)) == (
        "2026-11-22 10:00:00.123  worker      INFO    step completed  claim=1 step=summary seconds=1.5"
    )


def test_an_exception_and_a_report_of_the_platform_are_lines_too() -> None:
    at = {"timestamp": "2026-11-22T10:00:00.123Z"}
    raised = {**at, "level": "ERROR", "errorMessage": "table_name: Field required", "errorType": "SettingsError"}
    report = {**at, "type": "platform.report", "record": {"status": "timeout"}}

    assert readable(line(raised)).endswith("ERROR   table_name: Field required  errorType=SettingsError")
    assert readable(line(report)).endswith('platform.report  record={"status": "timeout"}')


def test_a_line_that_is_no_json_is_shown_as_it_is() -> None:
    milliseconds = int(NOW.timestamp() * 1000)

    shown = readable(line("Task timed out\x1b[31m after 30 s\n", milliseconds))

    assert shown == "2026-11-22 10:00:00.123 WorkerFunction Task timed out\N{REPLACEMENT CHARACTER}[31m after 30 s"


@pytest.mark.parametrize("hostile", ["a\nb", "a\x1b[2Jb", "a\u202eb"])
def test_no_text_in_a_line_controls_the_terminal(hostile: str) -> None:
    shown = readable(line({**STEP, "message": hostile, "reason": hostile}))

    assert len(shown.splitlines()) == 1
    assert "\x1b" not in shown
    assert "\u202e" not in shown


@pytest.mark.parametrize(
    "fields",
    [
        {"timestamp": "yesterday"},
        {"timestamp": 5},
        {"timestamp": "2026-11-22T10:00:00"},
        {},
        "[1]",
        "5",
        "{",
        "[" * 5000,
    ],
)
def test_a_line_without_a_time_of_its_own_has_that_of_its_storage(fields: dict[str, Any] | str) -> None:
    assert line(fields, int(NOW.timestamp() * 1000)).at == NOW


def test_json_has_all_fields_and_the_log_group() -> None:
    assert as_json(line(STEP)) == {**STEP, "log_group": GROUP}
    assert as_json(line("hello", int(NOW.timestamp() * 1000))) == {
        "timestamp": "2026-11-22T10:00:00.123+00:00",
        "message": "hello",
        "log_group": GROUP,
    }


@pytest.mark.parametrize(
    ("fields", "is_error"),
    [
        ({"level": "ERROR", "message": "record failed"}, True),
        ({"level": "WARNING", "message": "job failed"}, False),
        ({"type": "platform.report", "record": {"status": "timeout"}}, True),
        ({"type": "platform.report", "record": {"status": "success"}}, False),
        ({"type": "platform.report", "record": "?"}, False),
        ("Traceback", False),
    ],
)
def test_errors_are_those_of_the_functions_and_of_the_platform(fields: dict[str, Any] | str, is_error: bool) -> None:
    assert line(fields).is_error is is_error


class OneFunction:
    """A stack with one function."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def client(self, _service: str) -> Any:
        return self._client

    def resources(self, _kind: str) -> dict[str, str]:
        return {"WorkerFunction": "jobchain-WorkerFunction-1A2B"}


class TestReading:
    since = NOW - timedelta(hours=1)

    def asked(self, pattern: str, **more: Any) -> dict[str, Any]:
        start = int(self.since.timestamp() * 1000)
        return {"logGroupName": GROUP, "filterPattern": pattern, "startTime": start, **more}

    def test_follows_pages_that_may_be_empty(self) -> None:
        client = boto3.client("logs")
        event = {"timestamp": 5, "message": json.dumps(STEP), "logStreamName": "s"}
        with Stubber(client) as stub:
            stub.add_response("filter_log_events", {"events": [], "nextToken": "t"}, self.asked(f'"{EVENT_ID}"'))
            stub.add_response("filter_log_events", {"events": [event]}, self.asked(f'"{EVENT_ID}"', nextToken="t"))

            found = lines(cast(Stack, OneFunction(client)), EVENT_ID, self.since)

        assert [one.fields["step"] for one in found] == ["summary"]

    def test_leaves_out_the_other_lines_of_an_emulator_that_gives_all(self) -> None:
        client = boto3.client("logs")
        other = {"timestamp": 5, "message": "START RequestId: 4fc92bf2", "logStreamName": "s"}
        with Stubber(client) as stub:
            stub.add_response("filter_log_events", {"events": [other]}, self.asked(f'"{EVENT_ID}"'))

            assert lines(cast(Stack, OneFunction(client)), EVENT_ID, self.since) == []

    def test_a_log_that_does_not_exist_yet_has_no_lines(self) -> None:
        client = boto3.client("logs")
        with Stubber(client) as stub:
            stub.add_client_error("filter_log_events", "ResourceNotFoundException", "no such group")

            assert lines(cast(Stack, OneFunction(client)), EVENT_ID, self.since) == []

    def test_errors_are_filtered_by_the_service(self) -> None:
        client = boto3.client("logs")
        pattern = (
            '{ ($.level = "ERROR") || ($.level = "CRITICAL") || '
            '(($.type = "platform.report") && ($.record.status != "success")) }'
        )
        with Stubber(client) as stub:
            stub.add_response("filter_log_events", {"events": []}, self.asked(pattern))

            assert errors(cast(Stack, OneFunction(client)), self.since) == []
