"""The commands of chains' authors, in folders outside the repository."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import BaseModel

from jobchain.chains.loading import load
from jobchain.domain import Status
from jobchain.errors import TransientModelError
from jobchain.llm import ModelRequest
from jobchain.testing import InTurn, ScriptedModel, recorded, run_chain
from jobchain_cli import author_chains
from jobchain_cli.__main__ import main
from jobchain_cli.errors import Code
from jobchain_cli.run_progress import Progress
from jobchain_worker.call_trace import CallTime, CallTrace
from jobchain_worker.event_stream import Event
from jobchain_worker.one_job import run_one
from jobchain_worker.responses_stream import ResponsesStream
from local import offline_model
from local.chain_packages import faults, local_installer, prepare
from tests.conftest import ROOT
from tests.fake_model.replies import refused
from tests.fake_model.server import ModelServer
from tests.unit.test_cli import Run, Said

GUIDE = (ROOT / "examples" / "guideline.py").read_text(encoding="utf-8")

WRONG = '''\
from jobchain import Chain, Text

chain = Chain("wrong")


@chain.ask
def first(document: Text) -> dict[str, int]:
    """Say something."""


@chain.ask
def second() -> str:
    """Say more."""
'''

UNCONNECTED = '''\
from jobchain import Chain, Text

chain = Chain("unconnected")


@chain.ask
def summary(document: Text) -> str:
    """Say something."""


@chain.ask
def duties(document: Text, sumary: str) -> list[str]:
    """Say more."""
'''

FAILING = '''\
from jobchain import Chain, Text

chain = Chain("failing")


@chain.ask
def summary(document: Text) -> str:
    """Say something."""


@chain.code
def size(summary: str) -> int:
    return 1 // (len(summary) - len(summary))
'''

OPTIONS = '''\
from typing import Annotated

from pydantic import Field

from jobchain import Chain, Line, Text

chain = Chain("options")


@chain.ask
def summary(
    document: Text, most: Annotated[int, Field(ge=1, le=9)] = 3, short: bool = False, audience: Line = "all"
) -> str:
    """Say something."""


@chain.code
def asked(most: int, short: bool, audience: Line) -> list[str]:
    return [str(most), str(short), audience]
'''


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to be in, of an author who has set nothing."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL", "OPENAI_API", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    (tmp_path / "a.md").write_text("Doors must be locked at night. Keys should be kept in the safe.")
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def jobchain(home: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process."""

    def run(*arguments: str) -> Said:
        code = main(arguments)
        return Said(code, *capsys.readouterr())

    return run


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    """A server whose model answers as the offline one does, and that the environment names."""
    with ModelServer(offline=True) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        yield server


def process(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """A command in a process of its own. Its time is printed."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "jobchain_cli", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    print(f"jobchain {' '.join(arguments)}: {time.perf_counter() - started:.2f} s")  # noqa: T201  # for a reader
    return done


@pytest.mark.slow
def test_the_page_for_authors_is_followed_to_the_letter(home: Path) -> None:
    page = (ROOT / "docs" / "how-to" / "write-a-chain.md").read_text(encoding="utf-8")
    script = "\n".join(re.findall(r"^```bash try\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))
    preamble = f'jobchain() {{ "{sys.executable}" -m jobchain_cli "$@"; }}\npython() {{ "{sys.executable}" "$@"; }}\n'

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", preamble + script],
        cwd=home,
        env={**os.environ, "PYTEST_ADDOPTS": "-p no:schemathesis"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "door_rules:chain: 3 steps, no mistakes\nSummary\n" in done.stdout
    assert '"result": {"summary": ' in done.stdout
    assert "4 passed" in done.stdout
    assert done.stdout.endswith("2 answers in tests/answers.json\n")


class Terminal(io.StringIO):
    """A terminal that keeps what is written to it."""

    def isatty(self) -> bool:
        return True


class Summary(BaseModel):
    """What the model is asked for."""

    summary: str


REQUEST = ModelRequest("Summarize.", "Doors must be locked.", Summary, step="summary")


def arriving(text: str) -> CallTrace:
    """A call of whose answer a part has come."""
    trace = CallTrace(CallTime(timedelta(minutes=1)))
    trace.answer = ResponsesStream()
    for part in text.split(" "):
        trace.answer.take(Event(b"response.output_text.delta", json.dumps({"delta": f"{part} "}).encode()))
    return trace


def until(condition: Callable[[], bool]) -> None:
    """Returns once it is so."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class TestNew:
    @pytest.mark.slow
    def test_makes_a_package_whose_test_is_green_and_which_has_no_mistake(self, home: Path, jobchain: Run) -> None:
        said = jobchain("new", "door_rules")

        folder = home / "door_rules"
        tested = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:schemathesis"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        checked = process(folder, "check", "door_rules")
        tried = process(folder, "run", "door_rules", "texts/sample.md")
        assert said.code == Code.DONE
        assert (tested.returncode, checked.returncode, tried.returncode) == (0, 0, 0), tested.stdout + tried.stderr
        assert "4 passed" in tested.stdout
        assert checked.stdout == "door_rules:chain: 3 steps, no mistakes\n"
        assert tried.stdout.startswith("Summary\n")
        assert "Lost keys must be reported" in tried.stdout

    def test_makes_a_chain_of_at_most_twenty_lines_with_an_entry_point(self, home: Path, jobchain: Run) -> None:
        jobchain("new", "door_rules")

        lines = (home / "door_rules" / "door_rules.py").read_text(encoding="utf-8").splitlines()
        project = (home / "door_rules" / "pyproject.toml").read_text(encoding="utf-8")
        assert len(lines) <= 20
        assert '[project.entry-points."jobchain.chains"]\ndoor_rules = "door_rules:chain"\n' in project

    @pytest.mark.slow
    def test_makes_a_package_that_a_deployment_takes_and_that_builds(self, home: Path, jobchain: Run) -> None:
        jobchain("new", "door_rules")
        (home / "chains.txt").write_text("./door_rules\n")

        prepared = prepare(home / "chains.txt", home / "deployment", local_installer(ROOT))
        command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
        subprocess.run(command, cwd=home / "door_rules", check=True, capture_output=True)

        (wheel,) = (home / "door_rules" / "dist").glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
        assert [*prepared.chains] == ["door_rules"]
        assert prepared.modules == (home / "door_rules" / "door_rules.py",)
        assert (
            faults([str(prepared.folder), *prepared.paths, *map(str, ROOT.glob("layers/common"))], sys.executable) == {}
        )
        assert "door_rules.py" in names
        assert not [name for name in names if "test" in name]

    def test_makes_a_folder_to_go_to(self, home: Path, jobchain: Run) -> None:
        jobchain("new", "door_rules")

        assert "go there first, with cd door_rules" in jobchain("check", "door_rules").err
        assert "go there first, with cd door_rules" in jobchain("run", "door_rules:chain", "a.md").err

    @pytest.mark.parametrize(
        ("name", "told"),
        [
            ("Door-Rules", "use small letters, digits and underscores, such as door_rules"),
            ("class", "can't be the name of a chain"),
            ("../evil", "can't be the name of a chain"),
            ("json", "is the name of another module"),
            ("pydantic", "is the name of another module"),
            ("jobchain", "is the name of another module"),
            ("tests", "is the name of another module"),
        ],
    )
    def test_refuses_a_name_that_no_module_can_have(self, home: Path, jobchain: Run, name: str, told: str) -> None:
        said = jobchain("new", name)

        assert said.code == Code.ERROR
        assert told in said.err
        assert [each.name for each in home.iterdir()] == ["a.md"]

    def test_leaves_a_folder_alone_that_is_there(self, home: Path, jobchain: Run) -> None:
        (home / "door_rules").mkdir()

        said = jobchain("new", "door_rules")

        assert said.code == Code.ERROR
        assert "is there already" in said.err
        assert not [*(home / "door_rules").iterdir()]


class TestCheck:
    def test_names_the_file_the_line_and_the_correction(self, home: Path, jobchain: Run) -> None:
        (home / "unconnected.py").write_text(UNCONNECTED)

        said = jobchain("check", "unconnected")

        assert said.code == Code.ERROR
        assert said.out.startswith("unconnected.py:11: duties needs sumary")
        assert "do you mean summary?" in said.out

    @pytest.mark.slow
    def test_tells_the_mistakes_of_all_steps_at_once(self, home: Path) -> None:
        (home / "wrong.py").write_text(WRONG)

        done = process(home, "check", "wrong:chain")

        assert done.returncode == Code.ERROR
        assert [line.partition(" ")[0] for line in done.stdout.splitlines()] == ["wrong.py:6:", "wrong.py:11:"]

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            ("import nothing_of_this_name\n", "broken.py:1: ModuleNotFoundError: No module named"),
            ("x = 1\n\ndef f(:\n", "broken.py:3: SyntaxError: "),
            ("def f():\n    return 1 // 0\n\nf()\n", "broken.py:2: ZeroDivisionError: "),
        ],
    )
    def test_tells_where_a_module_can_not_be_imported(self, home: Path, jobchain: Run, content: str, told: str) -> None:
        (home / "broken.py").write_text(content)

        said = jobchain("check", "broken")

        assert said.code == Code.ERROR
        assert said.out.startswith(told)

    @pytest.mark.parametrize(
        ("which", "told"),
        [
            ("plain", "plain has no chain: make one there with jobchain.Chain"),
            ("guide:other", "there is no guide:other: use guide:chain"),
            ("guide:Text", "no chain is guide:Text: use guide:chain"),
            ("nowhere", "there is no chain nowhere: use one of guideline_checklist"),
            ("nowhere:chain", "nowhere can't be imported"),
            (".", "there is no chain ."),
            ("", "there is no chain"),
        ],
    )
    def test_says_what_is_there_instead(self, home: Path, jobchain: Run, which: str, told: str) -> None:
        (home / "plain.py").write_text("x = 1\n")
        (home / "guide.py").write_text(GUIDE)

        said = jobchain("check", which)

        assert said.code == Code.ERROR
        assert told in said.err

    def test_takes_an_installed_chain_by_its_name(self, jobchain: Run) -> None:
        assert jobchain("check", "extract_actions").out == "extract_actions: 1 step, no mistakes\n"


class TestRun:
    @pytest.mark.slow
    def test_prints_the_result_by_its_types_and_the_rest_on_standard_error(self, home: Path) -> None:
        (home / "guide.py").write_text(GUIDE)

        done = process(home, "run", "guide:chain", "a.md")

        assert done.returncode == Code.DONE
        assert done.stdout.startswith("Summary\n\nDoors must be locked at night.")
        assert "\nDuties\n\n- Doors must be locked at night.\n" in done.stdout
        assert "\nDiagram (Mermaid)\n\nflowchart TD\n" in done.stdout
        assert "summary: answered after " in done.stderr
        assert f"Answered by {offline_model.MODEL}: " in done.stderr
        assert done.stderr.endswith(" at no cost.\n")

    def test_prints_json_and_markdown(self, home: Path, jobchain: Run) -> None:
        (home / "guide.py").write_text(GUIDE)

        told = json.loads(jobchain("run", "guide", "a.md", "--json").out)

        assert (told["source"], told["job_name"], told["status"], told["error"]) == (
            "a.md",
            "guideline",
            "completed",
            None,
        )
        assert list(told["result"]) == ["summary", "duties", "diagram"]
        assert told["cost_usd"] == 0
        assert told["usage"]["input_tokens"] > 0
        assert jobchain("run", "guide", "a.md", "--markdown").out.startswith("# a.md\n\n## Summary\n")

    def test_runs_one_step_and_what_it_needs(self, home: Path, jobchain: Run) -> None:
        (home / "guide.py").write_text(GUIDE)

        summary = jobchain("run", "guide", "a.md", "--step", "summary", "--json")
        duties = jobchain("run", "guide", "a.md", "--step", "duties", "--json")

        assert list(json.loads(summary.out)["result"]) == ["summary"]
        assert "duties" not in summary.err
        assert list(json.loads(duties.out)["result"]) == ["duties"]
        assert "summary: answered" in duties.err

    def test_sets_fields_of_the_payload_by_their_types(self, home: Path, jobchain: Run) -> None:
        (home / "options.py").write_text(OPTIONS)

        said = jobchain(
            "run", "options", "a.md", "--set", "most=5", "--set", "short=true", "--set", "audience=5", "--json"
        )

        assert json.loads(said.out)["result"]["asked"] == ["5", "True", "5"]

    def test_takes_a_payload_without_a_file(self, home: Path, jobchain: Run) -> None:
        (home / "options.py").write_text(OPTIONS)

        assert jobchain("run", "options", "--set", "document=Doors must be locked.").out.startswith(
            "Summary\n\nDoors must"
        )

    @pytest.mark.parametrize(
        ("arguments", "code", "told"),
        [
            (["a.md", "--set", "most=many"], Code.USAGE, "it is of type integer: give JSON, such as 3"),
            (["a.md", "--set", "most"], Code.USAGE, "give KEY=VALUE"),
            (["a.md", "--set", "least=1"], Code.USAGE, "use one of document, most, short, audience"),
            (["a.md", "--set", "most=12"], Code.ERROR, "most: Input should be less than or equal to 9"),
            (["a.md", "--step", "other"], Code.USAGE, "the chain options has summary, asked"),
            (["a.md", "--effort", "huge"], Code.USAGE, "use one of none, minimal, low"),
            (["a.md", "--model", "gpt-6-luna"], Code.USAGE, "set OPENAI_API_KEY, or use --model offline"),
            (["a.md", "a.md"], Code.USAGE, "one job is run at a time"),
            ([], Code.USAGE, "takes 1 text (document): name as many"),
            (["b.md"], Code.ERROR, "b.md: No such file or directory"),
            (["a.md", "--json", "--text"], Code.USAGE, "give one of"),
        ],
    )
    def test_says_what_is_wrong_and_what_to_do(
        self, home: Path, jobchain: Run, arguments: list[str], code: Code, told: str
    ) -> None:
        (home / "options.py").write_text(OPTIONS)

        said = jobchain("run", "options", *arguments)

        assert (said.code, said.out) == (code, "")
        assert told in said.err
        assert "Traceback" not in said.err

    def test_tells_the_line_of_the_chains_own_code_that_failed(self, home: Path, jobchain: Run) -> None:
        (home / "failing.py").write_text(FAILING)

        said = jobchain("run", "failing", "a.md")

        assert (said.code, said.out) == (Code.ERROR, "")
        assert "failing.py:13: ZeroDivisionError: " in said.err

    def test_refuses_a_chain_with_mistakes(self, home: Path, jobchain: Run) -> None:
        (home / "unconnected.py").write_text(UNCONNECTED)

        said = jobchain("run", "unconnected", "a.md")

        assert said.code == Code.ERROR
        assert "unconnected.py:11: duties needs sumary" in said.err

    def test_asks_which_of_several_chains(self, home: Path, jobchain: Run) -> None:
        (home / "two.py").write_text(GUIDE + "\nother = Chain('other')\n")

        assert "two has several chains: use two:chain or two:other" in jobchain("run", "two", "a.md").err


class TestARealModel:
    def test_answers_by_the_workers_own_adapter(self, home: Path, jobchain: Run, model: ModelServer) -> None:
        (home / "guide.py").write_text(GUIDE)

        said = jobchain("run", "guide", "a.md", "--model", "gpt-6-luna", "--effort", "high")

        bodies = [json.loads(call.body) for call in model.journal.calls()]
        assert said.code == Code.DONE
        assert {body["model"] for body in bodies} == {"gpt-6-luna"}
        assert [body["reasoning"] for body in bodies] == [{"effort": "high"}] * 2
        assert all(body["stream"] for body in bodies)

    def test_is_named_by_the_environment(
        self, home: Path, jobchain: Run, model: ModelServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OPENAI_MODEL", "gpt-6-luna")
        (home / "guide.py").write_text(GUIDE)

        assert jobchain("run", "guide", "a.md").code == Code.DONE
        assert len(model.journal.calls()) == 2
        assert jobchain("run", "guide", "a.md", "--model", "offline").code == Code.DONE
        assert len(model.journal.calls()) == 2

    def test_that_refuses_the_key_ends_the_run(self, home: Path, jobchain: Run, model: ModelServer) -> None:
        model.rule = lambda _: refused(401, "invalid_api_key")
        (home / "guide.py").write_text(GUIDE)

        said = jobchain("run", "guide", "a.md", "--model", "gpt-6-luna")

        assert said.code == Code.ERROR
        assert "the model's account can't be used" in said.err

    def test_whose_answers_never_fit_fails_the_job(self, home: Path, jobchain: Run, model: ModelServer) -> None:
        model.rule = lambda _: refused(400, "bad_request")
        (home / "guide.py").write_text(GUIDE)

        said = jobchain("run", "guide", "a.md", "--model", "gpt-6-luna", "--json")

        assert said.code == Code.FAILED
        assert json.loads(said.out)["status"] == "failed"
        assert "the job failed in step summary: " in said.err

    @pytest.mark.slow
    def test_is_interrupted_by_ctrl_c(self, home: Path, model: ModelServer) -> None:
        model.latency = 60
        (home / "guide.py").write_text(GUIDE)
        command = [sys.executable, "-m", "jobchain_cli", "run", "guide", "a.md", "--model", "gpt-6-luna"]
        with subprocess.Popen(command, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
            until(lambda: bool(model.journal.calls()))
            started.send_signal(signal.SIGINT)
            out, err = started.communicate(timeout=30)

        assert (started.returncode, out) == (Code.INTERRUPTED, "")
        assert "Traceback" not in err


class TestProgress:
    def test_has_a_line_for_each_call_that_ended(self) -> None:
        out = io.StringIO()
        progress = Progress(out)

        with progress.shown():
            progress.begin("summary")
            progress.end("summary", "answered\x1b[2J after 0.1 s")

        assert out.getvalue().splitlines()[0] == "summary: answered\N{REPLACEMENT CHARACTER}[2J after 0.1 s"

    def test_shows_on_a_terminal_what_has_come_of_an_answer(self) -> None:
        out = Terminal()
        progress = Progress(out)

        with progress.shown():
            progress.begin("summary")
            until(lambda: "summary: waiting for the model" in out.getvalue())
            progress.watch(REQUEST, arriving("Doors must"))
            until(lambda: "summary: 2 tokens … Doors must" in out.getvalue())
            progress.end("summary", "answered")

        assert out.getvalue().endswith("\r\x1b[Ksummary: answered\n\r\x1b[K")


def test_a_run_waits_between_two_tries_as_it_is_told_and_closes_the_model(home: Path) -> None:
    (home / "guide.py").write_text(GUIDE)
    model = ScriptedModel({"summary": InTurn([TransientModelError("busy"), "Short."]), "duties": ["Lock."]})
    waits: list[float] = []
    closed: list[bool] = []

    async def close() -> None:
        closed.append(True)

    job = run_one(
        author_chains.one("guide").compiled,
        {"document": "Doors must be locked."},
        model,
        wait=lambda wait, why: waits.append(wait.total_seconds()),
        close=close,
    )

    assert job.status is Status.COMPLETED
    assert [5 <= wait <= 20 for wait in waits] == [True]
    assert closed == [True]


class TestRecord:
    def test_keeps_answers_that_a_test_gives_back(self, home: Path, jobchain: Run, model: ModelServer) -> None:
        (home / "guide.py").write_text(GUIDE)

        said = jobchain("record", "guide", "a.md", "--model", "gpt-6-luna", "--to", "answers.json")

        run = run_chain(load("guide:chain"), {"document": (home / "a.md").read_text()}, recorded("answers.json"))
        assert said.out == "2 answers in answers.json\n"
        assert run.result["duties"]
        assert [call.step for call in run.calls] == ["summary", "duties"]

    def test_keeps_nothing_of_a_job_that_failed(self, home: Path, jobchain: Run, model: ModelServer) -> None:
        model.rule = lambda _: refused(400, "bad_request")
        (home / "guide.py").write_text(GUIDE)

        said = jobchain("record", "guide", "a.md", "--model", "gpt-6-luna", "--to", "answers.json")

        assert said.code == Code.FAILED
        assert not (home / "answers.json").exists()

    def test_needs_a_folder_that_is_there(self, home: Path, jobchain: Run) -> None:
        (home / "guide.py").write_text(GUIDE)

        assert "there is no folder none" in jobchain("record", "guide", "a.md", "--to", "none/answers.json").err
