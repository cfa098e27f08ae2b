"""Every `aws` command of the docs is one that the AWS CLI takes: its words, options and the shape of their values.

Each is given to the real CLI with an endpoint where nothing listens: what gets as far as the connection is well-formed.
Shell blocks run as they are, in an empty folder, with stand-ins that note how they are called.
"""

import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.targets.conftest import environment

AWS = ROOT / ".venv-sam" / "bin" / "aws"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# What sets up the CLI itself, and asks on a terminal.
SET_UP = ("configure", "sso")
# The stand-ins print a word, as some commands are arguments of others.
STAND_IN = """#!/usr/bin/env python3
import json, os, sys
with open(os.environ["CALLS"], "a") as calls:
    calls.write(json.dumps([os.path.basename(sys.argv[0]), *sys.argv[1:]]) + "\\n")
print("x")
"""
STAND_INS = ("aws", "make", "curl", "jobchain", ".venv/bin/jobchain", ".venv-sam/bin/sam")


def _blocks(text: str) -> list[str]:
    blocks: list[str] = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [block for block in blocks if re.search(r"(^|[\s(])aws ", block)]


def _inline(text: str) -> list[list[str]]:
    """Commands within a sentence; what stands for a value of the reader's is a value here."""
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    commands = [" ".join(span.split()) for span in re.findall(r"`(aws [^`]+)`", prose)]
    return [shlex.split(re.sub(r"…|<\w+>", "111", command)) for command in commands]


INLINE = [(page.name, command) for page in PAGES for command in _inline(page.read_text()) if command[1] not in SET_UP]
BLOCKS = [(page.name, block) for page in PAGES for block in _blocks(page.read_text())]


def check(command: list[str], folder: Path) -> None:
    variables = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_MAX_ATTEMPTS": "1",
    }
    done = subprocess.run(
        [AWS, *command[1:], "--endpoint-url", "http://127.0.0.1:9"],
        env=environment(variables),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Could not connect to the endpoint URL" in done.stderr, f"{shlex.join(command)}\n{done.stderr}"


def test_the_docs_have_commands_to_check() -> None:
    assert len(INLINE) >= 8
    assert len(BLOCKS) >= 4


@pytest.mark.parametrize(("page", "command"), INLINE, ids=[" ".join(command[1:3]) for _, command in INLINE])
def test_a_command_in_a_sentence_is_well_formed(tmp_path: Path, page: str, command: list[str]) -> None:
    (tmp_path / "key.txt").write_text("sk-test")

    check(command, tmp_path)


@pytest.mark.parametrize(("page", "block"), BLOCKS, ids=[f"{page} {number}" for number, (page, _) in enumerate(BLOCKS)])
def test_the_commands_of_a_block_are_well_formed(tmp_path: Path, page: str, block: str) -> None:
    calls = tmp_path / "calls"
    for name in STAND_INS:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(STAND_IN)
        file.chmod(0o755)

    # when the block is typed as it is
    subprocess.run(
        ["bash", "-euc", block],
        env=environment({"PATH": f"{tmp_path}:{os.environ['PATH']}", "CALLS": str(calls), "OPENAI_API_KEY": "sk-test"}),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    # then every call of the CLI is well-formed
    (tmp_path / "events").symlink_to(ROOT / "events")
    (tmp_path / "key.txt").write_text("sk-test")
    found = [call for call in map(json.loads, calls.read_text().splitlines()) if call[0] == "aws"]
    assert found
    for call in found:
        check(call, tmp_path)
