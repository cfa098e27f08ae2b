"""The embedded stack, with a throw-away project of one function for all but the last test."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import psutil
import pytest

from jobchain_client import Jobchain
from local import dev
from local.deployer import DeployError
from local.emulator import HOST, Emulator, EmulatorError, free_port, is_healthy
from local.emulator_clients import Clients
from local.logs import LogFollower
from local.sam_template import TemplateError
from local.settings import Settings
from local.stack import EmbeddedStack

ROOT = Path(__file__).resolve().parent.parent.parent
LIMIT = 120.0  # seconds

TEMPLATE = """
Transform: AWS::Serverless-2016-10-31
Parameters:
  Concurrency: {Type: Number, Default: 3}
  Greeting: {Type: String, Default: hello}
Globals:
  Function:
    Runtime: python3.13
    Layers: [!Ref Layer]
Resources:
  Layer:
    Type: AWS::Serverless::LayerVersion
    Properties: {ContentUri: layer}
  Api:
    Type: AWS::Serverless::Api
    Properties:
      StageName: v1
      OpenApiVersion: 3.0.1
      GatewayResponses:
        MISSING_AUTHENTICATION_TOKEN:
          StatusCode: 404
          ResponseTemplates: {application/json: '{"detail": "no such path"}'}
  Function:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: function
      Handler: tiny_function.handler.handle
      Timeout: 10
      Environment:
        Variables: {GREETING: !Ref Greeting, QUEUE_URL: !Ref Queue, TABLE_NAME: !Ref Table}
      Events:
        AnyPath: {Type: Api, Properties: {RestApiId: !Ref Api, Path: "/{proxy+}", Method: ANY}}
        Messages:
          Type: SQS
          Properties: {Queue: !GetAtt Queue.Arn, ScalingConfig: {MaximumConcurrency: !Ref Concurrency}}
  Queue:
    Type: AWS::SQS::Queue
  Dead:
    Type: AWS::SQS::Queue
  Table:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      TimeToLiveSpecification: {AttributeName: expires_at, Enabled: true}
      AttributeDefinitions: [{AttributeName: pk, AttributeType: S}]
      KeySchema: [{AttributeName: pk, KeyType: HASH}]
Outputs:
  TableName: {Value: !Ref Table}
  QueueUrl: {Value: !Ref Queue}
  DeadLetterUrl: {Value: !Ref Dead}
"""

# Answers what it sees, and puts a message that it gets into the table.
HANDLER = """
import json
import os

import boto3

from tiny_layer.version import VERSION

def handle(event, context):
    for record in event.get("Records", []):
        item = {"pk": {"S": record["body"]}}
        boto3.client("dynamodb").put_item(TableName=os.environ["TABLE_NAME"], Item=item)
    if event.get("path") == "/fail":
        raise ValueError("as asked")
    print("said", VERSION)
    body = {"method": event.get("httpMethod"), "version": VERSION, "environment": dict(os.environ)}
    return {"statusCode": 200, "body": json.dumps(body)}
"""


def make_project(folder: Path) -> Path:
    """A throw-away project in a folder of its own."""
    files = {
        "template.yaml": TEMPLATE,
        "function/tiny_function/handler.py": HANDLER,
        "layer/tiny_layer/version.py": "VERSION = 1\n",
    }
    for name, text in files.items():
        path = folder / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "project"


def make_clone(folder: Path) -> Path:
    """A folder in which `make dev` runs this project, its `.local` apart."""
    folder.mkdir()
    for name in ("template.yaml", "layers", "functions"):
        (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path)


@pytest.fixture(scope="module")
def shared_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    """For tests that leave it as it was."""
    project = make_project(tmp_path_factory.mktemp("shared"))
    with EmbeddedStack.start(template=project / "template.yaml") as stack:
        yield stack


@pytest.fixture
def stack(project: Path) -> Iterator[EmbeddedStack]:
    with EmbeddedStack.start(template=project / "template.yaml", reload=True) as stack:
        yield stack


def call(url: str, method: str = "GET") -> tuple[int, Any]:
    """The status and the body, which is None if it is empty."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=LIMIT)
    try:
        connection.request(method, parts.path)
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    return response.status, json.loads(content) if content else None


def wait_until(what: str, condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, f"not within {LIMIT:g} s: {what}"
        time.sleep(0.02)


def local_command(project: Path, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "local", *arguments],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def read_until(output: IO[str], start: str) -> list[str]:
    """The lines before the one that begins like this; the test's own time limit ends a wait in vain."""
    lines: list[str] = []
    for line in output:
        if line.startswith(start):
            return lines
        lines.append(line)
    raise AssertionError(f"the output ended without {start!r}: {lines}")


@contextmanager
def developing(project: Path, *arguments: str) -> Iterator[tuple["subprocess.Popen[str]", dict[str, Any]]]:
    """`dev`, and what its stack.json says once it is up."""
    file = project / ".local" / "stack.json"
    with local_command(project, "dev", *(arguments or ("--port", "0"))) as process:
        try:

            def is_up() -> bool:
                assert process.poll() is None, process.communicate()
                return file.exists() and json.loads(file.read_text())["pid"] == process.pid

            wait_until("dev is up", is_up)
            yield process, json.loads(file.read_text())
        finally:
            process.kill()


def processes_of(folder: Path) -> list[int]:
    """The processes whose temporary files are in a folder: an emulator and its functions."""
    # None for the processes of other users, which can't be read.
    processes = psutil.process_iter(["environ"])
    variables = {process.pid: process.info["environ"] or {} for process in processes}
    return [pid for pid, own in variables.items() if own.get("TMPDIR", "").startswith(str(folder))]


needs_proc = pytest.mark.skipif(not psutil.LINUX, reason="reads the variables of other processes")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_any_method_reaches_the_function(shared_stack: EmbeddedStack, method: str) -> None:
    assert call(f"{shared_stack.api_url}/any/path/at/all", method)[1]["method"] == method


def test_the_url_does_not_depend_on_chance(shared_stack: EmbeddedStack) -> None:
    assert shared_stack.api_url == f"{shared_stack.endpoint_url}/_aws/execute-api/jobchain/v1"


def test_the_tables_ttl_is_the_templates(shared_stack: EmbeddedStack) -> None:
    ttl = shared_stack.client("dynamodb").describe_time_to_live(TableName=shared_stack.table)["TimeToLiveDescription"]

    assert ttl == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}


def test_the_gateways_own_answers_are_the_templates(shared_stack: EmbeddedStack) -> None:
    assert call(shared_stack.api_url) == (404, {"detail": "no such path"})


def test_messages_reach_the_function_though_its_concurrency_is_a_parameter(shared_stack: EmbeddedStack) -> None:
    shared_stack.client("sqs").send_message(QueueUrl=shared_stack.queue_url, MessageBody="m-1")

    table = shared_stack.client("dynamodb")
    wait_until("the item", lambda: "Item" in table.get_item(TableName=shared_stack.table, Key={"pk": {"S": "m-1"}}))


def test_parameters_override_the_templates_and_an_unknown_one_is_refused(project: Path) -> None:
    template = project / "template.yaml"
    with EmbeddedStack.start(template=template, parameters={"Greeting": "hi"}) as stack:
        assert call(f"{stack.api_url}/x")[1]["environment"]["GREETING"] == "hi"

    with (
        pytest.raises(TemplateError, match="no parameter Greting"),
        EmbeddedStack.start(template=template, parameters={"Greting": "hi"}),
    ):
        pass


def test_functions_get_the_stacks_credentials_and_the_key_but_nothing_else_does(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "real-secret")
    settings = Settings(openai_api_key="sk-secret", lambda_endpoint_url="http://127.0.0.1:9")

    with EmbeddedStack.start(settings, template=project / "template.yaml", folder=tmp_path) as stack:
        environment = call(f"{stack.api_url}/x")[1]["environment"]
        configuration = json.dumps(stack.client("lambda").list_functions()["Functions"])

    assert environment["OPENAI_API_KEY"] == "sk-secret"
    assert environment["AWS_SECRET_ACCESS_KEY"] == stack.credentials.secret_key != "test"
    assert environment["AWS_ENDPOINT_URL"] == "http://127.0.0.1:9"
    assert "AWS_PROFILE" not in environment
    assert "sk-secret" not in configuration + (tmp_path / "emulator.log").read_text()


def test_changed_code_of_the_layer_is_taken_over(stack: EmbeddedStack, project: Path) -> None:
    assert call(f"{stack.api_url}/x")[1]["version"] == 1

    (project / "layer/tiny_layer/version.py").write_text("VERSION = 2\n")

    assert call(f"{stack.api_url}/x")[1]["version"] == 2


def test_a_redeployment_keeps_data_and_url_even_if_the_api_changes(stack: EmbeddedStack, project: Path) -> None:
    stack.client("dynamodb").put_item(TableName=stack.table, Item={"pk": {"S": "kept"}})
    stack.client("sqs").send_message(QueueUrl=stack.dead_letter_url, MessageBody="kept too")
    text = TEMPLATE.replace('Path: "/{proxy+}"', 'Path: "/new/{proxy+}"').replace("Default: hello", "Default: hi")
    (project / "template.yaml").write_text(text)

    redeployed = stack.redeploy()

    assert redeployed.api_url == stack.api_url
    assert call(f"{redeployed.api_url}/new/x")[1]["environment"]["GREETING"] == "hi"
    assert call(f"{redeployed.api_url}/x")[0] == 404
    assert stack.client("dynamodb").scan(TableName=stack.table)["Count"] == 1
    assert len(stack.client("sqs").receive_message(QueueUrl=stack.dead_letter_url)["Messages"]) == 1


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("Timeout: 10", "Timeout: [", TemplateError),
        ("Timeout: 10", "Timeuot: 10", TemplateError),
        ("AWS::SQS::Queue", "AWS::SQS::Quue", DeployError),
        ("Dead:\n", "Dead:\n    Properties: {VisibilityTimeout: 999999}\n", DeployError),
    ],
)
def test_a_broken_template_is_refused_and_the_next_good_one_is_deployed(
    stack: EmbeddedStack, project: Path, old: str, new: str, error: type[Exception]
) -> None:
    (project / "template.yaml").write_text(TEMPLATE.replace(old, new))
    with pytest.raises(error):
        stack.redeploy()

    (project / "template.yaml").write_text(TEMPLATE.replace("Default: hello", "Default: fixed"))

    assert call(f"{stack.redeploy().api_url}/x")[1]["environment"]["GREETING"] == "fixed"


def test_a_log_line_is_given_once_and_equal_lines_each_time(shared_stack: EmbeddedStack) -> None:
    follower = LogFollower(shared_stack.clients)
    follower.new_lines()
    messages: list[str] = []
    for _ in range(3):
        call(f"{shared_stack.api_url}/x")
        messages += [line.message for line in follower.new_lines()]
    messages += [line.message for line in follower.new_lines()]

    assert messages.count("said 1") == 3


@pytest.mark.parametrize("minutes", [0, 5, 50, 5_000])
def test_the_last_log_lines_are_given_however_old_they_are_and_only_new_ones_after_them(
    stack: EmbeddedStack, minutes: int
) -> None:
    # given 60 lines of the past, a second apart
    logs = stack.client("logs")
    (function,) = stack.client("lambda").list_functions()["Functions"]
    group = f"/aws/lambda/{function['FunctionName']}"
    logs.create_log_group(logGroupName=group)
    now = time.time_ns() // 1_000_000
    times = [now - (minutes * 60 + second) * 1000 for second in range(60, 0, -1)]
    logs.create_log_stream(logGroupName=group, logStreamName="past")
    events = [{"timestamp": at, "message": f"line {number}"} for number, at in enumerate(times)]
    logs.put_log_events(logGroupName=group, logStreamName="past", logEvents=events)

    # when the last ones are read
    follower = LogFollower(stack.clients)
    lines = [line.message for line in follower.last_lines(50, now)]

    # then they are the newest, and after them only new ones come
    assert lines == [f"line {number}" for number in range(10, 60)]
    assert follower.new_lines() == []
    call(f"{stack.api_url}/x")
    new: list[str] = []

    def has_come() -> bool:
        new.extend(line.message for line in follower.new_lines())
        return "said 1" in new

    wait_until("the line", has_come)
    assert not [line for line in new if line.startswith("line ")]


def test_all_log_lines_are_given_where_there_are_few(stack: EmbeddedStack) -> None:
    call(f"{stack.api_url}/x")

    lines = LogFollower(stack.clients).last_lines(50, time.time_ns() // 1_000_000)

    assert "said 1" in [line.message for line in lines]


def test_stacks_run_side_by_side(stack: EmbeddedStack, project: Path) -> None:
    with EmbeddedStack.start(template=project / "template.yaml") as other:
        other.client("dynamodb").put_item(TableName=other.table, Item={"pk": {"S": "theirs"}})

        assert stack.client("dynamodb").scan(TableName=stack.table)["Count"] == 0


def test_a_persisted_state_outlives_a_restart_of_the_emulator(project: Path) -> None:
    with EmbeddedStack.start(template=project / "template.yaml", persist=True) as stack:
        stack.client("dynamodb").put_item(TableName=stack.table, Item={"pk": {"S": "kept"}})

        stack.emulator.stop()
        stack.emulator.launch()
        stack.emulator.wait()

        assert stack.client("dynamodb").scan(TableName=stack.table)["Count"] == 1
        assert call(f"{stack.api_url}/x")[0] == 200


def test_a_port_that_is_taken_is_not_chosen() -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]

        assert free_port(port) != port


def test_an_emulator_on_a_port_that_is_taken_says_so(tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as taken:
        emulator = Emulator(tmp_path, taken.getsockname()[1])
        emulator.launch()
        try:
            with pytest.raises(EmulatorError, match="already in use"):
                emulator.wait()
        finally:
            emulator.stop()


def test_another_server_on_the_emulators_port_is_not_taken_for_it(tmp_path: Path) -> None:
    class Healthy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing is logged."""

    with ThreadingHTTPServer((HOST, 0), Healthy) as other:
        threading.Thread(target=other.serve_forever, args=(0.05,), daemon=True).start()
        emulator = Emulator(tmp_path, other.server_port)
        emulator.launch()
        try:
            assert is_healthy(other.server_port)
            with pytest.raises(EmulatorError, match="already in use"):
                emulator.wait()
        finally:
            emulator.stop()
            other.shutdown()


@needs_proc
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_dev_stops_cleanly_on_a_signal_and_leaves_nothing_behind(project: Path, number: signal.Signals) -> None:
    with developing(project) as (process, said):
        assert call(f"{said['api_url']}/x")[0] == 200
        assert len(processes_of(project)) >= 2  # the emulator's, and one for each request at a time

        process.send_signal(number)
        _, errors = process.communicate(timeout=LIMIT)

    assert (process.returncode, errors) == (0, "")
    assert processes_of(project) == []
    assert [path.name for path in (project / ".local").iterdir()] == ["emulator.log"]


@needs_proc
def test_an_emulator_ends_with_a_dev_that_was_killed(project: Path) -> None:
    with developing(project) as (process, said):
        assert call(f"{said['api_url']}/x")[0] == 200

        process.kill()

        wait_until("no process is left", lambda: not processes_of(project))
    assert list((project / ".local" / "emulator").glob("tmp/*")) == []


def test_dev_says_which_port_it_uses_if_the_wanted_one_is_taken(project: Path) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with developing(project, "--port", str(port)) as (process, said):
            process.terminate()
            output, _ = process.communicate(timeout=LIMIT)

    used = urlsplit(said["endpoint_url"]).port
    assert f"Port {port} is taken, so this stack uses {used}." in output


def test_a_second_dev_in_the_same_folder_is_refused(project: Path) -> None:
    with developing(project) as (_, said), local_command(project, "dev", "--port", "0") as second:
        _, errors = second.communicate(timeout=LIMIT)

        assert second.returncode == 1
        assert f"already running here: {said['api_url']}" in errors
        assert is_healthy(urlsplit(said["endpoint_url"]).port or 0)


def test_a_stale_stack_file_is_replaced(project: Path) -> None:
    (project / ".local").mkdir()
    stale = {"pid": 2**22 + 1, "endpoint_url": "http://127.0.0.1:9", "api_url": "stale"}
    (project / ".local" / "stack.json").write_text(json.dumps(stale))

    with developing(project) as (_, said):
        assert call(f"{said['api_url']}/x")[0] == 200


def stopped(process: "subprocess.Popen[str]") -> str:
    """What `dev` said from here to its end."""
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=LIMIT)
    assert (process.returncode, errors) == (0, "")
    return said


def test_jobs_survive_a_restart_of_dev_and_those_that_wait_are_run(tmp_path: Path) -> None:
    # given a stack with a completed job, and one that waits, as workers take no messages any more
    project = make_clone(tmp_path / "project")
    with developing(project) as (process, told), Jobchain(told["api_url"]) as api:
        done = api.submit("Doors must be locked at night.")
        result = done.wait(timeout=LIMIT, poll=0.05).result
        emulator = Clients(told["endpoint_url"], credentials=dev.credentials_of(told)).get("lambda")
        for mapping in emulator.list_event_source_mappings()["EventSourceMappings"]:
            emulator.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
        waiting = api.submit("Windows must be closed at night.")
        said = stopped(process)

    # then they are kept, for their user only
    assert said.endswith(f"2 jobs kept for the next `make dev`, in {project / '.local' / 'jobs.jsonl'}\n")

    # when it is started again, on another port
    with developing(project) as (process, told), Jobchain(told["api_url"]) as api:
        again = api.get(done.event_id)
        went_on = api.job(waiting.event_id).wait(timeout=LIMIT, poll=0.05)
        said = stopped(process)

    # then
    assert "2 jobs of the last run are back.\n" in said
    assert (again.status, again.result) == ("completed", result)
    assert went_on.status == "completed"


def test_dev_deploys_a_changed_template_and_shows_an_error_that_left_a_handler(project: Path) -> None:
    with developing(project) as (process, said):
        call(f"{said['api_url']}/fail")
        (project / "template.yaml").write_text(TEMPLATE.replace("Default: hello", "Default: hi"))

        def has_changed() -> bool:
            # A call in the middle of it may meet a function that is gone.
            _, answer = call(f"{said['api_url']}/x")
            return bool(answer.get("environment", {}).get("GREETING") == "hi")

        wait_until("the new template is deployed", has_changed)
        process.terminate()
        output, _ = process.communicate(timeout=LIMIT)

    assert "ValueError: as asked" in output


def test_logs_follows_the_stack_that_dev_runs_until_it_stops(project: Path) -> None:
    with developing(project) as (process, said):
        call(f"{said['api_url']}/x")
        with local_command(project, "logs") as logs:
            assert logs.stdout
            read_until(logs.stdout, "said 1")

            process.terminate()

            assert logs.communicate(timeout=LIMIT)[0].endswith("The stack has stopped.\n")
            assert logs.returncode == 0


def test_logs_without_a_stack_says_how_to_start_one(project: Path) -> None:
    with local_command(project, "logs") as logs:
        _, errors = logs.communicate(timeout=LIMIT)

    assert (logs.returncode, errors) == (1, "error: no stack is running here: start one with `make dev`\n")


def test_dev_refuses_an_auth_mode_that_is_none(project: Path) -> None:
    with local_command(project, "dev", "--port", "0", AUTH_MODE="maybe") as dev:
        _, errors = dev.communicate(timeout=LIMIT)

    assert (dev.returncode, errors) == (
        1,
        "error: AUTH_MODE is 'maybe': set it to none or api_key, or leave it out\n",
    )


def test_demo_names_a_file_that_it_can_not_read(project: Path) -> None:
    with local_command(project, "demo", "missing.md") as demo:
        _, errors = demo.communicate(timeout=LIMIT)

    assert demo.returncode == 1
    assert errors.startswith("error: missing.md: No such file or directory")


@pytest.mark.essential
def test_demo_shows_the_result_and_with_keep_stays_up_until_it_is_told_to_stop() -> None:
    free_of_charge = {"OPENAI_API_KEY": "", "OPENAI_BASE_URL": ""}
    # The demo needs no key, whatever AUTH_MODE says.
    with local_command(ROOT, "demo", KEEP="1", AUTH_MODE="api_key", **free_of_charge) as demo:
        assert demo.stdout
        lines = read_until(demo.stdout, "The stack stays up")
        demo.send_signal(signal.SIGINT)
        _, errors = demo.communicate(timeout=LIMIT)

    assert (demo.returncode, errors) == (0, "")
    assert any(line.startswith("  diagram: completed in") for line in lines)
    assert any(line.startswith("[ ] ") for line in lines)
    assert "flowchart TD\n" in lines
    # What takes a while is announced, in order; nothing commands a terminal that is not there.
    announced = [line.rstrip("\n") for line in lines if line.endswith("...\n")]
    assert announced == [
        "Starting an AWS emulator on this machine ...",
        "Deploying template.yaml to it ...",
        "Posting examples/access-review.md to it ...",
    ]
    assert any(line.endswith(" out, at no cost.\n") for line in lines)
    assert any("/queue#/jobs/" in line for line in lines)
    assert "\x1b" not in "".join(lines)


def test_demo_says_what_to_do_next() -> None:
    with local_command(ROOT, "demo", OPENAI_API_KEY="", OPENAI_BASE_URL="") as demo:
        said, errors = demo.communicate(timeout=LIMIT)

    assert (demo.returncode, errors) == (0, "")
    last = said[said.index("The offline model") :]
    assert all(command in last for command in ("make demo FILE=notes.md", "make dev", ".env", "own-chain.md"))


def test_a_stack_that_is_warmed_up_has_started_the_functions_behind_the_dashboard(tmp_path: Path) -> None:
    with EmbeddedStack.start(folder=tmp_path) as stack:
        for thread in stack.warm_up():
            thread.join(10 * LIMIT)
        log = (tmp_path / "emulator.log").read_text(encoding="utf-8")

    started = re.findall(r"Lambda worker spawned for \S*?(Web|Api)Function", log)
    assert {"Web", "Api"} <= set(started)


def test_the_projects_own_template_runs_a_job_to_its_end() -> None:
    with EmbeddedStack.start() as stack, Jobchain(stack.api_url) as api:
        handle = api.submit("Passwords must have 12 characters. Users should not reuse them.")

        job = handle.wait(timeout=LIMIT, poll=0.05)

        assert job.error is None
        assert job.result.keys() >= {"summary", "checklist", "diagram"}
