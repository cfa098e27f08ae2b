"""What a newcomer sees while `make` installs what it needs: never silence."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow

LIMIT = 120.0  # seconds; half a second is usual

# A python whose pip, and a uv whose `pip sync`, take until the log shows that make has counted the seconds.
WAIT = 'until [ "$(grep -c "still running" "$LOG")" -ge {count} ]; do sleep 0.02; done'
PYTHON = f"""#!/bin/sh
case "$*" in
*"-m pip"*) {WAIT.format(count=1)}
    mkdir -p .cache/uv/bin && cp uv .cache/uv/bin/uv ;;
*sys.executable*) echo /any/python ;;
esac
"""
UV = f"""#!/bin/sh
case "$*" in
venv*) mkdir -p .venv/bin && cp uv .venv/bin/python ;;
*"pip sync"*) {WAIT.format(count=2)}; exit $SYNC ;;
esac
"""


def test_each_target_is_in_the_reference() -> None:
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = re.findall(r"`make ([a-z-]+)", (ROOT / "docs" / "reference" / "make.md").read_text())

    assert {*named} == {*targets}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of a Makefile and what it reads, with a python and a uv that install nothing."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "uv.txt").touch()
    (tmp_path / "requirements" / "dev.txt").write_text("a==1 \\\n    --hash=sha256:00\nb==2\n")
    for name, text in (("python", PYTHON), ("uv", UV)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    return tmp_path


def setup(project: Path, sync: int = 0) -> tuple[int, str]:
    """Runs `make setup` as CI does, without a terminal; gives its status and its log."""
    log = project / "log"
    with log.open("w") as out:
        done = subprocess.run(
            ["make", "setup", "PYTHON=./python", "BEAT=1"],
            cwd=project,
            env={"PATH": os.environ["PATH"], "LOG": str(log), "SYNC": str(sync)},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            timeout=LIMIT,
            check=False,
        )
    return done.returncode, log.read_text()


def test_each_stage_of_the_set_up_is_told_and_then_that_it_still_runs(project: Path) -> None:
    status, log = setup(project)

    fetching, running, installing, running_too, *_ = log.splitlines()
    assert status == 0
    assert fetching.startswith("Fetching uv")
    assert installing.startswith("Installing up to 2 packages into .venv")
    assert [running, running_too] == ["  still running after 1 s"] * 2
    assert not [c for c in log if ord(c) < 32 and c != "\n"]


def test_a_set_up_that_is_done_says_nothing(project: Path) -> None:
    setup(project)

    assert setup(project) == (0, "")


def test_a_stage_that_fails_fails_the_set_up(project: Path) -> None:
    status, log = setup(project, sync=7)

    assert status == 2
    assert "Error 7" in log
    assert not (project / ".venv" / ".ready").exists()
