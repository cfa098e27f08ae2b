"""What the pages for operators have a reader type works on a stack, as it is typed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jobchain_client import Jobchain
from local.stack import EmbeddedStack
from tests.conftest import ROOT
from tests.e2e.conftest import LIMIT

pytestmark = pytest.mark.thorough

PAGES = ("how-to/first-deployment.md", "how-to/runbook.md")
# What is not on this machine: AWS's own tools, and the build. tests/targets runs them.
STAND_IN = """#!/bin/sh
case "$*" in
    *describe-stacks*) echo "$API_URL" ;;
    *) echo x ;;
esac
"""


def text_of(page: str) -> str:
    return (ROOT / "docs" / page).read_text(encoding="utf-8")


def script(page: str) -> str:
    """All blocks of a page, one after the other, those within a list too."""
    return "\n".join(re.findall(r"^ *```sh\n(.*?)^ *```$", text_of(page), re.DOTALL | re.MULTILINE))


def executable(file: Path, content: str) -> None:
    file.write_text(content)
    file.chmod(0o755)


@pytest.fixture
def typed(stack: EmbeddedStack, tmp_path: Path) -> dict[str, str]:
    """The environment of a reader who has signed in, in a checkout."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("aws", "make"):
        executable(tools / name, STAND_IN)
    executable(tools / "jobchain", f'#!/bin/sh\nexec "{sys.executable}" -m jobchain_cli "$@"\n')
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    with Jobchain(stack.api_url) as client:
        event_id = client.submit("Doors must be locked at night.").event_id
        client.wait(event_id, LIMIT)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JOBCHAIN_")}
    return {
        **kept,
        "PATH": f"{tools}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "OPENAI_API_KEY": "sk-test",
        "API_URL": stack.api_url,
        "EVENT_ID": event_id,
        "AWS_ENDPOINT_URL": stack.endpoint_url,
        "AWS_ACCESS_KEY_ID": stack.credentials.access_key,
        "AWS_SECRET_ACCESS_KEY": stack.credentials.secret_key,
        "NO_PROXY": "*",
    }


@pytest.mark.parametrize("page", PAGES)
def test_each_block_runs_as_it_is(typed: dict[str, str], tmp_path: Path, page: str) -> None:
    # The emulator has one region, and the page's is an example.
    lines = script(page).replace("AWS_DEFAULT_REGION=eu-central-1", "AWS_DEFAULT_REGION=us-east-1")

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", lines],
        cwd=tmp_path,
        env={**typed, "AWS_DEFAULT_REGION": "us-east-1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=2 * LIMIT,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "The stack jobchain works." in done.stdout


OTHERS = ["how-to/operate.md", "how-to/deploy.md", "how-to/write-a-chain.md", "reference/command-line.md"]


@pytest.mark.parametrize("page", [*PAGES, *OTHERS])
def test_each_command_in_a_sentence_exists(typed: dict[str, str], tmp_path: Path, page: str) -> None:
    prose = re.sub(r"```.*?```", "", text_of(page), flags=re.DOTALL)
    commands = [" ".join(found.split()) for found in re.findall(r"`(jobchain [^`]+)`", prose)]

    for command in commands:
        if re.search(r"COMMAND|--install-completion|…", command):
            continue
        # With --help the options are checked, and nothing is done.
        done = subprocess.run(
            ["bash", "-c", f"{command} --help"], cwd=tmp_path, env=typed, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
