"""docs/how-to/webhooks.md: its receivers and its commands, as a reader types them."""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from local.dev import StackFile
from local.emulator import free_port
from local.stack import EmbeddedStack
from tests.conftest import ROOT
from tests.e2e.conftest import LIMIT, poll

PAGE = (ROOT / "docs" / "how-to" / "webhooks.md").read_text(encoding="utf-8")
NODE = shutil.which("node")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def has_library() -> bool:
    """Whether node finds the reference library: `npm install standardwebhooks`, and NODE_PATH to its folder."""
    if NODE is None:
        return False
    return subprocess.run([NODE, "-e", 'require("standardwebhooks")'], capture_output=True, check=False).returncode == 0


@pytest.fixture
def port() -> int:
    """A free port, in place of the page's 3000."""
    return free_port()


@pytest.fixture
def folder(stack: EmbeddedStack, tmp_path: Path) -> Path:
    """A project folder in which `make dev` runs: its stack file and its `.venv/bin/jobchain`."""
    # As `make dev` does: a function that is started on a busy machine may take longer than a request.
    for thread in stack.warm_up():
        thread.join(LIMIT)
    (tmp_path / ".local").mkdir()
    StackFile(tmp_path / ".local").write(stack)
    command = tmp_path / ".venv" / "bin" / "jobchain"
    command.parent.mkdir(parents=True)
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m jobchain_cli "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    return tmp_path


def type_in(commands: str, folder: Path, port: int) -> str:
    """What a shell prints for a page's commands; it fails the test where they fail."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JOBCHAIN_")}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands.replace("3000", str(port))],
        cwd=folder,
        env={**environment, "NO_PROXY": "*"},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@contextmanager
def receiving(command: list[str], folder: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """A receiver of the page, once it takes connections."""
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        try:
            poll(lambda: takes_connections(port) or process.poll() is not None)
            yield process
        finally:
            process.kill()


def takes_connections(port: int) -> bool:
    try:
        socket.create_connection(("localhost", port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("language", "file", "program"),
    [
        ("python", "receiver.py", sys.executable),
        pytest.param(
            "js",
            "receiver.cjs",
            NODE or "",
            marks=pytest.mark.skipif(not has_library(), reason="node has no package standardwebhooks here"),
        ),
    ],
)
def test_the_page_leads_to_a_verified_webhook(
    folder: Path, port: int, stack: EmbeddedStack, language: str, file: str, program: str
) -> None:
    # given the endpoint and the receiver of the page
    create, send, listed = blocks("bash")
    type_in(create, folder, port)
    assert (folder / "endpoint.json").stat().st_mode & 0o077 == 0
    (source,) = blocks(language)
    (folder / file).write_text(source.replace("3000", str(port)), encoding="utf-8")

    with receiving([program, file], folder, port) as process:
        # when the test event is sent
        printed = type_in(send + listed, folder, port)

        # then the receiver has verified it, and the list says so
        assert process.stdout is not None
        line = process.stdout.readline()
    webhook_id = printed.split()[0]
    assert "is delivered: the receiver answered 204." in printed
    assert line.split()[:3] == ["verified:", webhook_id, "webhook.test"]
    assert re.search(rf"{webhook_id} +webhook.test +ep_\w+ +delivered +1 ", printed)
