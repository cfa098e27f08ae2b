"""Many inputs of one command, the folder of results, and ids in short, against a server on this machine."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from jobchain_cli import browser
from jobchain_cli.app import app
from jobchain_cli.choices import Form
from jobchain_cli.completion import OFFERED
from jobchain_cli.errors import Code, CommandError
from jobchain_cli.ids import SEARCHED
from jobchain_cli.inputs import inputs
from jobchain_cli.out_folder import OutFolder
from jobchain_cli.watching import Board, Watched
from tests.jobs import job_of, raw_job
from tests.unit import test_cli
from tests.unit.test_cli import CHAINS, CREATED, EVIL, FakeApi, Run, python, takes_a_job

served, api, url, home = test_cli.served, test_cli.api, test_cli.url, test_cli.home
offline, run, file = test_cli.offline, test_cli.run, test_cli.file

ID = "f7ef99a8-1c2d-4e3f-8a9b-0c1d2e3f4a5b"
OTHER = "f7ef99a8-ffff-4e3f-8a9b-0c1d2e3f4a5b"


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"Text {name}.")


def takes_a_batch(api: FakeApi, *statuses: str) -> None:
    """As many jobs, which end so."""
    names = [f"job-{place}" for place in range(len(statuses))]
    api.says("POST /jobs/batch", {"results": [{**CREATED, "event_id": name, "replayed": False} for name in names]})
    for name, status in zip(names, statuses, strict=True):
        error = {"type": "model_timeout", "step": "summary", "message": "too slow"} if status == "failed" else None
        api.says(f"GET /jobs/{name}", raw_job(name, status=status, result={"summary": f"Of {name}."}, error=error))


def texts(api: FakeApi) -> list[str]:
    return [entry["title"] for body in api.bodies for entry in body.get("jobs", [body])]


# --- which texts -----------------------------------------------------------------------------------------------------


def test_a_folder_stands_for_its_documents_in_order(run: Run, api: FakeApi, home: Path) -> None:
    put(home / "docs", "b.md", "a.TXT", "sub/c.rst", "photo.png", ".hidden.md", ".git/d.md")
    takes_a_batch(api, "completed", "completed", "completed")

    said = run("submit", "docs")

    assert texts(api) == ["a.TXT", "b.md", "c.rst"]
    assert said.err.startswith("jobchain: docs: 1 other file left out: a folder's .adoc, ")
    assert said.err.endswith("jobchain: 3/3, $0.000454\n")


def test_a_pattern_stands_for_the_files_that_it_matches(run: Run, api: FakeApi, home: Path) -> None:
    put(home, "a.md", "b.md", "c.txt", "sub/d.md")
    takes_a_batch(api, "completed", "completed", "completed")

    run("submit", "**/*.md")

    assert texts(api) == ["a.md", "b.md", "d.md"]


def test_a_file_with_a_name_like_a_pattern_is_that_file(run: Run, api: FakeApi, home: Path) -> None:
    put(home, "a[1].md", "a1.md")
    takes_a_job(api)

    run("submit", "a[1].md")

    assert texts(api) == ["a[1].md"]


def test_a_file_that_is_named_twice_is_meant_twice_but_in_a_folder_it_is_once(home: Path) -> None:
    put(home, "a.md", "b.md")

    assert [each.source for each in inputs(["a.md", "a.md"])] == ["a.md", "a.md"]
    assert [each.source for each in inputs([".", "./a.md", "*.md"])] == ["b.md", "./a.md"]


@pytest.mark.parametrize(
    ("argument", "told"),
    [("empty", "empty: no documents in this folder"), ("*.pdf", "*.pdf: no file matches")],
)
def test_what_stands_for_no_file_is_told(run: Run, api: FakeApi, home: Path, argument: str, told: str) -> None:
    (home / "empty").mkdir()

    said = run("submit", argument)

    assert (said.code, said.out) == (1, "")
    assert told in said.err
    assert not api.requests


def test_all_that_can_not_be_read_is_told_and_nothing_is_submitted(run: Run, api: FakeApi, home: Path) -> None:
    put(home, "a.md")
    (home / "b.md").write_bytes(b"a\xff")
    (home / "c.md").write_text("")

    said = run("submit", "a.md", "b.md", "c.md")

    assert said.code == 1
    assert [line.partition(": ")[2][:5] for line in said.err.splitlines()[:2]] == ["b.md:", "c.md:"]
    assert "2 of 3 inputs can't be read, and nothing is submitted" in said.err
    assert "--skip-unreadable" in said.err
    assert not api.requests


def test_the_readable_ones_are_submitted_if_that_is_wanted(run: Run, api: FakeApi, home: Path) -> None:
    put(home, "a.md")
    (home / "b.md").write_text("")
    takes_a_job(api)

    said = run("submit", "b.md", "a.md", "--skip-unreadable")

    assert (said.code, texts(api)) == (0, ["a.md"])
    assert said.err.startswith("jobchain: b.md: empty.")


def test_of_no_readable_one_nothing_is_submitted(run: Run, api: FakeApi, home: Path) -> None:
    for name in ("a.md", "b.md"):
        (home / name).write_text("")

    assert "2 of 2 inputs can't be read" in run("submit", "a.md", "b.md", "--skip-unreadable").err
    assert not api.requests


def test_a_large_folder_is_not_submitted_without_a_yes(run: Run, api: FakeApi, home: Path) -> None:
    put(home / "docs", *(f"{number:03}.md" for number in range(101)))

    said = run("submit", "docs", "--no-watch")

    assert said.code == Code.USAGE
    assert "101 jobs, which are paid for, are more than 100" in " ".join(said.err.replace("│", "").split())
    assert not api.requests


def test_with_a_yes_it_is(run: Run, api: FakeApi, home: Path) -> None:
    put(home / "docs", *(f"{number:03}.md" for number in range(101)))
    for count in (100, 1):
        made = [{**CREATED, "event_id": f"job-{number}"} for number in range(count)]
        api.says("POST /jobs/batch", {"results": made})

    said = run("submit", "docs", "--no-watch", "--yes")

    assert said.out.count("\n") == 101


def piped(arguments: list[str], url: str, home: Path, **streams: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jobchain_cli", *arguments],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
        cwd=home,
        env={**os.environ, "JOBCHAIN_URL": url},
        **streams,
    )


@pytest.mark.slow
def test_standard_input_needs_no_name(run: Run, api: FakeApi, url: str, home: Path) -> None:
    takes_a_job(api)
    (home / "a.md").write_text("From a file.")

    of_pipe = piped(["submit", "--no-watch"], url, home, input="From a pipe.")
    with (home / "a.md").open() as given:
        of_file = piped(["submit", "--no-watch"], url, home, stdin=given)

    assert (of_pipe.stdout, of_file.stdout) == ("job-1\n", "job-1\n"), of_pipe.stderr
    assert [body["input_text"] for body in api.bodies] == ["From a pipe.", "From a file."]


@pytest.mark.slow
def test_a_device_is_not_waited_for(run: Run, api: FakeApi, url: str, home: Path) -> None:
    done = piped(["submit"], url, home, stdin=subprocess.DEVNULL)

    assert done.returncode == Code.USAGE
    assert "name a FILE" in done.stderr


# --- results in a folder ---------------------------------------------------------------------------------------------


def test_results_go_to_files_named_by_their_texts(run: Run, api: FakeApi, home: Path) -> None:
    put(home / "docs", "a.md", "a.txt", "sub/b.md")
    takes_a_batch(api, "completed", "completed", "failed")

    said = run("submit", "docs", "--out", "results", "--markdown")

    assert said.code == Code.FAILED
    assert said.out == f"{Path('results/a.md')}\n{Path('results/a.txt.md')}\n"
    assert (home / "results/a.md").read_text().startswith("# docs/a.md\n\n## Summary\n\nOf job-0.\n")
    assert "docs/sub/b.md: the job failed in step summary: model_timeout: too slow" in said.err
    assert "jobchain: 3/3, 1 failed" in said.err
    assert sorted(path.name for path in (home / "results").rglob("*")) == ["a.md", "a.txt.md", "sub"]


def test_a_result_is_written_when_its_job_ends(run: Run, api: FakeApi, home: Path) -> None:
    put(home, "a.md", "b.md")
    takes_a_batch(api, "completed", "processing")

    said = run("submit", "a.md", "b.md", "--out", "results", "--timeout", "0.1", "--poll", "0.1")

    assert said.code == Code.TIMEOUT
    assert (home / "results/a.txt").read_text() == "Summary\n\nOf job-0.\n"


def test_results_of_json_are_the_jobs(run: Run, api: FakeApi, file: str, home: Path) -> None:
    takes_a_job(api)

    said = run("submit", file, "--out", "results", "--json")

    path = Path("results/a.json")
    assert json.loads(said.out) == {
        "source": "a.md",
        "event_id": "job-1",
        "status": "completed",
        "file": str(path),
    }
    assert json.loads((home / path).read_text())["result"]["summary"] == "Short."


def test_a_watched_jobs_result_is_named_by_its_id(run: Run, api: FakeApi, home: Path) -> None:
    api.says("GET /jobs/job-1", raw_job("job-1"))

    assert run("watch", "job-1", "--out", "results").out == f"{Path('results/job-1.txt')}\n"


def test_a_file_is_not_overwritten_unless_that_is_wanted(run: Run, api: FakeApi, file: str, home: Path) -> None:
    put(home / "results", "a.txt")
    takes_a_job(api)

    said = run("submit", file, "--out", "results")

    assert said.code == 1
    assert f"{Path('results/a.txt')} exists: name another folder with --out, or give --overwrite" in said.err
    assert not api.requests
    assert run("submit", file, "--out", "results", "--overwrite").code == 0
    assert (home / "results/a.txt").read_text().startswith("Summary")


def test_a_folder_that_can_not_be_made_is_told_before_anything_is_sent(run: Run, api: FakeApi, file: str) -> None:
    said = run("submit", file, "--out", "a.md")

    assert said.code == 1
    assert "--out a.md: " in said.err
    assert not api.requests


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["submit", "a.md", "--out", "x", "--no-watch"], "--out takes results"),
        (["submit", "a.md", "--overwrite"], "--overwrite goes with --out"),
    ],
)
def test_options_that_do_not_go_together_are_refused(run: Run, file: str, arguments: list[str], told: str) -> None:
    said = run(*arguments)

    assert said.code == Code.USAGE
    assert told in said.err


def test_names_from_elsewhere_stay_in_the_folder(home: Path) -> None:
    names = ["../../etc/passwd", "/root/x", "a:b?.md", "..", "con\x00\x1b[2J", "A.md", "a.txt", "x" * 300]

    out = OutFolder(home / "out", Form.TEXT, names, overwrite=False)
    files = [out.write(place, ["x"]) for place in range(len(names))]

    assert len({str(file).lower() for file in files}) == len(names)
    assert all(file.resolve().is_relative_to((home / "out").resolve()) and file.is_file() for file in files)


# --- how far all are -------------------------------------------------------------------------------------------------


def test_the_total_of_many_jobs_is_one_line() -> None:
    board = Board([Watched(f"{number}.md", f"job-{number}") for number in range(100)])
    for place in range(37):
        board.show(place, job_of(status="failed" if place < 2 else "completed"))

    assert board.summary() == "37/100, 2 failed"
    board.lose(99)
    assert board.summary() == "38/100, 2 failed, 1 with an error"


def test_the_view_of_many_jobs_fits_the_terminal_and_shows_those_under_way() -> None:
    board = Board([Watched(f"{number}.md", f"job-{number}") for number in range(100)])
    for place in range(60):
        board.show(place, job_of(status="completed"))
    board.show(61, job_of(status="processing"))

    lines = board._lines(12)

    assert len(lines) == 11
    assert ("processing", "61.md") in [line[:2] for line in lines]
    assert lines[-1] == ("", "60/100", "(90 more)")


# --- ids -------------------------------------------------------------------------------------------------------------


def knows(api: FakeApi, *event_ids: str) -> None:
    api.says("GET /jobs", {"jobs": [raw_job(event_id) for event_id in event_ids], "next_cursor": None})
    for event_id in event_ids:
        api.says(f"GET /jobs/{event_id}", raw_job(event_id))
        for move in ("cancel", "retry"):
            api.says(f"POST /jobs/{event_id}/{move}", raw_job(event_id, status="cancelled"))
        api.says(f"DELETE /jobs/{event_id}", b"", 204)


@pytest.mark.parametrize("short", ["f7ef99a8", "F7EF99A8", "f7ef99a8-1c2d"])
@pytest.mark.parametrize(
    "command", [["show"], ["watch"], ["cancel"], ["retry"], ["delete", "--yes"], ["show", "--json"]]
)
def test_a_job_is_found_by_the_id_that_the_dashboard_shows(
    run: Run, api: FakeApi, command: list[str], short: str
) -> None:
    knows(api, ID, "0b6c0000-0000-4000-8000-000000000000")

    said = run(*command, short)

    assert said.code == 0, said.err
    assert f"/jobs/{ID}" in api.requests[-1][0]


def test_a_whole_id_needs_no_list(run: Run, api: FakeApi) -> None:
    knows(api, ID)

    run("show", ID)

    assert len(api.requests) == 1


def test_an_id_that_two_jobs_begin_with_is_refused_with_both_and_nothing_is_done(run: Run, api: FakeApi) -> None:
    knows(api, ID, OTHER)

    said = run("delete", "--yes", "f7ef99a8")

    assert said.code == 1
    assert f"f7ef99a8 is the beginning of 2 ids: {ID}, {OTHER}: give a whole one" in said.err
    assert not any(request.startswith("DELETE") for request, _, _ in api.requests)


def test_an_id_that_no_job_begins_with_is_told(run: Run, api: FakeApi) -> None:
    knows(api, ID)

    assert "00000000: none of your jobs has an id that begins so: give the whole id" in run("show", "00000000").err


def test_a_short_id_is_looked_for_in_the_newest_jobs_only(run: Run, api: FakeApi) -> None:
    jobs = [raw_job(f"{number:08x}-0000-4000-8000-000000000000") for number in range(1, 101)]
    api.says("GET /jobs", {"jobs": jobs, "next_cursor": "more"})

    said = run("show", "abcdefab")

    assert f"none of the newest {SEARCHED:,} jobs has an id" in said.err
    assert len(api.requests) == 10


# --- the page, and the login -----------------------------------------------------------------------------------------


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The pages that a desktop's browser got."""
    pages: list[str] = []

    def take(page: str) -> bool:
        pages.append(page)
        return True

    monkeypatch.setattr("webbrowser.open", take)
    monkeypatch.setenv("DISPLAY", ":0")
    return pages


def test_open_shows_the_jobs_page_and_prints_its_address(run: Run, url: str, opened: list[str]) -> None:
    page = f"{url}/queue#/jobs/{ID}"

    assert run("open", ID) == (0, f"{page}\n", "")
    assert opened == [page]


def test_open_finds_a_job_by_its_short_id(run: Run, api: FakeApi, url: str, opened: list[str]) -> None:
    knows(api, ID)

    assert run("open", "f7ef99a8").out == f"{url}/queue#/jobs/{ID}\n"


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="a desktop is always there")
def test_without_a_desktop_the_address_is_all(
    run: Run, url: str, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISPLAY")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)

    assert run("open", "a b").out == f"{url}/queue#/jobs/a%20b\n"
    assert opened == []


def test_what_is_no_id_has_no_page() -> None:
    with pytest.raises(CommandError, match="is not the id of a job"):
        browser.address("http://127.0.0.1", "\udcff")


def test_logout_removes_what_login_stored(offline: Run, api: FakeApi, url: str, home: Path) -> None:
    api.says("GET /stats", {"jobs": {}, "today": {"date": "2026-11-29", "created": 0}})
    stored = home / "config/jobchain/config.toml"
    stored.parent.mkdir(parents=True)
    stored.write_text(f'url = "{url}"\napi_key = "jc_key"\n')

    said = offline("logout")

    assert (said.code, said.err) == (0, "")
    assert said.out.startswith(f"Removed {stored}.")
    assert not stored.exists()
    assert offline("logout").out == "Nothing is stored.\n"
    assert "no API is set" in offline("list").err


def test_logout_says_what_the_environment_still_has(offline: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBCHAIN_API_KEY", "jc_key")

    assert offline("logout").err == "jobchain: JOBCHAIN_API_KEY of the environment: still used\n"


@pytest.mark.slow
def test_a_list_waits_for_no_library_that_it_does_not_need(api: FakeApi, url: str, run: Run) -> None:
    knows(api, ID)

    loaded = python(
        "import sys; from jobchain_cli.__main__ import main; main(['list']); "
        "print('loaded:', *{name.partition('.')[0] for name in sys.modules})",
        JOBCHAIN_URL=url,
        # Coverage, which itself reads TOML, measures every process that has these.
        COVERAGE_PROCESS_CONFIG="",
        COVERAGE_PROCESS_START="",
    )

    assert ID in loaded
    unneeded = {"asyncio", "boto3", "botocore", "openai", "rich", "tomllib", "pypdfium2", "mammoth", "bs4"}
    assert not unneeded & set(loaded.partition("loaded:")[2].split())


# --- help and completion ---------------------------------------------------------------------------------------------


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    members = getattr(command, "commands", {})
    if not members:
        yield path, command
    for name, member in members.items():
        yield from commands(member, (*path, name))


ALL = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_each_commands_help_has_examples_that_can_be_typed(path: tuple[str, ...]) -> None:
    command = ALL[path]
    lines = [line.strip() for line in (command.epilog or "").splitlines() if "jobchain" in line]

    assert lines
    for line in lines:
        words = shlex.split(line.rpartition("| ")[2].partition(" <")[0])
        assert words[: 1 + len(path)] == ["jobchain", *path]
        # Raises for an option or an argument that the command does not have.
        command.make_context("jobchain", words[1 + len(path) :])


Complete = Callable[..., list[str]]


@pytest.fixture
def complete(run: Run, url: str) -> Complete:
    """What a shell offers after these words."""

    def offered(*words: str, shell: str = "bash") -> list[str]:
        environment = {"_JOBCHAIN_COMPLETE": f"complete_{shell}", "JOBCHAIN_URL": url}
        line = " ".join(["jobchain", *words])
        if shell == "bash":
            environment |= {"COMP_WORDS": line, "COMP_CWORD": str(len(words))}
        else:
            environment |= {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
        return python("from jobchain_cli.__main__ import main; main([])", **environment).splitlines()

    return offered


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_ids_and_chains(api: FakeApi, complete: Complete, shell: str) -> None:
    knows(api, ID, "0b6c0000-0000-4000-8000-000000000000")
    api.says("GET /chains", CHAINS)

    ids = "\n".join(complete("show", "f7", shell=shell))
    chains = "\n".join(complete("submit", "--chain", "ex", shell=shell))

    assert ID in ids
    assert "0b6c" not in ids
    assert "extract" in chains
    assert "compare" not in chains
    assert api.requests[0][0] == f"GET /jobs?limit={OFFERED}"


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_nothing_that_a_server_says_gets_into_a_shell(api: FakeApi, complete: Complete, shell: str) -> None:
    evil = ["$(touch x)", "`touch x`", "a'b", 'a"b', "-rf", EVIL, "a b", "a\nb"]
    api.says("GET /jobs", {"jobs": [raw_job(text) for text in evil], "next_cursor": None})

    assert not any("touch" in line or "rf" in line for line in complete("show", "", shell=shell))


@pytest.mark.slow
def test_a_shell_gets_nothing_from_an_api_that_does_not_answer(complete: Complete, api: FakeApi) -> None:
    api.refuses("GET /jobs", 503, "unavailable", "not now")

    assert "".join(complete("show", "")) == ""


@pytest.mark.skipif(os.name != "posix", reason="needs symbolic links and named pipes")
def test_of_somebody_elses_folder_no_link_out_of_it_and_no_pipe_is_read(tmp_path: Path) -> None:
    secret = tmp_path / "config.toml"
    secret.write_text('api_key = "a-secret"')
    folder = tmp_path / "unpacked"
    folder.mkdir()
    (folder / "a.md").write_text("Lock the door.")
    (folder / "b.md").symlink_to(folder / "a.md")
    (folder / "keys.md").symlink_to(secret)
    os.mkfifo(folder / "pipe.md")

    assert [each.name for each in inputs([str(folder)])] == ["a.md", "b.md"]


@pytest.mark.parametrize(
    "names",
    [["."], [".."], ["\u6f22" * 84 + ".md"], ["\u6f22" * 200], ["a.txt/b.md", "a.md"], ["a.md", "a.txt/b.md"]],
)
def test_each_result_can_be_written_whatever_its_input_is_called(tmp_path: Path, names: list[str]) -> None:
    """After the jobs are paid for it would be too late to find that a file can't be made."""
    out = OutFolder(tmp_path / "out", Form.TEXT, names, overwrite=False)

    files = [out.write(place, ["x"]) for place in range(len(names))]

    assert len({*files}) == len(names)
    assert all(file.is_file() and file.is_relative_to(tmp_path / "out") for file in files)
