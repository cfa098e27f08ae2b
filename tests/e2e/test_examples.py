"""The examples of the docs, run as they are there."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from local.stack import EmbeddedStack
from tests.conftest import ROOT
from tests.e2e.conftest import LIMIT

pytestmark = pytest.mark.thorough


def script(language: str, page: str = "how-to/call-the-api.md") -> str:
    """All of a page's blocks in a language, one after the other, as a reader would type them."""
    text = (ROOT / "docs" / page).read_text()
    return "\n".join(re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL))


def run(command: list[str], stack: EmbeddedStack, folder: Path | None = None) -> str:
    """What a script prints; it fails the test where the script fails."""
    environment = {
        **os.environ,
        "API_URL": stack.api_url,
        "API_KEY": "any-text",
        "JOBCHAIN_URL": stack.api_url,
        "NO_PROXY": "*",
    }
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_curl_of_an_agent(stack: EmbeddedStack) -> None:
    printed = run(["bash", "-euo", "pipefail", "-c", script("bash", "how-to/agents.md")], stack)

    assert json.loads(printed)["result"]["structuredContent"]["status"] == "pending"


def test_curl(stack: EmbeddedStack) -> None:
    printed = run(["bash", "-euo", "pipefail", "-c", script("bash")], stack)

    assert '"status": "completed"' in printed
    assert '"diagram": "flowchart TD' in printed
    assert "urn:jobchain:problem:invalid-request" in printed  # the batch's empty text
    assert printed.count("urn:jobchain:problem:job-is-final") == 2  # a completed job can't be retried or cancelled
    assert '"today":' in printed


@pytest.mark.skipif(not shutil.which("pwsh"), reason="there is no PowerShell on this machine")
def test_powershell(stack: EmbeddedStack) -> None:
    preamble = '$ErrorActionPreference = "Stop"\n'

    printed = run(["pwsh", "-NoProfile", "-NonInteractive", "-Command", preamble + script("powershell")], stack)

    assert "flowchart TD" in printed
    assert "invalid-request" in printed


def test_the_client(stack: EmbeddedStack) -> None:
    printed = run([sys.executable, "-c", script("python", "reference/python-client.md")], stack)

    assert printed.startswith("['Passwords must have at least 12 characters.'")
    assert "refused: invalid-request" in printed
    assert "completed ['summary', 'checklist', 'diagram']" in printed
    assert "job-is-final" in printed
    assert "job-not-found, request" in printed
    assert printed.endswith("[['Encrypt backups.'], ['Badges must be worn.']]\n")


def test_the_command_line(stack: EmbeddedStack, tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("Doors must be locked at night.")
    (tmp_path / "policy.md").write_text("Backups must be encrypted.")
    preamble = f'jobchain() {{ "{sys.executable}" -m jobchain_cli "$@"; }}\n'

    printed = run(
        ["bash", "-euo", "pipefail", "-c", preamble + script("bash", "reference/command-line.md")], stack, tmp_path
    )

    assert printed.startswith("Summary\n")
    assert (tmp_path / "checklist.md").read_text().startswith("# notes.md\n")
    assert '{"source": "policy.md", ' in printed
    assert " is deleted.\n" in printed
    assert "Today (" in printed


def test_the_readme_shows_what_the_demo_gives(http: httpx2.Client, finished: Callable[[str], dict[str, Any]]) -> None:
    text = (ROOT / "examples" / "access-review.md").read_text(encoding="utf-8")
    shown = (ROOT / "README.md").read_text(encoding="utf-8").split("```")[1]
    (summary,) = re.findall(r"Summary +(.*) …", shown)
    items = re.findall(r"\[ \] (.*?\.|.*?(?= …))(?:\s|$)", shown)
    (item_count,) = re.findall(r"\((\d+) items\)", shown)
    (node_count,) = re.findall(r"\(Mermaid, (\d+) nodes\)", shown)

    result = finished(http.post("/jobs", json={"input_text": text}).raise_for_status().json()["event_id"])["result"]

    assert result["summary"].startswith(summary)
    assert len(items) == 3
    assert all(any(item.startswith(one) for item in result["checklist"]) for one in items)
    assert len(result["checklist"]) == int(item_count)
    assert len(re.findall(r"^ +n\d+[\[({]", result["diagram"], re.MULTILINE)) == int(node_count)
