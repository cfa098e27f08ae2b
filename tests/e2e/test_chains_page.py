"""The examples of docs/reference/chains.md, and docs/how-to/write-a-chain.md word for word in a copy of the project."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from jobchain.chains import CHAINS
from tests import checkout
from tests.conftest import ROOT
from tests.e2e.conftest import LIMIT

pytestmark = pytest.mark.thorough

PAGES = [ROOT / "docs" / "reference" / "chains.md", ROOT / "docs" / "how-to" / "write-a-chain.md"]
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)

_STACK = """
import sys
from pathlib import Path
from local.stack import EmbeddedStack
with EmbeddedStack.start(template=Path("template.yaml").resolve()) as stack:
    print(stack.api_url, flush=True)
    sys.stdin.read()
"""


def blocks(info: str) -> list[tuple[str, str]]:
    """The pages' blocks by the text after their first fence: a pattern with one group, which is returned too."""
    return re.findall(rf"^```{info}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def example(chain: str, part: str) -> Any:
    (block,) = re.findall(rf"^```json chain={chain} part={part}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    return json.loads(block)


@pytest.mark.parametrize("chain", CHAINS)
def test_each_chain_gives_what_the_reference_says(
    http: httpx2.Client, finished: Callable[[str], dict[str, Any]], chain: str
) -> None:
    request = {"job_name": chain, "payload": example(chain, "payload")}

    job = finished(http.post("/jobs", json=request).raise_for_status().json()["event_id"])

    assert job["result"] == example(chain, "result")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project, with the files and lines that the page shows."""
    copy = checkout.copy_to(tmp_path_factory.mktemp("beside") / "project")
    for name, content in blocks(r"(?:python|markdown|toml) path=(\S+)"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text(content, encoding="utf-8")
    for name, diff in blocks(r"diff path=(\S+)"):
        (copy / name).write_text(patched((copy / name).read_text(encoding="utf-8"), diff), encoding="utf-8")
    return copy


def patched(text: str, diff: str) -> str:
    """`text` with each line that begins with a plus, below the one before it in `diff`."""
    before = ""
    for line in diff.splitlines():
        if line.startswith("+"):
            assert text.count(f"{before}\n") == 1, before
            text = text.replace(f"{before}\n", f"{before}\n{line[1:]}\n")
        before = line[1:]
    return text


@pytest.fixture(scope="module")
def environment(project: Path) -> dict[str, str]:
    # What it covers is the copy, not the project.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    return {**inherited, "PYTHONPATH": os.pathsep.join(str(project / root) for root in checkout.ROOTS), "NO_PROXY": "*"}


@pytest.fixture
def api_url(project: Path, environment: dict[str, str]) -> Iterator[str]:
    """The local stack of the copy."""
    command = [sys.executable, "-c", _STACK]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=project, env=environment, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout
        yield process.stdout.readline().strip()
        process.communicate()


def test_the_chain_that_the_page_adds_runs(api_url: str, environment: dict[str, str]) -> None:
    (script,) = re.findall(r"^```bash\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env={**environment, "API_URL": api_url, "API_KEY": "any-text"},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )

    assert done.returncode == 0, done.stderr + done.stdout
    job = json.loads(done.stdout)
    assert (job["job_name"], job["status"]) == ("risk_register", "completed")
    assert job["result"] == example("risk_register", "result")


def test_the_chain_that_the_page_adds_passes_its_tests_as_the_page_says(
    project: Path, environment: dict[str, str]
) -> None:
    (command,) = re.findall(r"^\.venv/bin/pytest (.*)$", TEXT, re.MULTILINE)

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *command.split()],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_the_package_that_the_page_writes_is_formatted_and_changes_nothing_but_the_list(project: Path) -> None:
    package = project.parent / "risk-register"
    for command in (["ruff", "check", "--select=A,ARG,B,E,F,I,N,RET,SIM,UP"], ["ruff", "format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", *command, "--isolated", "--line-length=120", "."],
            cwd=package,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    assert {name for name, _ in blocks(r"diff path=(\S+)")} == {"layers/chains.txt"}
