"""docs/tutorial/first-job.md: its bash blocks, typed one after the other into one shell."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from local.dev import StackFile
from local.stack import EmbeddedStack
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "tutorial" / "first-job.md"


def blocks() -> list[str]:
    return re.findall(r"^```bash\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(stack: EmbeddedStack, tmp_path: Path) -> Path:
    """A project folder in which `make dev` runs: its stack file and its `.venv/bin/jobchain`."""
    (tmp_path / ".local").mkdir()
    StackFile(tmp_path / ".local").write(stack)
    command = tmp_path / ".venv" / "bin" / "jobchain"
    command.parent.mkdir(parents=True)
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m jobchain_cli "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    return tmp_path


def test_the_commands_of_the_tutorial_work_as_typed(folder: Path) -> None:
    # given a marker after each block, to tell their outputs apart
    script = "\necho ====\n".join(blocks())
    environment = {name: value for name, value in os.environ.items() if name not in ("API_URL", "JOBCHAIN_URL")}

    # when
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={**environment, "NO_PROXY": "*"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )

    # then
    assert done.returncode == 0, done.stderr + done.stdout
    submitted, address, posted, repeated = done.stdout.split("====\n")
    assert submitted.startswith("Summary\n")
    assert "Badges must be worn at all times." in submitted
    assert address == ""
    assert '"status": "completed"' in posted
    first, second = repeated.split()
    assert first == second
