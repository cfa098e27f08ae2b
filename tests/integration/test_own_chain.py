"""docs/tutorial/own-chain.md, typed word for word in an empty home folder: the wheel, a chain, a stack that runs it."""

import hashlib
import os
import re
import signal
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from tests import checkout, wheelhouse
from tests.conftest import ROOT
from tests.integration.test_local_stack import LIMIT, read_until

PAGE = ROOT / "docs" / "tutorial" / "own-chain.md"
MOST_LINES = 20
MADE = {".venv", ".cache", ".local", "dist", "__pycache__"}
"""What commands make in a checkout; git ignores it."""


def blocks() -> list[tuple[str, str]]:
    """The page's code: what stands after the first fence, and the lines."""
    return re.findall(r"^```([^\n]+)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def script(parts: list[tuple[str, str]]) -> str:
    """What a reader types, and the files that they write, in order, with a line between the outputs of two blocks."""
    return "\necho NEXT-BLOCK\n".join(
        text if kind == "bash" else f"cat > {kind.partition('path=')[2]} <<'THE-END'\n{text}THE-END"
        for kind, text in parts
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reader's: a clone, with the environment that `make setup` has made, and nothing else."""
    home = tmp_path_factory.mktemp("home")
    clone = checkout.copy_to(home / "jobchain")
    uv = clone / ".cache" / "uv" / "bin" / "uv"
    uv.parent.mkdir(parents=True)
    uv.touch()
    for name in ("requirements/uv.txt", "pyproject.toml", "requirements/dev.txt", uv):
        os.utime(clone / name, (0, 0))  # older than the environment, so that nothing is installed
    (clone / ".venv" / "bin").mkdir(parents=True)
    (clone / ".venv" / ".ready").touch()
    # The packages installed here, with the clone's own code before this project's.
    python = clone / ".venv" / "bin" / "python"
    paths = os.pathsep.join(str(clone / root) for root in checkout.ROOTS)
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{paths}" exec "{sys.executable}" "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    return home


@pytest.fixture(scope="module")
def environment(home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """For pip, an index of nothing but what is installed here; Python is this one."""
    folder = tmp_path_factory.mktemp("wheels")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *extras["cli"], *extras["chains"], "pytest"]
    wheelhouse.fill(folder, [line for line in lines if not line.startswith("jobchain")])
    commands = tmp_path_factory.mktemp("bin")
    (commands / "python3").symlink_to(Path(sys.executable).resolve())
    keep = {name: os.environ[name] for name in ("LANG", "TMPDIR") if name in os.environ}
    return {
        **keep,
        "HOME": str(home),
        "PATH": os.pathsep.join([str(commands), os.environ["PATH"]]),
        "NO_PROXY": "*",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PYTEST_ADDOPTS": f"--junitxml={home}/tests.xml",
    }


def code_of(clone: Path) -> dict[str, str]:
    """The files of a checkout by their names, but for what commands make."""
    files = (path for path in sorted(clone.rglob("*")) if not MADE & {*path.relative_to(clone).parts})
    return {
        str(path.relative_to(clone)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.is_file()
    }


class Shell:
    """A terminal: one shell, into which blocks are typed one after the other."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self._environment = environment
        self._folder = folder

    def type(self, parts: list[tuple[str, str]]) -> list[str]:
        """What each block printed."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script(parts)],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=2 * LIMIT,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.split("NEXT-BLOCK\n")

    @contextmanager
    def running(self, command: str, ready: str) -> Iterator[IO[str]]:
        """The output of a command that runs until Ctrl-C, from where it has printed `ready`."""
        pipe = subprocess.PIPE
        with subprocess.Popen(
            ["bash", "-c", command],
            cwd=self._folder,
            env=self._environment,
            stdout=pipe,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            assert process.stdout
            try:
                read_until(process.stdout, ready)
                yield process.stdout
            finally:
                os.killpg(process.pid, signal.SIGINT)
                process.communicate(timeout=LIMIT)


def test_the_chain_of_the_tutorial_has_three_steps_in_twenty_lines() -> None:
    (chain,) = (text for kind, text in blocks() if kind.endswith("/house_rules.py") and "tests/" not in kind)

    assert len(chain.splitlines()) <= MOST_LINES
    assert len(re.findall(r"^@chain\.(?:ask|code)", chain, re.MULTILINE)) == 3


def test_the_tutorial_leads_from_an_empty_folder_to_a_chain_that_runs_as_a_job(
    home: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    # given
    typed = blocks()
    (start,) = (place for place, (kind, _) in enumerate(typed) if kind == "sh")
    clone = home / "jobchain"
    before = code_of(clone)
    shell = Shell(environment, tmp_path)

    # when: everything up to the stack, in the first terminal
    installed, made, _, tried, _, tested, listed = shell.type(typed[:start])

    # then
    assert "Successfully installed" in installed
    assert "4 passed" in made
    assert "house_rules:chain: 3 steps, no mistakes" in tried
    assert "Doors must be locked at night" in tried
    assert "2 passed" in tested
    assert sum(float(case.get("time", "9")) for case in ET.parse(home / "tests.xml").iter("testcase")) < 1
    assert listed == ""

    # when: the stack in the second terminal, and a job of the chain
    activated = [("bash", ". ~/rules/.venv/bin/activate\ncd ~/jobchain")]
    with shell.running(typed[start][1].strip(), "Dashboard ") as output:
        _, submitted = shell.type([*activated, *typed[start + 1 : start + 2]])
        shell.type(typed[start + 2 : start + 3])
        read_until(output, "house_rules has changed: loaded.")
        _, again = shell.type([*activated, *typed[start + 3 :]])

    # then
    assert "house_rules: Makes a numbered sheet" in submitted
    assert "- Doors must be locked at night, also those of empty rooms. (Number: 1)\n" in submitted
    assert "- Doors must be locked at night, also those of empty rooms. (Item: 1)\n" in again
    assert code_of(clone) == before
