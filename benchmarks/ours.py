"""Jobchain as a side of the comparison: its embedded stack, with the real functions in processes of their own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import cold_start, processes
from benchmarks.client import BenchmarkError
from benchmarks.report import ROOT
from local.emulator import child_environment
from local.settings import Settings
from local.stack import EmbeddedStack

WORKERS = 10
"""`WorkerConcurrency`: twice the template's default, which is made for new accounts."""
AT_ONCE = 10 * WORKERS
"""Jobs that run at a time: each worker takes ten."""


@dataclass(frozen=True, slots=True)
class Jobchain:
    """A stack that runs. What counts are the functions' processes, not the emulator's."""

    stack: EmbeddedStack

    @property
    def url(self) -> str:
        return self.stack.api_url

    @property
    def emulator(self) -> int:
        """The emulator's process."""
        return self.stack.emulator.pid

    def cpu_seconds(self) -> float:
        """Of all processes of functions, so far."""
        return processes.cpu_seconds_below(self.emulator)

    def memory(self) -> int:
        """Bytes that the functions' processes hold."""
        return sum(map(processes.memory, processes.descendants(self.emulator)))

    def running(self) -> list[int]:
        """The processes in which jobs run: those of the worker function."""
        return [
            pid
            for pid in processes.descendants(self.emulator)
            if processes.environment(pid).get("POWERTOOLS_SERVICE_NAME") == "worker"
        ]

    def gave_up(self) -> bool:
        """Never: the sweeper sends each job that has not ended."""
        return False


@contextmanager
def start(
    base_url: str, *, working: bool = True, workers: int = WORKERS, parameters: Mapping[str, str] | None = None
) -> Iterator[Jobchain]:
    """A stack that calls the model at `base_url`; if it is not `working`, no worker gets a message.

    `parameters` are others of the template.
    """
    settings = Settings(openai_base_url=base_url)
    quick = {"WorkerConcurrency": str(workers), "RequestsPerSecond": "10000", "RequestBurst": "5000"}
    with EmbeddedStack.start(settings, parameters={**quick, **(parameters or {})}) as stack:
        if not working:
            functions = stack.client("lambda")
            for mapping in functions.list_event_source_mappings()["EventSourceMappings"]:
                functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
        yield Jobchain(stack)


@dataclass(frozen=True, slots=True)
class Code:
    """The api function's code: where it lies, and the Python that runs it."""

    python: str
    path: tuple[Path, ...]

    @classmethod
    def built(cls) -> "Code":
        """What is deployed: what `make build` made. Raises BenchmarkError."""
        try:
            python = cold_start.find_python()
            cold_start.check_build(python)
        except cold_start.BuildError as error:
            raise BenchmarkError(str(error)) from error
        return cls(python, (cold_start.BUILD / "ApiFunction", cold_start.LAYER))


SOURCE = Code(sys.executable, (ROOT / "functions" / "api", ROOT / "layers" / "common"))


def first_post(side: Jobchain, text: str, code: Code) -> float:
    """Seconds from the start of a fresh process to its answer of its first POST.

    The process does what Lambda's runtime does: it imports the api function's handler, and calls it with an event of
    the gateway's form. The table and the queue are the emulator's.
    """
    event = json.loads((ROOT / "events" / "api_post_job.json").read_text(encoding="utf-8"))
    event["body"] = json.dumps({"input_text": text})
    for headers in (event["headers"], event["multiValueHeaders"]):
        headers.pop("Idempotency-Key", None)
    functions = side.stack.client("lambda")
    (api,) = [one for one in functions.list_functions()["Functions"] if "ApiFunction" in one["FunctionName"]]
    environment = child_environment(
        os.environ,
        side.stack.credentials,
        {
            **api["Environment"]["Variables"],
            "AWS_ENDPOINT_URL": side.stack.endpoint_url,
            "PYTHONPATH": ":".join(map(str, code.path)),
        },
    )
    started = time.perf_counter()
    with subprocess.Popen(
        [code.python, "-P", "-c", _FIRST_POST, json.dumps(event)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        said = [line for line in process.stdout if line.startswith("status ")]
        seconds = time.perf_counter() - started
    if said != ["status 201\n"]:
        raise RuntimeError(f"the api function's first POST was not answered with 201, but {said}")
    return seconds


_FIRST_POST = """
import json, os, sys
from types import SimpleNamespace
from jobchain_api.handler import lambda_handler

context = SimpleNamespace(
    function_name="api",
    memory_limit_in_mb=1024,
    invoked_function_arn="arn:aws:lambda:us-east-1:000000000000:function:api",
    aws_request_id="c6af9ac6-7b61-11e6-9a41-93e8deadbe01",
    get_remaining_time_in_millis=lambda: 25_000,
)
print("status", lambda_handler(json.loads(sys.argv[1]), context)["statusCode"], flush=True)
os._exit(0)
"""
