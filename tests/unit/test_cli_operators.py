"""What operators' commands take: an option that cannot be used is named, before anything is done."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from jobchain_cli.__main__ import main
from jobchain_cli.errors import CommandError
from jobchain_cli.smoke import Options, Smoke
from jobchain_client import Problem, Unreachable

if TYPE_CHECKING:
    from jobchain_cli.stack import Stack

JOB = "3f0e1c7a-5d2b-4a7e-9c61-0b8f2d4e6a19"


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (f"retry {JOB} --failed --since 1h", 2, "--failed finds the jobs itself"),
        ("retry --failed", 2, "--failed needs --since"),
        ("retry", 2, "name the jobs to retry, or give --failed --since SPAN"),
        (f"retry {JOB} --dry-run", 2, "--dry-run goes with --failed"),
        (f"retry {JOB} --stack prod", 2, "--stack goes with --failed"),
        ("retry --failed --since yesterday", 2, "--since 'yesterday': use a number and s, m, h or d"),
        ("retry --failed --since 2h --created-since 1h", 2, "--created-since '1h': use a span that is longer than"),
        ("retry --failed --since 2h --created-since x", 2, "--created-since 'x': use a number"),
        ("retry --failed --since 2h --type Model", 2, "--type 'Model': use the type of an error"),
        ("retry --failed --since 2h --tenant A_B", 2, "--tenant 'A_B': use 1 to 63 of"),
        ("logs", 2, "name a job by its EVENT_ID, or give --errors"),
        ("logs abc", 2, "EVENT_ID: use the event_id of a job or the request_id of an answer"),
        (f"logs {JOB} --since 1", 2, "--since '1': use a number"),
        ("letters drop", 2, "name the letters to drop as `letters list` shows them, or give --all"),
        (f"letters drop {JOB} --all", 2, "and not both"),
        ("letters list --limit 0", 2, "--limit"),
        ("smoke --timeout 0", 2, "--timeout"),
        ("smoke --url example.com", 2, "--url"),
        ("smoke --api-key a\u00e4", 2, "--api-key"),
    ],
)
def test_an_option_that_cannot_be_used_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    code: int,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("JOBCHAIN_API_KEY", raising=False)

    ended = main(command.split())

    err = capsys.readouterr().err
    assert (ended, "Traceback" in err) == (code, False)
    assert words in err


@pytest.mark.parametrize(
    "command", ["smoke", "pause", "resume", "logs --errors", "letters list", "retry --failed --since 1h"]
)
def test_without_a_stack_each_command_says_how_to_name_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JOBCHAIN_API_KEY", raising=False)

    ended = main(command.split())

    assert ended == 1
    assert capsys.readouterr().err == (
        "jobchain: no local stack is up: run `make dev`, or name one on AWS with --stack\n"
    )


def test_what_a_job_failed_of_does_not_control_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failed(*_arguments: object) -> None:
        raise CommandError("the job failed: model_refused: \x1b[2J\x1b]0;x\x07 \u202egnp.exe \x9b1m")

    monkeypatch.setattr("jobchain_cli.incidents.smoke", failed)

    assert main(["smoke"]) == 1

    err = capsys.readouterr().err
    assert err.startswith("jobchain: the job failed: model_refused: ")
    assert err.endswith("\n")
    assert err[:-1].isprintable()


def test_a_password_in_a_url_is_not_shown() -> None:
    smoke = Smoke(cast("Stack", None), Options(), print)

    with pytest.raises(CommandError) as refused, smoke._telling("GET /health", "https://me:secret@api.test/v1"):
        raise Unreachable(Problem("unreachable", None, "No answer", "no answer", {}, None))

    assert "https://***@api.test/v1 is not reachable" in str(refused.value)
