"""The command line against a server of its own on this machine, with its output in pipes."""

import io
import json
import os
import re
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest
from rich.console import Console

from jobchain_cli import target
from jobchain_cli.__main__ import main
from jobchain_cli.advice import ADVICE, UNKNOWN
from jobchain_cli.errors import Code, CommandError
from jobchain_cli.payloads import PayloadError, values
from jobchain_cli.results import markdown_lines, result_lines
from jobchain_cli.slow import SLOW_SECONDS
from jobchain_cli.texts import SourceError, read
from jobchain_cli.usage import usage_lines
from jobchain_cli.watching import Board, Watched, terminal
from jobchain_cli.words import failure, job_lines, printable, source_lines
from jobchain_client import Conflict, Jobchain
from tests.jobs import USAGE, job_of, raw_attempt, raw_event, raw_events, raw_job, raw_step

EVIL = "[red]a[/red]\x1b[2J\x9b1m\u202eb\ud800"
"""What a model or a server may say: markup, commands for a terminal, a turned line, half a character."""

JOB = raw_job("job-1")
CREATED = {"event_id": "job-1", "status": "pending", "created_at": "2026-11-22T10:00:00.000Z"}


class Said(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


Run = Callable[..., Said]


class FakeApi:
    """Answers each path with what it was told to, the last answer again and again, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, list[tuple[int, bytes, dict[str, str]]]] = {}
        self.requests: list[tuple[str, dict[str, str], Any]] = []

    def says(self, request: str, body: Any, status: int = 200, **headers: str) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers.setdefault(request, []).append((status, content, named))

    def refuses(self, request: str, status: int, kind: str, detail: str, **more: Any) -> None:
        body = {"type": f"urn:jobchain:problem:{kind}", "title": "T", "status": status, "detail": detail, **more}
        self.says(request, body, status)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("Content-Length") or 0)
        content = handler.rfile.read(length)
        request = f"{handler.command} {handler.path}"
        headers = {name.lower(): value for name, value in handler.headers.items()}
        self.requests.append((request, headers, json.loads(content) if content else None))
        said = self.answers.get(request) or self.answers.get(request.partition("?")[0]) or [(404, b"{}", {})]
        status, body, headers_to_send = said.pop(0) if len(said) > 1 else said[0]
        handler.send_response(status)
        for name, value in headers_to_send.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    @property
    def bodies(self) -> list[Any]:
        return [body for _, _, body in self.requests if body is not None]


@pytest.fixture
def served() -> Iterator[tuple[FakeApi, str]]:
    api = FakeApi()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            api.answer(self)

        do_POST = do_DELETE = do_GET  # noqa: N815  # as the library calls them

        def log_message(self, *_arguments: Any) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield api, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def api(served: tuple[FakeApi, str]) -> FakeApi:
    return served[0]


@pytest.fixture
def url(served: tuple[FakeApi, str]) -> str:
    return served[1]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to be in, of a user who has set nothing."""
    for name in ("JOBCHAIN_URL", "JOBCHAIN_API_KEY", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def offline(home: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command where there is no API."""

    def run(*arguments: str) -> Said:
        code = main(arguments)
        return Said(code, *capsys.readouterr())

    return run


@pytest.fixture
def run(offline: Run, url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command where the API is the fake one."""
    monkeypatch.setenv("JOBCHAIN_URL", url)
    return offline


@pytest.fixture
def file(home: Path) -> str:
    (home / "a.md").write_text("Lock doors.")
    return "a.md"


def pipe_in(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def takes_a_job(api: FakeApi, **fields: Any) -> None:
    api.says("POST /jobs", CREATED, 201)
    api.says("GET /jobs/job-1", {**JOB, **fields})


# --- submit ----------------------------------------------------------------------------------------------------------


def test_submit_prints_the_result_alone(run: Run, api: FakeApi, file: str) -> None:
    takes_a_job(api)

    said = run("submit", file)

    assert said == (
        0,
        "Summary\n\nShort.\n\nChecklist\n\n[ ] One\n[ ] Two\n\nDiagram (Mermaid)\n\nflowchart TD\n",
        "Answered by gpt-6-luna: 812 tokens in, 140 out, for $0.000151.\n",
    )
    assert api.bodies == [{"input_text": "Lock doors.", "title": "a.md"}]


def test_submit_prints_json_as_the_api_gave_it(run: Run, api: FakeApi, file: str) -> None:
    takes_a_job(api, brand_new=[1])

    said = run("submit", file, "--json")

    assert json.loads(said.out) == {"source": "a.md", **JOB, "brand_new": [1]}
    assert said.out.count("\n") == 1


def test_submit_prints_markdown(run: Run, api: FakeApi, file: str) -> None:
    takes_a_job(api)

    assert run("submit", file, "--markdown").out == (
        "# a.md\n\n## Summary\n\nShort.\n\n## Checklist\n\n- [ ] One\n- [ ] Two\n\n## Diagram\n\n"
        "```mermaid\nflowchart TD\n```\n"
    )


def test_a_pipe_is_told_of_a_job_that_takes_long(
    run: Run, api: FakeApi, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobchain_cli.watching.TOLD_SECONDS", 0.01)
    api.says("POST /jobs", CREATED, 201)
    steps = [raw_step("summary"), raw_step("checklist", "processing"), raw_step("diagram", "pending")]
    api.says("GET /jobs/job-1", {**JOB, "status": "processing", "steps": steps})
    api.says("GET /jobs/job-1", JOB)

    said = run("submit", file)

    assert said.code == 0
    assert said.out.startswith("Summary")
    assert "jobchain: a.md: processing 1/3 checklist\n" in said.err


def test_submit_reads_a_job_when_it_has_probably_ended(run: Run, api: FakeApi, file: str) -> None:
    api.says("POST /jobs", CREATED, 201, Retry_After="1")
    api.says("GET /jobs/job-1", JOB)

    started = time.monotonic()
    said = run("submit", file)

    assert said.code == 0
    assert time.monotonic() - started >= 1
    assert [request for request, _, _ in api.requests] == ["POST /jobs", "GET /jobs/job-1"]


def test_submit_shows_each_step_if_it_looks_as_often_as_it_is_told(run: Run, api: FakeApi, file: str) -> None:
    api.says("POST /jobs", CREATED, 201, Retry_After="60")
    for _ in range(3):
        api.says("GET /jobs/job-1", {**JOB, "status": "processing"}, Retry_After="60")
    api.says("GET /jobs/job-1", JOB)

    assert run("submit", file, "--poll", "0.1").code == 0
    assert run("watch", "job-1", "--poll", "0.1").code == 0


def test_a_job_is_told_of_before_it_is_read() -> None:
    now = time.monotonic()

    soon, late = (Board([Watched("a.md", "job-1", now + seconds)]).summary() for seconds in (1000, -1))

    assert re.fullmatch(r"a\.md: pending \(expected to end in (1000|9\d\d) s\)", soon)
    assert late == "a.md: pending"


def test_many_jobs_are_told_of_in_one_line() -> None:
    board = Board([Watched("a.md", "job-1"), Watched("b.md", "job-2"), Watched("c.md", "job-3")])
    board.show(0, job_of(status="failed"))
    board.show(1, job_of(status="processing"))

    assert board.summary() == "1/3, 1 failed"


def test_submit_without_watching_prints_the_id(run: Run, api: FakeApi, file: str) -> None:
    takes_a_job(api)

    assert run("submit", file, "--no-watch") == (0, "job-1\n", "")
    assert json.loads(run("submit", file, "--no-watch", "--json").out) == {
        "source": "a.md",
        "event_id": "job-1",
        "replayed": False,
    }


def test_submit_sends_what_it_is_told_to(run: Run, api: FakeApi, file: str) -> None:
    takes_a_job(api)

    run(
        *("submit", file, "--no-watch", "--metadata", "a=b=c", "--metadata", "d=", "--max-cost", "0.25"),
        *(
            "--tier",
            "flex",
            "--flex-seconds",
            "600",
            "--deadline",
            "7200",
            "--idempotency-key",
            "k-1",
            "--api-key",
            "jc_1",
        ),
    )

    ((_, headers, body),) = api.requests
    assert body == {
        "input_text": "Lock doors.",
        "title": "a.md",
        "metadata": {"a": "b=c", "d": ""},
        "max_cost_usd": 0.25,
        "tier": "flex",
        "flex_seconds": 600,
        "deadline_seconds": 7200,
    }
    assert (headers["idempotency-key"], headers["authorization"]) == ("k-1", "Bearer jc_1")


def test_submit_reads_standard_input(run: Run, api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    takes_a_job(api)
    pipe_in(monkeypatch, "\ufeffGrüße".encode())

    assert run("submit", "-", "--markdown").out.startswith("# Standard input\n")
    assert api.bodies == [{"input_text": "Grüße"}]


def test_submit_takes_a_payload(run: Run, api: FakeApi) -> None:
    takes_a_job(api)

    assert run("submit", "--chain", "c", "--payload", '{"text": "a"}', "--no-watch").code == 0
    assert api.bodies == [{"job_name": "c", "payload": {"text": "a"}}]


CHAINS = {
    "chains": [
        {
            "name": name,
            "description": f"Does {name}.",
            "steps": [{"name": "one"}],
            "payload_schema": {"properties": {text: {"type": "string"} for text in texts}, "required": texts[:2]},
        }
        for name, texts in {"extract": ["text"], "compare": ["first", "second", "first_name"]}.items()
    ]
}
TYPED = {
    "properties": {
        "text": {"type": "string"},
        "most": {"type": "integer"},
        "share": {"type": "number"},
        "short": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "level": {"$ref": "#/$defs/Level"},
        "mark": {"enum": [1, 2]},
        "any": {},
    },
    "required": ["text"],
    "$defs": {"Level": {"enum": ["low", "high"], "type": "string"}},
}


def test_submit_puts_a_text_where_the_chain_wants_it(run: Run, api: FakeApi, file: str) -> None:
    takes_a_job(api)
    api.says("GET /chains", CHAINS)

    assert run("submit", file, "--chain", "extract", "--no-watch").code == 0
    assert api.bodies == [{"job_name": "extract", "payload": {"text": "Lock doors."}, "title": "a.md"}]


def test_submit_makes_one_job_of_as_many_texts_as_the_chain_takes(run: Run, api: FakeApi, file: str) -> None:
    takes_a_job(api)
    api.says("GET /chains", CHAINS)
    Path("b.md").write_text("Lock windows.")

    assert run("submit", file, "b.md", "--chain", "compare", "--no-watch").code == 0
    payload = {"first": "Lock doors.", "second": "Lock windows.", "first_name": "a.md"}
    assert api.bodies == [{"job_name": "compare", "payload": payload, "title": "a.md and b.md"}]


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("text=5", "5"),
        ("text=a=b", "a=b"),
        ("most=5", 5),
        ("share=2", 2),
        ("share=0.5", 0.5),
        ("short=true", True),
        ("short=null", None),
        ('tags=["a"]', ["a"]),
        ("level=high", "high"),
        ("mark=2", 2),
        ("any=word", "word"),
        ("any=[1]", [1]),
    ],
)
def test_a_field_that_is_set_has_the_type_of_the_payload(pair: str, value: Any) -> None:
    assert values([pair], TYPED, "typed") == {pair.partition("=")[0]: value}


@pytest.mark.parametrize(
    ("pairs", "told"),
    [
        (["most=many"], "--set most=many: it is of type integer: give JSON, such as 3"),
        (["most=0.5"], "it is of type integer"),
        (["most=true"], "it is of type integer"),
        (["short=yes"], "it is of type boolean or null: give JSON, such as true"),
        (["tags=a"], """it is of type array: give JSON, such as ["a", "b"]"""),
        (["mark=" + "[" * 100_000], "it is of type integer"),
        (["none=1"], "the chain typed has no such field: use one of text, most"),
        (["most=1", "most=2"], "--set most is there twice"),
        (["=1"], "give KEY=VALUE"),
    ],
)
def test_a_field_that_can_not_be_set_is_told_of(pairs: list[str], told: str) -> None:
    with pytest.raises(PayloadError) as error:
        values(pairs, TYPED, "typed")

    assert told in str(error.value)


def test_submit_sets_fields_besides_the_text(run: Run, api: FakeApi, file: str) -> None:
    takes_a_job(api)
    api.says("GET /chains", {"chains": [{**CHAINS["chains"][0], "payload_schema": TYPED}]})

    assert run("submit", file, "--chain", "extract", "--set", "most=5", "--no-watch").code == 0
    assert run("submit", "--chain", "extract", "--set", "text=Lock.", "--no-watch").code == 0
    assert [body["payload"] for body in api.bodies] == [{"text": "Lock doors.", "most": 5}, {"text": "Lock."}]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["submit", "a.md", "--set", "a=b"], "--set goes with --chain"),
        (["submit", "--chain", "c", "--payload", "{}", "--set", "a=b"], "--set goes with --chain, and with texts"),
        (
            ["submit", "a.md", "--chain", "extract", "--set", "a=b"],
            "the chain extract has no such field: use one of text",
        ),
        (["submit"], "name a FILE"),
        (["submit", "-", "-"], "give - once"),
        (["submit", "a.md", "--metadata", "x"], "give KEY=VALUE"),
        (["submit", "a.md", "--json", "--markdown"], "give one of"),
        (["submit", "a.md", "--payload", "{}", "--chain", "extract"], "takes the place of texts"),
        (["submit", "--payload", "{}"], "goes with --chain"),
        (["submit", "--payload", "{", "--chain", "c"], "is not JSON"),
        (["submit", "--payload", "[]", "--chain", "c"], "is no JSON object"),
        (["submit", "a.md", "--chain", "compare"], "takes 2 texts (first, second)"),
        (["submit", "a.md", "--chain", "none"], "there are compare, extract"),
        (["submit", "a.md", "--tier", "fast"], "--tier"),
        (["submit", "a.md", "--api-key", "ä"], "--api-key can't be an API key"),
        (["submit", "a.md", "--url", "nowhere"], "--url is 'nowhere', which can't be used: it has no scheme"),
        (["watch", ".."], "is not the id of a job"),
        (["show", "."], "is not the id of a job"),
        (["list", "--status", "done"], "--status"),
        (["list", "--limit", "0"], "--limit"),
        (["nonsense"], "nonsense"),
        ([], ""),
    ],
)
def test_a_command_that_can_not_be_is_a_usage_error(
    run: Run, api: FakeApi, file: str, arguments: list[str], told: str
) -> None:
    api.says("GET /chains", CHAINS)

    said = run(*arguments)

    assert said.code == Code.USAGE
    assert told in said.err
    assert "Traceback" not in said.err
    assert not api.bodies


# --- several at once -------------------------------------------------------------------------------------------------


@pytest.fixture
def three(run: Run, api: FakeApi, home: Path) -> tuple[str, str, str]:
    """Three files, of which the API takes all but the second."""
    for name in ("a.md", "b.md", "c.md"):
        (home / name).write_text(f"Text {name}.")
    refused = {"type": "urn:jobchain:problem:limit-reached", "title": "T", "status": 429, "detail": "full"}
    made = [{**CREATED, "event_id": f"job-{name}", "replayed": False} for name in ("a", "c")]
    api.says("POST /jobs/batch", {"results": [made[0], {**refused, "request_id": "r-1"}, made[1]]})
    for name in ("a", "c"):
        api.says(f"GET /jobs/job-{name}", raw_job(f"job-{name}", result={"summary": f"Of {name}."}))
    return "a.md", "b.md", "c.md"


def test_several_files_go_in_one_batch_and_what_is_refused_is_told(
    run: Run, api: FakeApi, three: tuple[str, ...]
) -> None:
    said = run("submit", *three, "--idempotency-key", "k")

    assert said == (
        1,
        "=== a.md ===\n\nSummary\n\nOf a.\n\n=== c.md ===\n\nSummary\n\nOf c.\n\n",
        "jobchain: b.md: full (limit-reached, request r-1)\njobchain: 3/3, 1 with an error, $0.000302\n",
    )
    ((batch),) = api.bodies
    assert [(job["input_text"], job["idempotency_key"]) for job in batch["jobs"]] == [
        ("Text a.md.", "k-1"),
        ("Text b.md.", "k-2"),
        ("Text c.md.", "k-3"),
    ]


def test_several_files_are_a_line_of_json_each_in_order(run: Run, three: tuple[str, ...]) -> None:
    lines = [json.loads(line) for line in run("submit", *three, "--json").out.splitlines()]

    assert [line["source"] for line in lines] == list(three)
    assert lines[1]["problem"]["detail"] == "full"
    assert [line.get("status") for line in lines] == ["completed", None, "completed"]


def test_ids_of_several_files_come_in_order(run: Run, three: tuple[str, ...]) -> None:
    assert run("submit", *three, "--no-watch")[:2] == (1, "job-a\njob-c\n")


def test_nothing_is_submitted_if_one_of_the_files_can_not_be_read(run: Run, api: FakeApi, file: str) -> None:
    said = run("submit", file, "missing.md")

    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("jobchain: missing.md: No such file or directory\njobchain: 1 of 2 inputs can't be read")
    assert api.requests == []


# --- how it ended ----------------------------------------------------------------------------------------------------

FAILED = {"status": "failed", "error": {"type": "model_refused", "message": "it said no", "step": "summary"}}


@pytest.mark.parametrize(
    ("fields", "code", "told"),
    [
        (FAILED, Code.FAILED, "the job failed in step summary: model_refused: it said no (job job-1)"),
        ({"status": "cancelled"}, Code.CANCELLED, "the job was cancelled (job job-1)"),
        ({"status": "processing"}, Code.TIMEOUT, "job job-1 is still processing after 0 s (timeout)"),
    ],
)
def test_the_exit_code_says_how_a_job_ended(
    run: Run, api: FakeApi, file: str, fields: dict[str, Any], code: Code, told: str
) -> None:
    takes_a_job(api, **fields)

    said = run("submit", file, "--timeout", "0")

    assert (said.code, said.out) == (code, "")
    assert said.err.splitlines()[0] == f"jobchain: a.md: {told}"
    assert ("What to do: " in said.err) is (fields is FAILED)


@pytest.mark.parametrize(
    ("kind", "step", "commands"),
    [
        (
            "unusable_answer",
            "check.part2",
            ["show job-1 --calls", "fork job-1 --from check --prompt FILE", "fork job-1 --from check --model NAME"],
        ),
        ("budget_exceeded", "summary", ["fork job-1 --from summary --max-cost USD"]),
        ("budget_exceeded", None, []),
        ("deadline_exceeded", None, ["retry job-1"]),
        ("of_a_later_version", "a; rm -rf b", []),
        ("model_not_found", "a; rm -rf b", ["fork job-1 --from 'a; rm -rf b' --model NAME"]),
    ],
)
def test_a_failed_job_says_what_to_do_and_which_commands_do_it(
    run: Run, api: FakeApi, kind: str, step: str | None, commands: list[str]
) -> None:
    error = {"type": kind, "message": "it said no", "step": step}
    api.says("GET /jobs/job-1", {**JOB, "status": "failed", "error": error})

    for said in (run("show", "job-1").out, run("watch", "job-1").err):
        assert f"What to do: {ADVICE.get(kind, UNKNOWN)}" in said
        assert re.findall(r"^(?:jobchain: )? *jobchain ((?:show|retry|fork) .*)$", said, re.MULTILINE) == commands


def test_of_jobs_that_fail_alike_what_to_do_is_said_once(run: Run, api: FakeApi) -> None:
    for name in ("one", "two"):
        api.says(f"GET /jobs/{name}", {**JOB, **FAILED, "event_id": name})

    said = run("watch", "one", "two").err

    assert said.count("it said no") == 2
    assert said.count("What to do: ") == 1


def test_of_several_jobs_the_worst_end_counts(run: Run, api: FakeApi) -> None:
    api.says("GET /jobs/done", JOB)
    api.says("GET /jobs/failed", {**JOB, **FAILED})
    api.says("GET /jobs/cancelled", {**JOB, "status": "cancelled"})

    assert run("watch", "done", "cancelled").code == Code.CANCELLED
    assert run("watch", "done", "cancelled", "failed").code == Code.FAILED
    assert run("watch", "done", "cancelled", "failed", "unknown").code == Code.ERROR


def test_a_problem_is_one_line_with_its_places_and_the_requests_id(run: Run, api: FakeApi, file: str) -> None:
    api.refuses("POST /jobs", 422, "invalid-request", "does not fit", errors={"tier": "no"}, request_id="r-1")

    assert run("submit", file) == (
        1,
        "",
        "jobchain: does not fit; tier: no (invalid-request, request r-1)\n",
    )


def test_ctrl_c_says_how_to_go_on(run: Run, api: FakeApi, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    takes_a_job(api)

    def interrupted(*_arguments: Any, **_options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("jobchain_cli.watching.watch", interrupted)

    said = run("submit", file)

    assert (said.code, said.out) == (Code.INTERRUPTED, "")
    assert said.err.endswith("the jobs continue: jobchain watch job-1\n")


# --- what others wrote -----------------------------------------------------------------------------------------------


def test_nothing_that_a_server_says_commands_the_terminal(run: Run, api: FakeApi, file: str) -> None:
    evil_error = {"type": EVIL, "message": EVIL, "step": EVIL}
    result = {"summary": EVIL, "checklist": [EVIL], EVIL: {EVIL: [EVIL]}, "diagram": EVIL}
    steps = [{**raw_step("x"), "name": EVIL, "model": EVIL}]
    job = raw_job("job-1", job_name=EVIL, result=result, metadata={EVIL: EVIL}, steps=steps)
    takes_a_job(api, **{name: job[name] for name in ("job_name", "result", "metadata", "steps")})
    api.says("GET /jobs/evil", {**job, "status": "failed", "error": evil_error, "event_id": EVIL})
    api.says("GET /jobs", {"jobs": [{**job, "event_id": EVIL, "status": EVIL}], "next_cursor": None})
    api.refuses("GET /stats", 500, EVIL, EVIL, errors={EVIL: EVIL}, request_id=EVIL)
    chain = {"name": EVIL, "description": EVIL, "steps": [{"name": EVIL}]}
    listed = {**chain, "payload_schema": {"properties": {EVIL: {}}, "required": []}}
    api.says("GET /chains", {"chains": [listed], "unusable": [{"name": EVIL, "reason": EVIL}]})
    api.says("POST /jobs/job-1/cancel", {**job, "event_id": EVIL, "status": "cancelled"})

    for command in (
        ["submit", file],
        ["submit", file, "--markdown"],
        ["submit", file, "--json"],
        ["submit", file, "--chain", "x"],
        ["show", "job-1"],
        ["watch", "evil"],
        ["watch", "evil", "job-1", "--markdown"],
        ["show", "evil"],
        ["list"],
        ["list", "--json"],
        ["stats"],
        ["chains"],
        ["chains", "--json"],
        ["cancel", "job-1"],
    ):
        said = run(*command)
        assert not set("\x1b\x9b\u202e\ud800") & set(said.out + said.err), command
        assert "[red]a" in said.out + said.err, command


def test_control_characters_are_replaced() -> None:
    assert printable("a\x1b[2Jb\x9bc\r\n\td é\ud800\u202e") == "a�[2Jb�c�\n\td é��"


def test_progress_takes_no_markup_and_obeys_no_color() -> None:
    board = Board([Watched(EVIL, "job-1"), Watched("b.md", "job-2")])
    board.show(0, job_of(status="processing", steps=[raw_step("one"), raw_step(EVIL, "processing")]))
    out = io.StringIO()

    console = Console(file=out, force_terminal=True, no_color=True, width=120, markup=False, highlight=False)
    console.print(board.render())

    first, second, total = re.sub(r"\x1b\[[02]?m", "", out.getvalue()).splitlines()
    assert first == "… [red]a[/red]�[2J�1m�b� 1/2 [red]a[/red]�[2J�1m�b� processing"
    assert second.split() == ["b.md", "pending"]
    assert total.split() == ["0/2"]


def test_progress_of_one_job_has_a_line_for_each_step() -> None:
    board = Board([Watched("a.md", "job-1")])
    board.show(
        0, job_of(steps=[raw_step("summary"), raw_step("checklist", "processing"), raw_step("diagram", "pending")])
    )
    out = io.StringIO()

    Console(file=out, width=80).print(board.render())

    lines = [line.split() for line in out.getvalue().splitlines()]
    assert lines[0] == ["✓", "summary", "2.0", "s", "completed"]
    assert (lines[1][1], lines[1][-1]) == ("checklist", "processing")
    assert lines[2] == ["diagram", "pending"]


def test_there_is_no_progress_in_a_pipe() -> None:
    assert terminal() is None


CHAINS_RESULT = {
    "actions": [
        {"source": "Ana locks.", "action": "Lock", "owner": "Ana", "due": None, "source_found": True},
        {"source": "Plain.", "action": "Plain.", "source_found": False},
        "Text",
    ],
    "actions_markdown": "| Action |\n| --- |\n",
    "changes": {"added": ["x"], "gone": [], "kept": 3},
    "checklist": ["One"],
    "checklist_items": [
        {"text": "One", "topic": "Doors", "level": "must", "source": "A.", "source_found": False},
        {"text": "Two", "topic": "Keys", "level": "may", "source": "B.", "source_found": True},
        {"text": "Three", "topic": "Doors", "level": None, "source": None, "source_found": None},
        "Four",
    ],
}
ITEM_FIELDS = [
    {"name": "source", "form": "quote", "found": "source_found"},
    {"name": "text", "form": "line"},
    {"name": "topic", "form": "heading"},
    {"name": "level", "form": "choice"},
]
CHAINS_VIEW = [
    {"name": "actions", "form": "records", "fields": [{"name": "action", "form": "line"}]},
    {"name": "actions_markdown", "form": "table", "same_as": "actions"},
    {"name": "checklist", "form": "list", "same_as": "checklist_items"},
    {"name": "checklist_items", "form": "checklist", "fields": ITEM_FIELDS},
    {"name": "not_yet", "form": "text"},
]


def test_a_result_of_any_chain_reads_as_text() -> None:
    assert list(result_lines(CHAINS_RESULT, CHAINS_VIEW)) == [
        *["", "Actions", ""],
        *["- Lock (source: Ana locks., owner: Ana)", "- Plain. (source found: False)", "- Text"],
        *["", "Checklist", "", "[ ] Four"],
        *["", "Doors", "[ ] One (must, source not in the text)", "[ ] Three"],
        *["", "Keys", "[ ] Two (may)"],
        *["", "Changes", "", "Added:", "- x", "Gone: none", "Kept: 3"],
    ]


def test_a_result_of_which_no_form_is_known_reads_as_text_too() -> None:
    assert list(result_lines({"summary": "Short.", "notes": ["One"], "diagram": "flowchart TD"})) == [
        *["", "Summary", "", "Short."],
        *["", "Notes", "", "- One"],
        *["", "Diagram", "", "flowchart TD"],
    ]


@pytest.mark.parametrize(
    "view",
    [["x", None, {}], [{"name": "other", "form": 7, "fields": "x", "same_as": "other"}], [{"name": ["x"]}]],
)
def test_a_view_that_makes_no_sense_hides_nothing(view: list[Any]) -> None:
    assert "One" in list(result_lines({"other": "One"}, view))


def test_a_table_reads_as_its_rows() -> None:
    table = "|  | A&#124;B | Branch |\n| --- | --- | --- |\n| Lock | ✓ | – |\n| Close |  |  |\n"
    view = [{"name": "table", "form": "table"}]

    assert list(result_lines({"table": table}, view))[3:] == ["- Lock (A|B: ✓, Branch: –)", "- Close"]
    assert list(result_lines({"table": "no table"}, view))[3:] == ["no table"]


def test_a_checklist_of_one_heading_goes_without_it() -> None:
    view = [{"name": "list", "form": "checklist", "fields": ITEM_FIELDS}]

    assert list(result_lines({"list": [{"text": "One", "topic": "Doors"}]}, view)) == ["", "List", "", "[ ] One"]


def test_what_a_chain_wrote_as_markdown_is_markdown() -> None:
    lines = "\n".join(markdown_lines(CHAINS_RESULT, "t", CHAINS_VIEW))

    assert lines.startswith(
        "# t\n\n## Actions\n\n| Action |\n| --- |\n\n## Checklist\n\n- [ ] Four\n\n### Doors\n\n- [ ] "
    )


def test_what_a_model_wrote_is_no_markup() -> None:
    summary = "See ![x](https://evil.test/?a) and <img src=x onerror=y>.\nNote: [here](javascript:x), www.evil.test"
    items = [{"text": "<script>x</script>", "source": "**b**"}]

    view = [{"name": "checklist", "form": "checklist", "fields": [{"name": "text", "form": "line"}]}]
    lines = "\n".join(markdown_lines({"summary": summary, "checklist": items}, "t", view))

    for live in ("![", "](", "<img", "<script", "://", "**", "www."):
        assert live not in lines
    assert "Note: " in lines
    assert "\n- [ ] " in lines


def test_names_that_a_model_wrote_are_no_markup() -> None:
    named = {"![x](https://evil.test)": "a", "<img src=x onerror=y>": ["b"]}

    lines = "\n".join(markdown_lines({"changes": named, "rules": [{"text": "One", **named}]}, "t"))

    for live in ("![", "](", "<img", "://"):
        assert live.lower() not in lines.lower()
    assert "Open questions: c" in list(markdown_lines({"changes": {"open_questions": "c"}}, "t"))


def test_a_fence_in_a_diagram_does_not_end_its_own() -> None:
    view = [{"name": "drawing", "form": "diagram"}]
    assert list(markdown_lines({"drawing": "a\n```\nb\n"}, "t", view)).count("```") == 1


def test_who_answered_is_told_with_what_it_took() -> None:
    assert list(source_lines(job_of())) == ["Answered by gpt-6-luna: 812 tokens in, 140 out, for $0.000151."]
    (unpriced,) = source_lines(job_of(cost_usd=None))
    assert unpriced.endswith("140 out, at an unknown price.")
    (free,) = source_lines(job_of(cost_usd=0))
    assert free.endswith("140 out, at no cost.")


def test_a_job_that_did_not_complete_is_told_in_one_line() -> None:
    assert failure(job_of(**FAILED)) == "the job failed in step summary: model_refused: it said no"
    assert failure(job_of(status="cancelled")) == "the job was cancelled"


# --- the other commands ----------------------------------------------------------------------------------------------


def test_list_is_a_table(run: Run, api: FakeApi) -> None:
    titled = {**JOB, "cost_usd": None, "title": "a\x1b[2J.md"}
    api.says("GET /jobs", {"jobs": [JOB, titled], "next_cursor": None})

    said = run("list", "--status", "completed", "--chain", "c", "--limit", "5")

    assert said.out == (
        "EVENT ID  STATUS     CHAIN                TITLE     CREATED (UTC)        USD\n"
        "job-1     completed  guideline_checklist            2026-11-22 10:00:00  0.000151\n"
        "job-1     completed  guideline_checklist  a�[2J.md  2026-11-22 10:00:00  unknown\n"
    )
    assert api.requests[0][0] == "GET /jobs?status=completed&job_name=c&limit=5"


def test_show_prints_the_input_the_prompts_and_the_calls(run: Run, api: FakeApi) -> None:
    evil = "a\x1b[2Jb\n\nc"
    prompt = {
        "step": "summary",
        "instructions": f"Sum up: {evil}",
        "input": evil,
        "same_as_sent": False,
        "problem": None,
    }
    missing = {**dict.fromkeys(prompt), "step": "diagram", "problem": "too long"}
    call = {**raw_attempt("summary"), "finished_at": "2026-11-22T10:00:03.500Z", "cost_usd": 0.25, "effort": "low"}
    parts = {
        "input": {"guidelines": evil, "names": ["x", 1]},
        "prompts": [prompt, missing],
        "failed_attempts": [{**raw_attempt("summary"), "started_at": "2026-11-22T09:59:00.000Z", "estimated": True}],
        "answered_calls": [call],
    }
    api.says("GET /jobs/job-1", {**JOB, **parts})

    said = run("show", "job-1", "--input", "--prompts", "--step", "summary", "--calls")

    asked = parse_qs(urlsplit(api.requests[0][0].removeprefix("GET ")).query)
    assert asked == {"include": ["attempts,input,prompts"], "step": ["summary"]}
    assert '\nInput: guidelines\n\na�[2Jb\n\nc\n\nInput: names\n\n["x", 1]\n' in said.out
    assert "\nPrompt of summary (the chain has changed since: this is not what was sent)\n\nSum up: a�[2Jb" in said.out
    assert "\nPrompt of diagram\n\ntoo long\n" in said.out
    failed, answered = (line.split() for line in said.out.splitlines() if line.startswith("2026-11-22"))
    assert failed[2:5] == ["61.5", "summary", "gpt-6-luna"]
    assert failed[-2:] == ["model_unavailable", "req_5f1c"]
    assert answered[2:] == [
        *("3.5", "summary", "gpt-6-luna", "standard", "low", "812", "0", "0", "140", "0", "0.250000"),
        *("answered", "req_5f1c"),
    ]


def test_show_of_one_step_is_for_prompts(run: Run, api: FakeApi) -> None:
    assert run("show", "job-1", "--step", "summary").code == 2


def test_events_prints_a_line_for_each(run: Run, api: FakeApi) -> None:
    wait = {"reason": "retry", "since": "2026-11-22T10:00:02.000Z", "until": None, "detail": "try 1", "retryable": True}
    failed = raw_event(2, "call.failed", step=f"check{EVIL}", outcome="rate_limited", cause=f"Too\nmany {EVIL}")
    page = raw_events(raw_event(1), failed, raw_event(3, "job.waiting", waiting_for=wait))
    api.says("GET /jobs/job-1/events", page)

    said = run("events", "job-1")

    first, second, third = said.out.splitlines()
    assert first == (
        "2026-11-22 10:00:02.000  step.completed  summary  gpt-6-luna  2.0 s  812 tokens in, 140 out, for $0.000050"
    )
    assert second.startswith("2026-11-22 10:00:02.000  call.failed     check[red]a[/red]")
    assert "rate_limited: Too many" in second
    assert third.startswith("2026-11-22 10:00:02.000  job.waiting     retrying automatically")
    assert "\x1b" not in said.out
    assert (said.code, len(api.requests)) == (Code.DONE, 1)


@pytest.mark.parametrize(
    ("end", "code"), [("completed", Code.DONE), ("failed", Code.FAILED), ("cancelled", Code.CANCELLED)]
)
def test_events_can_be_followed_to_the_end_of_the_job_which_is_the_exit_code(
    run: Run, api: FakeApi, end: str, code: Code
) -> None:
    api.says("GET /jobs/job-1/events", raw_events(raw_event(1)), Retry_After="0")
    api.says("GET /jobs/job-1/events", raw_events(raw_event(2, f"job.{end}"), status=end))

    said = run("events", "job-1", "--follow", "--json", "--poll", "0.1", "--after", "1f3a9c02~0.0~")

    lines = [json.loads(line) for line in said.out.splitlines()]
    assert [line["type"] for line in lines] == ["step.completed", f"job.{end}"]
    assert [line["after"] for line in lines] == ["after-1f3a9c02-1-1", "after-1f3a9c02-1-2"]
    assert said.code == code
    assert [parse_qs(urlsplit(request).query)["after"] for request, _, _ in api.requests] == [
        ["1f3a9c02~0.0~"],
        ["after-1f3a9c02-1-1"],
    ]


def test_events_polls_only_what_it_follows(run: Run) -> None:
    said = run("events", "job-1", "--poll", "1")

    assert said.code == Code.USAGE
    assert "--poll goes with --follow" in said.err


def test_show_prints_the_answers_of_failed_calls_with_the_causes(run: Run, api: FakeApi) -> None:
    answered = {"outcome": "unusable_answer", "cause": "checklist: missing\x1b", "answer": f"{{}}\n{EVIL}"}
    attempts = [raw_attempt("summary"), raw_attempt("checklist", **answered)]
    api.says("GET /jobs/job-1", {**JOB, "failed_attempts": attempts, "answered_calls": []})

    out = run("show", "job-1", "--calls").out

    title = "Answer of the failed call at 10:00:00 UTC, step checklist: unusable_answer"
    assert f"\n{title}\nchecklist: missing\N{REPLACEMENT CHARACTER}\n\n{{}}\n" in out
    assert out.count("Answer of the failed call") == 1
    assert "\x1b" not in out
    assert "Answer of" not in run("show", "job-1").out


def test_fork_makes_a_job_and_prints_its_result(run: Run, api: FakeApi) -> None:
    takes_a_job(api)
    api.says("POST /jobs/a/fork", {"event_id": "job-1", "status": "pending", "created_at": JOB["created_at"]})

    said = run(
        "fork", "a", "--from", "checklist", "--title", "b", "--metadata", "c=d", "--payload", '{"guidelines": "e"}'
    )

    assert "[ ] One" in said.out
    assert api.bodies == [
        {"from_step": "checklist", "payload": {"guidelines": "e"}, "title": "b", "metadata": {"c": "d"}}
    ]
    assert run("fork", "a", "--from", "checklist", "--no-watch").out == "job-1\n"
    assert run("fork", "a", "--from", "checklist", "--payload", "[]").code == 2
    assert run("fork", "a").code == 2


def test_show_says_what_a_job_was_forked_from(run: Run, api: FakeApi) -> None:
    steps = [{**raw_step("summary"), "copied": True, "started_at": None, "finished_at": None}]
    api.says("GET /jobs/job-1", {**JOB, "forked_from": {"event_id": "a", "from_step": "b\x1b"}, "steps": steps})

    out = run("show", "job-1").out

    assert "  forked from a, at b�\n" in out
    assert "  summary: completed, copied\n" in out


def test_show_says_which_replay_a_job_is_a_part_of(run: Run, api: FakeApi) -> None:
    api.says("GET /jobs/job-1", {**JOB, "forked_from": {"event_id": "a", "from_step": None, "replay": "r\x1b1"}})

    assert "  forked from a, in replay r\N{REPLACEMENT CHARACTER}1\n" in run("show", "job-1").out


def test_list_leaves_replays_out_unless_they_are_asked_for(run: Run, api: FakeApi) -> None:
    api.says("GET /jobs", {"jobs": [], "next_cursor": None})

    run("list")
    run("list", "--replays")

    asked = [parse_qs(urlsplit(request.removeprefix("GET ")).query) for request, _, _ in api.requests]
    assert [query.get("replays") for query in asked] == [None, ["true"]]


def test_usage_and_stats_tell_the_part_of_replays(run: Run, api: FakeApi) -> None:
    spent = {"usage": USAGE, "calls": 3, "retries": 0, "cost_usd": 0.5, "estimated": None}
    ended = {"completed": 1, "failed": 0, "cancelled": 0}
    replays = {**ended, "created": 2, **spent}
    day = {"date": "2026-11-22", "created": 0, **ended, **spent, "groups": None, "replays": replays}
    api.says("GET /usage", {"days": [day, {**day, "replays": None}], "to": "2026-11-22", "next_from": None})
    jobs = dict.fromkeys(("pending", "processing", "completed", "failed", "cancelled"), 0)
    today = {"date": "2026-11-22", "created": 0, **spent, "replays": replays}
    api.says("GET /stats", {"jobs": jobs, "today": today, "queue": None})

    lines = run("usage").out.splitlines()
    assert lines[-1].split() == ["in", "replays", "2", "1", "0", "0", "3", "812", "0", "0", "140", "0.500000"]
    assert "  in replays: 2 created, 812 tokens in, 140 out, for $0.500000\n" in run("stats").out


def test_submit_and_fork_name_the_jobs_own_model_and_effort_and_a_fork_its_prompt(
    run: Run, api: FakeApi, tmp_path: Path
) -> None:
    takes_a_job(api)
    api.says("POST /jobs/a/fork", {"event_id": "job-1", "status": "pending", "created_at": JOB["created_at"]})
    prompt = tmp_path / "duties.md"
    prompt.write_text("Write duties.\n", encoding="utf-8")
    own = ["--model", "gpt-6-sol", "--effort", "low", "--no-watch"]

    assert run("submit", "--payload", '{"guidelines": "e"}', "--chain", "guideline_checklist", *own).code == 0
    assert run("fork", "a", "--from", "checklist", "--prompt", str(prompt), *own).out == "job-1\n"

    submitted, forked = api.bodies
    assert (submitted["model"], submitted["effort"]) == ("gpt-6-sol", "low")
    assert forked == {"from_step": "checklist", "model": "gpt-6-sol", "effort": "low", "prompt": "Write duties.\n"}
    assert run("fork", "a", "--from", "checklist", "--effort", "most").code == 2
    missing = run("fork", "a", "--from", "checklist", "--prompt", str(tmp_path / "none.md"))
    assert (missing.code, "none.md" in missing.err, "Traceback" in missing.err) == (1, True, False)


def test_show_says_what_a_job_sets_in_place_of_its_chain(run: Run, api: FakeApi) -> None:
    api.says("GET /jobs/job-1", {**JOB, "model": "m\x1b", "effort": "low", "changed_prompts": ["summary", "checklist"]})

    assert (
        "  in place of the chain's: model m�, effort low, its own prompt of summary, checklist\n"
        in run("show", "job-1").out
    )


USED = {**USAGE, "cache_write_tokens": 700}


def test_usage_is_a_table_of_days(run: Run, api: FakeApi) -> None:
    group = {"completed": 1, "failed": 0, "cancelled": 2, "usage": USED, "calls": 3, "retries": 0, "cost_usd": 0.5}
    quiet = {
        **group,
        "usage": {},
        "calls": 0,
        "cost_usd": 0,
        "completed": 0,
        "cancelled": 0,
        "created": 0,
        "groups": {},
    }
    days = [
        {**group, "date": "2026-11-21", "created": 4, "groups": {"": group, "a\x1bb": group}},
        {**quiet, "date": "2026-11-22"},
        {**group, "date": "2026-11-23", "created": 1, "groups": {}, "cost_usd": None},
    ]
    api.says("GET /usage", {"from": "2026-11-21", "to": "2026-11-23", "days": days, "next_from": None})

    said = run("usage", "--from", "2026-11-21", "--by", "chain")

    assert api.requests[0][0] == "GET /usage?from=2026-11-21&by=chain"
    assert [line.split() for line in said.out.splitlines()[1:]] == [
        ["2026-11-21", "4", "1", "0", "2", "3", "812", "0", "700", "140", "0.500000"],
        ["(none)", "1", "0", "2", "3", "812", "0", "700", "140", "0.500000"],
        ["a�b", "1", "0", "2", "3", "812", "0", "700", "140", "0.500000"],
        ["2026-11-23", "1", "1", "0", "2", "3", "812", "0", "700", "140", "unknown"],
        ["all", "5", "2", "0", "4", "6", "1624", "0", "1400", "280", "unknown"],
    ]
    assert [json.loads(line) for line in run("usage", "--json").out.splitlines()] == days
    assert [*usage_lines([])][1].split() == ["all", *"000000000", "0.000000"]


def test_usage_refuses_a_day_that_is_none(run: Run, api: FakeApi) -> None:
    assert run("usage", "--to", "yesterday").code == 2


def test_list_asks_for_titles_metadata_and_times(run: Run, api: FakeApi) -> None:
    api.says("GET /jobs", {"jobs": [], "next_cursor": None})

    when = ("--after", "2026-11-22", "--before", "2026-11-22T10:30+02:00")
    assert run("list", "--title", "a b", "--metadata", "team=legal", "--metadata", "x==", *when).code == 0

    query = parse_qs(urlsplit(api.requests[0][0].removeprefix("GET ")).query)
    assert query == {
        "title": ["a b"],
        "metadata.team": ["legal"],
        "metadata.x": ["="],
        "created_after": ["2026-11-22T00:00:00Z"],
        "created_before": ["2026-11-22T08:30:00Z"],
        "limit": ["20"],
    }


@pytest.mark.parametrize("when", ["yesterday", "2026-13-01", "0s", "10"])
def test_list_refuses_a_time_that_is_none(run: Run, when: str) -> None:
    said = run("list", "--after", when)

    assert (said.code, said.out) == (2, "")


def test_submit_calls_a_job_what_it_is_told_to(run: Run, api: FakeApi, file: str) -> None:
    takes_a_job(api)

    run("submit", file, "--no-watch", "--title", "Doors")

    assert api.bodies == [{"input_text": "Lock doors.", "title": "Doors"}]


def test_show_prints_a_job_with_its_steps(run: Run, api: FakeApi) -> None:
    api.says("GET /jobs/job-1", {**JOB, "metadata": {"source": "handbook"}})

    out = run("show", "job-1").out

    assert api.requests[0][0] == "GET /jobs/job-1?include=attempts"
    assert out.startswith("Job job-1 (guideline_checklist): completed\n  created 2026-11-22 10:00:00, started")
    assert "  summary: completed in 2.0 s\n" in out
    assert "  source = handbook\n" in out
    assert "[ ] One\n" in out
    assert json.loads(run("show", "job-1", "--json").out)["metadata"] == {"source": "handbook"}


def test_jobs_are_cancelled_and_retried_each_by_itself(run: Run, api: FakeApi) -> None:
    api.says("POST /jobs/a/cancel", {**JOB, "status": "cancelled"})
    api.refuses("POST /jobs/b/cancel", 409, "job-is-final", "job b is completed already")
    api.says("POST /jobs/c/cancel", {**JOB, "status": "processing"})
    api.says("POST /jobs/a/retry", {**JOB, "status": "pending"})

    assert run("cancel", "a", "b", "c") == (
        1,
        "job-1 is cancelled.\njob-1 will be cancelled before its next step.\n",
        "jobchain: b: job b is completed already (job-is-final)\n",
    )
    assert run("retry", "a") == (0, "job-1 is pending, and runs as soon as a worker is free.\n", "")
    assert json.loads(run("retry", "a", "--json").out)["status"] == "pending"


def test_nothing_is_deleted_without_a_yes(run: Run, api: FakeApi) -> None:
    api.says("DELETE /jobs/a", b"", 204)

    assert run("delete", "a").code == Code.USAGE
    assert api.requests == []
    assert run("delete", "a", "--yes") == (0, "a is deleted.\n", "")


def test_chains_that_can_not_be_used_are_printed_with_the_reason(run: Run, api: FakeApi) -> None:
    broken = {"name": "mistaken", "reason": "guide.py:7: concatenate takes lists and texts"}
    api.says("GET /chains", {**CHAINS, "unusable": [broken]})

    assert run("chains").out.endswith(
        "mistaken: can't be used\n  reason: guide.py:7: concatenate takes lists and texts\n"
    )
    assert [json.loads(line) for line in run("chains", "--json").out.splitlines()] == [*CHAINS["chains"], broken]


def test_numbers_and_chains_are_printed(run: Run, api: FakeApi) -> None:
    today = {"date": "2026-11-22", "created": 45, "usage": {"input_tokens": 7, "output_tokens": 2}, "cost_usd": 0.5}
    numbers = {"jobs": {"pending": 3, "failed": 1}, "today": today, "queue": {"in_flight": 1}}
    api.says("GET /stats", numbers)
    api.says("GET /chains", CHAINS)

    assert run("stats").out == (
        "Jobs: 3 pending, 1 failed\n"
        "Today (2026-11-22 UTC): 45 created, 7 tokens in, 2 out, for $0.500000\n"
        "Queue: 1 in flight\n"
    )
    assert json.loads(run("stats", "--json").out) == numbers
    assert (
        "compare: Does compare.\n  steps: one\n  payload: first, second, first_name (optional)\n"
        "  a job may set: model, effort, prompt\n" in run("chains").out
    )


def test_a_chain_that_allows_its_jobs_nothing_says_so(run: Run, api: FakeApi) -> None:
    api.says("GET /chains", {"chains": [{**CHAINS["chains"][0], "overrides": []}]})

    assert "  a job may set: nothing in place of the chain\n" in run("chains").out


def test_an_operators_command_without_its_libraries_says_what_to_install(
    offline: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jobchain_cli.operate", None)
    # Where another test has loaded it, the package has it as an attribute, too.
    monkeypatch.delattr("jobchain_cli.operate", raising=False)

    said = offline("sweep")

    assert said.code == 1
    assert said.err.endswith("install jobchain[operator]\n")


# --- which API -------------------------------------------------------------------------------------------------------

LOCAL, FROM_ENVIRONMENT, FROM_FILE = "http://127.0.0.1:1/local", "https://environment.test", "https://file.test"


@pytest.fixture
def up(home: Path) -> Iterator[str]:
    """A local stack that is up, in a folder above this one; gives its URL."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        local = f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        announce(home, api_url=local, pid=os.getpid())
        below = home / "a" / "b"
        below.mkdir(parents=True)
        os.chdir(below)
        yield local


def announce(folder: Path, **parts: Any) -> None:
    (folder / ".local").mkdir()
    (folder / ".local" / "stack.json").write_text(json.dumps(parts))


@pytest.fixture
def config(home: Path) -> Path:
    file = home / "config.toml"
    target.write_config(file, FROM_FILE, "jc_file")
    return file


ENVIRONMENT = {"JOBCHAIN_URL": FROM_ENVIRONMENT, "JOBCHAIN_API_KEY": "jc_env"}


def test_an_option_wins_then_the_environment_then_the_local_stack_then_the_file(up: str, config: Path) -> None:
    assert target.find("https://option.test", "jc_1", ENVIRONMENT, config) == target.Target(
        "https://option.test", "jc_1"
    )
    assert target.find(None, None, ENVIRONMENT, config) == target.Target(FROM_ENVIRONMENT, "jc_env")
    assert target.find(None, None, {"JOBCHAIN_API_KEY": "jc_env"}, config) == target.Target(up, "jc_env")
    assert target.find(None, "jc_1", {}, config) == target.Target(up, "jc_1")
    os.chdir("/")
    assert target.find(None, None, {}, config) == target.Target(FROM_FILE, "jc_file")
    assert target.find(None, None, {"JOBCHAIN_API_KEY": "jc_env"}, config) == target.Target(FROM_FILE, "jc_env")


def test_the_files_key_goes_to_no_other_api(up: str, config: Path) -> None:
    assert target.find("https://option.test", None, {}, config).api_key is None
    assert target.find(None, None, {}, config).api_key is None
    os.chdir("/")
    assert target.find(None, None, {"JOBCHAIN_URL": FROM_ENVIRONMENT}, config).api_key is None


@pytest.mark.parametrize(
    "url", ["https://option.test", "https://environment.test:8443", "https://environment.test.evil"]
)
def test_the_environments_key_goes_to_its_own_host_alone(
    url: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert target.find(url, None, ENVIRONMENT, config) == target.Target(url, None)
    assert "JOBCHAIN_API_KEY belongs to JOBCHAIN_URL" in capsys.readouterr().err

    assert target.find(f"{FROM_ENVIRONMENT}/v2", None, ENVIRONMENT, config).api_key == "jc_env"
    assert target.find(url, "jc_1", ENVIRONMENT, config).api_key == "jc_1"
    assert capsys.readouterr().err == ""


def test_a_key_does_not_go_over_plain_http_to_another_machine(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBCHAIN_API_KEY", "jc_env")
    monkeypatch.setenv("JOBCHAIN_URL", "http://api.test/v1")

    said = run("list")

    assert said.code == 2
    assert "'http://api.test/v1', plain http: the API key could be read" in said.err
    assert "JOBCHAIN_INSECURE_HTTP=1" in said.err
    assert "jc_env" not in said.err
    assert target.find(None, None, {**os.environ, "JOBCHAIN_INSECURE_HTTP": "1"}, Path("none")).insecure_http


def test_a_network_that_is_trusted_is_trusted_by_each_command(
    run: Run, api: FakeApi, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The fake API is on this machine; here it counts as on another one.
    monkeypatch.setattr("jobchain.connection.hides_keys", lambda _url: False)
    monkeypatch.setenv("JOBCHAIN_API_KEY", "jc_env")
    monkeypatch.setenv("JOBCHAIN_INSECURE_HTTP", "1")
    takes_a_job(api)
    today = {"date": "2026-11-22", "created": 0, "usage": {}, "cost_usd": 0}
    api.says("GET /stats", {"jobs": {}, "today": today, "queue": None})

    assert run("submit", file).code == 0
    assert run("login", os.environ["JOBCHAIN_URL"], "--api-key", "jc_env").code == 0

    monkeypatch.delenv("JOBCHAIN_INSECURE_HTTP")
    assert run("login", os.environ["JOBCHAIN_URL"], "--api-key", "jc_env").code == 2


def test_a_key_is_not_in_what_a_target_looks_like() -> None:
    assert "jc_" not in repr(target.Target("https://a.test", "jc_1"))


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"api_url": "http://127.0.0.1:9/v1", "pid": 1},
        {"api_url": "https://elsewhere.test/v1", "pid": os.getpid()},
        {"api_url": "http://127.0.0.1:1/v1"},
    ],
)
def test_a_local_stack_that_is_not_up_is_none(home: Path, parts: dict[str, Any], config: Path) -> None:
    announce(home, **parts)

    assert target.find(None, None, {}, config).url == FROM_FILE


def test_a_stack_that_somebody_else_announces_is_none(up: str, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: user + 1)

    assert target.find(None, None, {}, config).url == FROM_FILE


def test_without_any_api_it_is_told_how_to_name_one(offline: Run) -> None:
    said = offline("list")

    assert (said.code, said.out) == (1, "")
    assert all(way in said.err for way in ("make dev", "--url", "JOBCHAIN_URL", "jobchain login"))


@pytest.mark.parametrize("text", ["url = ", "url = 1", 'key = "a"', "\xff"])
def test_a_file_that_can_not_be_used_is_named(home: Path, text: str) -> None:
    file = home / "config.toml"
    file.write_bytes(text.encode("latin-1"))

    with pytest.raises(CommandError, match=r"config\.toml is not (TOML|UTF-8): |config\.toml: "):
        target.find(None, None, {}, file)


def test_login_keeps_a_url_and_a_key_where_nobody_else_reads_them(
    offline: Run, api: FakeApi, url: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = {"date": "2026-11-22", "created": 0, "usage": {}, "cost_usd": 0}
    api.says("GET /stats", {"jobs": {}, "today": today, "queue": None})
    pipe_in(monkeypatch, b"jc_secret\n")

    said = offline("login", url)

    file = home / "config" / "jobchain" / "config.toml"
    assert (said.code, said.out) == (0, f"Stored in {file}.\n")
    assert target.read_config(file) == {"url": url, "api_key": "jc_secret"}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert offline("stats").code == 0
    assert api.requests[-1][1]["authorization"] == "Bearer jc_secret"


def test_login_keeps_no_key_that_the_api_refuses(offline: Run, api: FakeApi, url: str, home: Path) -> None:
    api.refuses("GET /stats", 401, "unauthorized", "the key is revoked", request_id="r")

    assert offline("login", url, "--api-key", "jc_old") == (
        1,
        "",
        "jobchain: the key is revoked; set JOBCHAIN_API_KEY to your key, or store the API's URL and your key with "
        "`jobchain login` (unauthorized, request r)\n",
    )
    assert not (home / "config").exists()


@pytest.mark.parametrize(
    "arguments", [("submit", "a.md"), ("submit", "a.md", "b.md"), ("watch", "job-1"), ("cancel", "job-1"), ("stats",)]
)
def test_a_command_without_the_key_that_the_api_requires_says_where_to_set_one(
    run: Run, api: FakeApi, home: Path, arguments: tuple[str, ...]
) -> None:
    for name in ("a.md", "b.md"):
        (home / name).write_text("Doors must be locked.")
    for request in ("POST /jobs", "POST /jobs/batch", "GET /jobs/job-1", "POST /jobs/job-1/cancel", "GET /stats"):
        api.refuses(request, 401, "unauthorized", "send an API key", request_id="r")

    said = run(*arguments)

    assert (said.code, said.out) == (1, "")
    assert "send an API key; set JOBCHAIN_API_KEY to your key, or store " in said.err
    assert "`jobchain login`" in said.err


# --- texts -----------------------------------------------------------------------------------------------------------


def test_a_text_is_fetched(api: FakeApi, url: str) -> None:
    api.says("GET /moved", b"", 302, Location="/text")
    api.says("GET /text", "Schlüssel".encode("latin-1"), Content_Type="text/plain; charset=ISO-8859-1")
    api.says("GET /md", "\ufeffSchlüssel".encode(), Content_Type="text/markdown")

    assert read(f"{url}/moved").content == "Schlüssel"
    assert read(f"{url}/md").content == "Schlüssel"
    assert not any("authorization" in headers for _, headers, _ in api.requests)


@pytest.mark.parametrize(
    ("status", "content_type", "content", "told"),
    [
        (200, "text/html; charset=utf-8", b"<p>", "without text"),
        (200, "application/pdf", b"%PDF", "named as a PDF, but it is none"),
        (200, "application/octet-stream", b"x", "application/octet-stream, not a text or a document"),
        (200, "", b"x", "of no type"),
        (200, "text/plain", b"x" * 400_004, "over 400,003 bytes"),
        (200, "text/plain", b"x" * 100_001, "100,001 characters"),
        (200, "text/plain", b"a\xff", r"not UTF-8 \(byte 1\)"),
        (200, "text/plain; charset=klingon", b"a", "unknown encoding"),
        (200, "text/plain", b"", "empty"),
        (404, "text/plain", b"x", "answered 404"),
    ],
)
def test_what_is_fetched_must_be_a_text(
    api: FakeApi, url: str, status: int, content_type: str, content: bytes, told: str
) -> None:
    api.says("GET /x", content, status, Content_Type=content_type)

    with pytest.raises(SourceError, match=told):
        read(f"{url}/x")


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/x", "/x"])
def test_a_redirect_leads_to_no_file_and_does_not_go_round_for_ever(api: FakeApi, url: str, location: str) -> None:
    api.says("GET /x", b"", 302, Location=location)

    with pytest.raises(SourceError, match=f"{url}/x"):
        read(f"{url}/x")


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("file:///etc/passwd", "only http and https"),
        ("ftp://a/b", "only http and https"),
        ("http://[", "http://"),
        ("http://127.0.0.1:1/x", "http://127.0.0.1:1/x: "),
        (".", "Is a directory"),
        ("a\0b", "null"),
    ],
)
def test_a_source_that_is_none_is_named(home: Path, source: str, told: str) -> None:
    with pytest.raises(SourceError, match=re.escape(told)):
        read(source)


@pytest.mark.parametrize(("content", "told"), [(b"a\0b", "no text"), (b"\xff\xfea\0", "not UTF-8"), (b" \n", "empty")])
def test_a_file_must_hold_a_text(home: Path, content: bytes, told: str) -> None:
    (home / "x").write_bytes(content)

    with pytest.raises(SourceError, match=told):
        read("x")


# --- the program -----------------------------------------------------------------------------------------------------


def python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    return done.stdout


# --- what a shell may have done ---------------------------------------------------------------------------------------


def shell(command: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Runs a line of a shell, in which $JOBCHAIN is the command."""
    environment = {**os.environ, "JOBCHAIN": f"{sys.executable} -m jobchain_cli", "HOME": str(home)}
    return subprocess.run(
        ["/bin/bash", "-c", command],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
        env=environment,
        cwd=home,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "code", "why"),
    [
        ("$JOBCHAIN submit a.md --idempotency-key ä", 2, "idempotency key '\\xe4' can't be used"),
        ("$JOBCHAIN list --url 'http://[::1'", 2, "--url is 'http://[::1', which can't be used: it is malformed"),
        ("JOBCHAIN_URL=api.example.com/v1 $JOBCHAIN list", 2, "JOBCHAIN_URL is 'api.example.com/v1'"),
        ("JOBCHAIN_API_KEY='“key”' $JOBCHAIN list", 2, "JOBCHAIN_API_KEY can't be an API key"),
        ("$JOBCHAIN submit - <&-", 1, "standard input: empty"),
        ("$JOBCHAIN list >&-", 1, "standard output is closed"),
        ("$JOBCHAIN --help >/dev/full", 1, "No space left on device"),
        ("$JOBCHAIN list >/dev/full", 1, "No space left on device"),
        ("$JOBCHAIN show $'\\xff'", 2, "is not the id of a job"),
        ("$JOBCHAIN list --chain $'\\xff'", 2, "can't be sent: it is not UTF-8"),
        ("$JOBCHAIN submit $'http://h/\\xff'", 1, "surrogates not allowed"),
        ("mkdir gone; cd gone; rmdir ../gone; env -u JOBCHAIN_URL $JOBCHAIN sweep", 1, "folder has been deleted"),
        ("ALL_PROXY=socks5://127.0.0.1:9 $JOBCHAIN list --url http://jobchain.test", 2, "the proxy ALL_PROXY is"),
        ("SSL_CERT_FILE=/no.pem $JOBCHAIN watch job-1 --url https://jobchain.test", 2, "SSL_CERT_FILE is '/no.pem'"),
        ("SSL_CERT_FILE=/no.pem $JOBCHAIN submit https://jobchain.test/a.md", 1, "SSL_CERT_FILE is '/no.pem'"),
        ("AWS_CA_BUNDLE=/no.pem $JOBCHAIN sweep --stack x", 1, "AWS_CA_BUNDLE is '/no.pem'"),
        ("HTTPS_PROXY=socks5://h:9 $JOBCHAIN sweep --stack x", 1, "the proxy HTTPS_PROXY is 'socks5://h:9'"),
    ],
)
def test_what_can_not_work_is_told_in_one_line_and_nothing_is_sent(
    run: Run, api: FakeApi, home: Path, command: str, code: int, why: str
) -> None:
    api.says("GET /jobs?limit=20", {"jobs": [JOB], "next_cursor": None})
    (home / "a.md").write_text("Lock the doors.")

    done = shell(command, home)

    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert why in done.stderr
    assert done.stderr.count("\n") == 1
    assert all(request == "GET /jobs?limit=20" for request, _, _ in api.requests)


@pytest.mark.slow
def test_errors_go_nowhere_where_standard_error_is_closed(run: Run, home: Path) -> None:
    done = shell("$JOBCHAIN list --url nowhere 2>&-", home)

    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.slow
def test_an_api_on_this_machine_needs_no_proxy_and_no_certificates(run: Run, api: FakeApi, home: Path) -> None:
    api.says("GET /jobs", {"jobs": [], "next_cursor": None})

    done = shell("ALL_PROXY=socks5://127.0.0.1:9 SSL_CERT_FILE=/no.pem $JOBCHAIN list", home)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("charset", ["undefined", "idna", "punycode", "utf-7", "rot13", "base64", ""])
def test_a_text_in_an_encoding_that_is_none_is_refused(run: Run, api: FakeApi, url: str, charset: str) -> None:
    api.says("GET /a.txt", b"\xff\xfehello", Content_Type=f"text/plain; charset={charset}")

    said = run("submit", f"{url}/a.txt")

    assert said.code == 1
    assert re.fullmatch(r"jobchain: http://\S+/a\.txt: (in an unknown encoding,|not) .*\n", said.err)


def test_a_text_of_characters_that_nobody_sees_is_empty(run: Run, home: Path) -> None:
    (home / "a.md").write_text("\u200b\ufeff \n")

    assert "a.md: empty" in run("submit", "a.md").err


@pytest.mark.slow
def test_a_silent_api_is_named_after_three_seconds(home: Path) -> None:
    assert SLOW_SECONDS == 3
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        command = [sys.executable, "-m", "jobchain_cli", "list", "--url", url]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            # The test's own limit ends a wait in vain.
            line = process.stderr.readline()
            process.kill()

    assert line == f"jobchain: waiting for the API at '{url}' …\n"


def test_a_config_file_may_begin_with_a_byte_order_mark(home: Path) -> None:
    file = home / "config.toml"
    file.write_bytes(b'\xef\xbb\xbfurl = "http://127.0.0.1:4566"\n')

    assert target.find(None, None, {}, file).url == "http://127.0.0.1:4566"


@pytest.mark.slow
def test_help_waits_for_no_library_that_it_does_not_need() -> None:
    loaded = python(
        "import sys; from jobchain_cli.__main__ import main; main(['--help']); "
        "print('loaded:', *{name.partition('.')[0] for name in sys.modules})"
    )

    assert not {"httpx2", "boto3", "botocore", "jobchain", "jobchain_client", "asyncio"} & set(
        loaded.partition("loaded:")[2].split()
    )


@pytest.mark.slow
def test_the_shell_can_complete_commands() -> None:
    environment = {"_JOBCHAIN_COMPLETE": "complete_bash", "COMP_WORDS": "jobchain s", "COMP_CWORD": "1"}

    assert python("from jobchain_cli.__main__ import main; main([])", **environment).split() == [
        *("submit", "show", "stats", "sweep", "smoke"),
    ]


def test_the_version_is_printed(offline: Run) -> None:
    assert offline("--version").out.startswith("jobchain")


# --- steps that a person decides ---------------------------------------------------------------------------

APPROVAL: dict[str, Any] = {
    "title": "Review the letter",
    "shown": "Dear customer.",
    "since": "2026-11-22T10:00:00.000Z",
    "until": "2030-11-29T10:00:00.000Z",
    "on_deadline": "reject",
    "decision": None,
    "value": None,
    "by": None,
    "key_id": None,
    "comment": None,
    "decided_at": None,
    "at_deadline": False,
}
_WAITS = {
    "reason": "approval",
    "since": APPROVAL["since"],
    "until": APPROVAL["until"],
    "detail": "a decision on the step review",
    "retryable": False,
}
WAITING_ID = "0b6c2f4e-7d1a-4b53-9a0f-3f1c5b8e2d47"


def waiting_job(**approval: Any) -> dict[str, Any]:
    step = {**raw_step("review", "pending"), "approval": {**APPROVAL, **approval}}
    return raw_job(WAITING_ID, status="pending", waiting_for=_WAITS, steps=[raw_step("draft"), step], finished_at=None)


def decided_job(status: str = "pending", **approval: Any) -> dict[str, Any]:
    step = {**raw_step("review", "pending"), "approval": {**APPROVAL, **approval}}
    return raw_job(WAITING_ID, status=status, steps=[raw_step("draft"), step])


@pytest.fixture
def awaits(api: FakeApi) -> FakeApi:
    api.says(f"GET /jobs/{WAITING_ID}", waiting_job())
    api.says(f"POST /jobs/{WAITING_ID}/steps/review/decision", decided_job(decision="approve"))
    return api


def test_approve_decides_the_step_that_waits(run: Run, awaits: FakeApi) -> None:
    said = run("approve", WAITING_ID, "--by", "Mia", "--comment", "fine")
    assert (said.code, said.out) == (Code.DONE, f"{WAITING_ID} continues: its step review is approved.\n")
    assert awaits.bodies == [{"decision": "approve", "by": "Mia", "comment": "fine"}]


def test_reject_fails_the_job(run: Run, api: FakeApi) -> None:
    api.says(f"GET /jobs/{WAITING_ID}", waiting_job())
    api.says(f"POST /jobs/{WAITING_ID}/steps/review/decision", decided_job("failed", decision="reject"))
    said = run("reject", WAITING_ID)
    assert (said.code, said.out) == (Code.DONE, f"{WAITING_ID} is failed.\n")
    assert api.bodies == [{"decision": "reject"}]


def test_an_edit_of_a_text_is_the_text_of_its_file(run: Run, awaits: FakeApi, home: Path) -> None:
    (home / "edit.txt").write_text("Dear Sir.\n")
    assert run("approve", WAITING_ID, "--edit", "edit.txt").code == Code.DONE
    assert awaits.bodies == [{"decision": "edit", "value": "Dear Sir."}]


def test_an_edit_of_anything_else_is_json(run: Run, api: FakeApi, home: Path) -> None:
    api.says(f"GET /jobs/{WAITING_ID}", waiting_job(shown=["Lock."]))
    api.says(f"POST /jobs/{WAITING_ID}/steps/review/decision", decided_job(decision="edit"))
    (home / "edit.json").write_text('["Lock.", "Close."]')
    assert run("approve", WAITING_ID, "--edit", "edit.json", "--step", "review").code == Code.DONE
    assert api.bodies == [{"decision": "edit", "value": ["Lock.", "Close."]}]
    (home / "edit.json").write_text("[")
    said = run("approve", WAITING_ID, "--edit", "edit.json")
    assert said.code == Code.USAGE
    assert "the edit is no JSON" in said.err


def test_a_job_that_waits_for_nothing_is_told_of(run: Run, api: FakeApi) -> None:
    api.says(f"GET /jobs/{WAITING_ID}", raw_job(WAITING_ID))
    said = run("approve", WAITING_ID)
    assert said.code == Code.ERROR
    assert f"job {WAITING_ID} is completed: no step of it waits for a decision" in said.err


def test_a_refusal_is_told_with_its_reason(run: Run, api: FakeApi) -> None:
    api.says(f"GET /jobs/{WAITING_ID}", waiting_job())
    api.refuses(
        f"POST /jobs/{WAITING_ID}/steps/review/decision", 410, "decision-too-late", "the step could be decided until"
    )
    said = run("approve", WAITING_ID)
    assert said.code == Code.ERROR
    assert "decision-too-late" in said.err


def test_show_prints_what_is_to_be_decided_and_what_was(run: Run, api: FakeApi) -> None:
    api.says(f"GET /jobs/{WAITING_ID}", waiting_job(shown="Dear customer,\n\x1b[2Jyours."))
    said = run("show", WAITING_ID)
    assert "waiting for a decision, decided automatically in" in said.out
    assert (
        "    Review the letter: decide it with jobchain approve or jobchain reject\n    | Dear customer,\n" in said.out
    )
    assert "\x1b" not in said.out

    done = decided_job(decision="edit", by="Mia", decided_at="2026-11-22T11:00:00.000Z", comment="short")
    assert "    approved with changes by Mia at 2026-11-22 11:00:00 UTC: short" in list(job_lines(job_of(**done)))
    late = decided_job("failed", decision="reject", at_deadline=True, decided_at="2026-11-22T11:00:00.000Z")
    assert "    rejected at its deadline, at 2026-11-22 11:00:00 UTC" in list(job_lines(job_of(**late)))


def test_the_client_decides_and_reads_what_was_decided(api: FakeApi, url: str) -> None:
    api.says(f"POST /jobs/{WAITING_ID}/steps/a%2Fb/decision", decided_job(decision="edit", value=None, by="Mia"))
    with Jobchain(url) as client:
        job = client.decide(WAITING_ID, "a/b", "edit", None, by="Mia")
    assert api.bodies == [{"decision": "edit", "value": None, "by": "Mia"}]
    approval = job.steps[1].approval
    assert approval
    assert (approval.decision, approval.by, approval.title) == ("edit", "Mia", "Review the letter")
    assert job.steps[0].approval is None


def test_the_client_raises_a_conflict_for_a_decision_that_comes_too_late(api: FakeApi, url: str) -> None:
    api.refuses(f"POST /jobs/{WAITING_ID}/steps/review/decision", 410, "decision-too-late", "over")
    with Jobchain(url) as client, pytest.raises(Conflict, match="decision-too-late"):
        client.decide(WAITING_ID, "review", "approve")
