"""The examples of docs/examples.md, run as they stand there."""

import os
import re
import shutil
import subprocess

import pytest

from local.stack import LocalStack
from tests.conftest import ROOT

TEXT = (ROOT / "docs" / "examples.md").read_text()


def script(language: str) -> str:
    """All of the page's blocks in a language, one after the other, as a reader would type them."""
    return "\n".join(re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL))


def run(command: list[str], stack: LocalStack) -> str:
    """What a script prints; it fails the test where the script fails."""
    environment = {**os.environ, "API_URL": stack.api_url, "API_KEY": "any-text", "NO_PROXY": "*"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_curl(stack: LocalStack) -> None:
    printed = run(["bash", "-euo", "pipefail", "-c", script("bash")], stack)

    assert '"status": "completed"' in printed
    assert '"diagram": "flowchart TD' in printed
    assert "urn:jobchain:problem:invalid-request" in printed  # the batch's empty text
    assert printed.count("urn:jobchain:problem:job-is-final") == 2  # a completed job can't be retried or cancelled
    assert '"today":' in printed


@pytest.mark.skipif(not shutil.which("pwsh"), reason="there is no PowerShell on this machine")
def test_powershell(stack: LocalStack) -> None:
    preamble = '$ErrorActionPreference = "Stop"\n'

    printed = run(["pwsh", "-NoProfile", "-NonInteractive", "-Command", preamble + script("powershell")], stack)

    assert "flowchart TD" in printed
    assert "invalid-request" in printed
