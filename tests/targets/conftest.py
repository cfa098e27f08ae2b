"""What runs for real here: `sam`, Docker and compose. Each command and its answer go to the output: run with `-s`."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from local.emulator import free_port
from tests.conftest import ROOT
from tests.e2e.conftest import FINAL, poll

SAM = ROOT / ".venv-sam" / "bin" / "sam"
BUILD = ROOT / ".aws-sam" / "build"
START_LIMIT = 120.0  # seconds
TEXT = "Passwords must have 12 characters. Users should not reuse them."


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of this folder needs Docker or what was built for it."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.targets)


def say(text: str) -> None:
    print(f"    {text}", flush=True)


def environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """The caller's, without AWS credentials, with which SAM stalls, and without settings of the developer's own."""
    ours = ("OPENAI_", "AWS_", "LOCALSTACK_", "COMPOSE_", "AUTH_MODE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "SAM_CLI_TELEMETRY": "0", "AWS_DEFAULT_REGION": "us-east-1", **(changes or {})}


def run(
    command: Sequence[str | Path],
    changes: Mapping[str, str] | None = None,
    *,
    cwd: Path = ROOT,
    fails: bool = False,
    stdin: str | None = None,
) -> str:
    """What the command prints; with `fails` it must fail, and what it says is given, too."""
    say(f"$ {shlex.join(map(str, command))}")
    started = time.monotonic()
    done = subprocess.run(
        list(map(str, command)),
        env=environment(changes),
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )
    lines = (done.stdout + done.stderr).strip().splitlines()
    for line in lines[-6:]:
        say(f"  {line[:200]}")
    say(f"  ({time.monotonic() - started:.1f} s, status {done.returncode})")
    assert (done.returncode != 0) is fails, done.stdout + done.stderr
    return done.stdout + done.stderr if fails else done.stdout


@contextmanager
def running(
    command: Sequence[str | Path], changes: Mapping[str, str] | None = None, *, cwd: Path
) -> Iterator[list[str]]:
    """The lines that the command prints while it runs; at the end it is told to stop, and must do so."""
    say(f"$ {shlex.join(map(str, command))} &")
    process = subprocess.Popen(
        list(map(str, command)),
        env=environment(changes),
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines: list[str] = []

    def read() -> None:
        assert process.stdout is not None
        lines.extend(iter(process.stdout.readline, ""))

    # `extend` takes line by line as they come.
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield lines
    except BaseException:
        for line in lines[-30:]:
            say(f"  {line.rstrip()}")
        raise
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        reader.join(5)
        if process.stdout is not None:
            process.stdout.close()


@pytest.fixture(scope="session")
def docker() -> str:
    """The engine's version. Without one nothing here can be said to work, so that is a failure."""
    if shutil.which("docker") is None:
        pytest.fail("these tests need Docker: there is no `docker` on the PATH")
    version = run(["docker", "version", "--format", "{{.Server.Version}}"])
    run(["docker", "compose", "version", "--short"])
    return version.strip()


@pytest.fixture(scope="session")
def python313() -> Path:
    """A real Python 3.13, which `make build` needs, too."""
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    named = [os.environ.get("PYTHON313") or "", shutil.which("python3.13") or ""]
    for candidate in [*named, *map(str, sorted(versions.glob("3.13*/bin/python3.13")))]:
        if candidate and subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0:
            return Path(candidate)
    pytest.fail("these tests need a python3.13, as `make build` does: name one in PYTHON313")


def port() -> str:
    return str(free_port())


def api(url: str) -> httpx2.Client:
    return httpx2.Client(base_url=url, timeout=60, trust_env=False)


def answers(url: str) -> bool:
    """Whether the API there says that it is well."""
    try:
        with api(url) as client:
            return client.get("/health").status_code == 200
    except httpx2.HTTPError:
        return False


def submit(client: httpx2.Client) -> str:
    """A new job's id."""
    response = client.post("/jobs", json={"input_text": TEXT})
    say(f"POST {client.base_url}jobs: {response.status_code} {response.text}")
    assert response.status_code == 201
    return str(response.json()["event_id"])


def result(client: httpx2.Client, event_id: str) -> dict[str, Any]:
    """The job once it is final."""

    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = client.get(f"/jobs/{event_id}").raise_for_status().json()
        return found if found["status"] in FINAL else None

    job: dict[str, Any] = poll(look, START_LIMIT)
    say(
        f"GET {client.base_url}jobs/{event_id}: {job['status']}, checklist of {len(job['result'].get('checklist', []))}"
    )
    return job


def python(*arguments: str) -> list[str]:
    """A command of this environment's Python."""
    return [sys.executable, *arguments]
