"""The command line as processes of their own, against the whole stack."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobchain_client import Jobchain
from local.dev import StackFile
from local.settings import Settings
from local.stack import EmbeddedStack
from tests.e2e.conftest import LIMIT, poll

TEXT = "Doors must be locked at night. Users should not share badges."

Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two texts, where nothing is set."""
    (tmp_path / "a.md").write_text(TEXT)
    (tmp_path / "b.md").write_text("Backups must be encrypted.")
    return tmp_path


def environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JOBCHAIN_")}
    return {**kept, "XDG_CONFIG_HOME": str(folder / "config")}


@pytest.fixture
def jobchain(folder: Path) -> Run:
    """Runs `jobchain` in the folder."""

    def run(*arguments: str, said: str | None = None, **added: str) -> Done:
        return subprocess.run(
            [sys.executable, "-m", "jobchain_cli", *arguments],
            cwd=folder,
            env={**environment(folder), **added},
            input=said,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )

    return run


@pytest.fixture
def up(stack: EmbeddedStack, folder: Path) -> EmbeddedStack:
    """The stack, announced as `make dev` does."""
    announce(stack, folder)
    return stack


def announce(stack: EmbeddedStack, folder: Path) -> None:
    (folder / ".local").mkdir()
    StackFile(folder / ".local").write(stack)


@pytest.fixture
def idle(up: EmbeddedStack) -> Iterator[Callable[[], None]]:
    """Has workers take no messages, until they are told to."""
    client = up.client("lambda")

    def take_messages(enabled: bool) -> None:
        for source in client.list_event_source_mappings()["EventSourceMappings"]:
            client.update_event_source_mapping(UUID=source["UUID"], Enabled=enabled)

    take_messages(False)
    yield lambda: take_messages(True)
    take_messages(True)


def test_a_file_becomes_a_result(up: EmbeddedStack, jobchain: Run) -> None:
    done = jobchain("submit", "a.md", "--json")

    assert done.returncode == 0, done.stderr
    job = json.loads(done.stdout)
    assert (job["source"], job["status"]) == ("a.md", "completed")
    assert job["result"]["diagram"].startswith("flowchart TD")


def test_standard_input_becomes_markdown_in_a_pipe(up: EmbeddedStack, jobchain: Run) -> None:
    done = jobchain("submit", "-", "--markdown", said=TEXT)

    assert done.returncode == 0, done.stderr
    assert "- [ ] Doors must be locked at night. (must)\n" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.thorough
def test_several_files_are_watched_at_once(up: EmbeddedStack, jobchain: Run) -> None:
    done = jobchain("submit", "a.md", "b.md", "--chain", "guideline_checklist", "--metadata", "n=1", "--json")

    assert done.returncode == 0, done.stderr
    jobs = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(job["source"], job["status"], job["metadata"]) for job in jobs] == [
        ("a.md", "completed", {"n": "1"}),
        ("b.md", "completed", {"n": "1"}),
    ]


def test_a_job_is_submitted_watched_shown_and_deleted(up: EmbeddedStack, jobchain: Run) -> None:
    submitted = [jobchain("submit", "a.md", "--no-watch", "--idempotency-key", f"k-{up.table}") for _ in range(2)]
    event_id = submitted[0].stdout.strip()
    assert submitted[1].stdout == submitted[0].stdout

    watched = jobchain("watch", event_id)

    assert (watched.returncode, watched.stdout.startswith("Summary\n")) == (0, True)
    assert event_id in jobchain("list", "--limit", "5").stdout
    assert f"Job {event_id} (guideline_checklist): completed" in jobchain("show", event_id).stdout
    cancelled = jobchain("cancel", event_id)
    assert (cancelled.returncode, "job-is-final" in cancelled.stderr) == (1, True)
    assert jobchain("delete", event_id, "--yes").stdout == f"{event_id} is deleted.\n"
    gone = jobchain("show", event_id)
    assert (gone.returncode, "job-not-found, request " in gone.stderr) == (1, True)


@pytest.mark.thorough
def test_a_cancelled_job_ends_a_watch_and_runs_again(idle: Callable[[], None], jobchain: Run) -> None:
    # given a job that no worker has
    event_id = jobchain("submit", "a.md", "--no-watch").stdout.strip()
    assert jobchain("watch", event_id, "--timeout", "0").returncode == 5

    # when it is cancelled
    cancelled = jobchain("cancel", event_id)

    # then a watch says so, until it runs again
    assert cancelled.stdout == f"{event_id} is cancelled.\n", cancelled.stderr
    assert jobchain("watch", event_id).returncode == 4
    assert jobchain("retry", event_id).stdout == f"{event_id} is pending, and runs as soon as a worker is free.\n"
    idle()
    assert jobchain("watch", event_id).returncode == 0


@pytest.mark.thorough
def test_ctrl_c_ends_a_watch_without_a_traceback(up: EmbeddedStack, idle: Callable[[], None], folder: Path) -> None:
    with Jobchain(up.api_url) as api:
        before = {job.event_id for job in api.list(limit=100)}
        with subprocess.Popen(
            [sys.executable, "-m", "jobchain_cli", "submit", "a.md"],
            cwd=folder,
            env=environment(folder),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell that runs the tests in the background ignores it, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  # no threads here
        ) as process:
            (made,) = poll(lambda: [job for job in api.list(limit=5) if job.event_id not in before])
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=LIMIT)

        assert (process.returncode, out) == (130, "")
        assert "Traceback" not in err
        idle()
        assert api.wait(made.event_id, 30).status == "completed"


@pytest.mark.thorough
def test_progress_goes_to_the_terminal_while_the_result_goes_to_the_pipe(up: EmbeddedStack, folder: Path) -> None:
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "jobchain_cli", "submit", "a.md"],
        cwd=folder,
        env={**environment(folder), "TERM": "xterm-256color", "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    ) as process:
        os.close(theirs)
        out, _ = process.communicate(timeout=LIMIT)
        shown = os.read(ours, 100_000).decode()
        os.close(ours)

    assert process.returncode == 0, shown
    assert (out.startswith("Summary\n"), "\x1b" in out) == (True, False)
    assert re.search(r"✓.* diagram .* completed", shown)
    assert not re.search(r"\x1b\[3[0-7]m", shown)


def test_without_a_stack_it_says_how_to_get_one(jobchain: Run) -> None:
    done = jobchain("submit", "a.md")

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "make dev" in done.stderr


@pytest.mark.thorough
def test_an_api_that_does_not_answer_is_named(jobchain: Run) -> None:
    done = jobchain("list", JOBCHAIN_URL="http://127.0.0.1:1")

    *waiting, last = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (1, "")
    assert last.startswith("jobchain: no answer from 127.0.0.1:1: ")
    assert waiting == ["jobchain: waiting for the API at 'http://127.0.0.1:1' …"]


@pytest.mark.thorough
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away_is_no_error(up: EmbeddedStack, folder: Path, unbuffered: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "jobchain_cli", "chains", "--json"],
        cwd=folder,
        env={**environment(folder), "PYTHONUNBUFFERED": unbuffered},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout
        process.stdout.close()
        assert process.stderr
        err = process.stderr.read()

    assert (process.returncode, err) == (0, b"")


@pytest.mark.thorough
def test_a_key_lets_the_command_in(folder: Path, jobchain: Run) -> None:
    with EmbeddedStack.start(Settings(auth_mode="api_key")) as stack:
        announce(stack, folder)
        refused = jobchain("submit", "a.md")
        made = jobchain("keys", "create", "--tenant", "acme")
        key = made.stdout.strip()

        with_key = jobchain("submit", "a.md", "--json", JOBCHAIN_API_KEY=key)
        logged_in = jobchain("login", stack.api_url, said=key)
        (folder / ".local" / "stack.json").unlink()
        from_file: Any = jobchain("stats", "--json")

    assert (refused.returncode, "unauthorized, request " in refused.stderr) == (1, True)
    assert made.returncode == 0, made.stderr
    assert json.loads(with_key.stdout)["status"] == "completed", with_key.stderr
    assert logged_in.returncode == 0, logged_in.stderr
    assert json.loads(from_file.stdout)["jobs"]["completed"] == 1


@pytest.mark.thorough
def test_two_files_are_compared_in_one_job_within_a_budget(up: EmbeddedStack, jobchain: Run) -> None:
    compared = jobchain("submit", "a.md", "b.md", "--chain", "compare_guidelines", "--json")
    actions = jobchain("submit", "a.md", "--chain", "extract_actions", "--tier", "flex", "--markdown")

    assert compared.returncode == 0, compared.stderr
    job = json.loads(compared.stdout)
    assert (job["source"], job["job_name"], job["status"]) == ("a.md b.md", "compare_guidelines", "completed")
    assert actions.returncode == 0, actions.stderr
    assert actions.stdout.startswith("# a.md\n\n## ")
