"""What `pip install jobchain` and its extras get: the package, not the checkout."""

import os
import subprocess
import sys
import zipfile
from email import message_from_bytes
from email.message import Message
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.conftest import ROOT
from tests.documents import pdf

pytestmark = pytest.mark.essential


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def metadata_of(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (info,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        return message_from_bytes(archive.read(info))


def needed(lines: list[str], extras: set[str]) -> set[Requirement]:
    """The requirements that hold here, with these extras."""
    found = {Requirement(line) for line in lines}
    return {one for one in found if not one.marker or any(one.marker.evaluate({"extra": e}) for e in extras | {""})}


class Environment:
    """The wheel with what it requires, taken from the packages installed here, and nothing else."""

    def __init__(self, wheel: Path, folder: Path, extras: set[str]) -> None:
        self._folder = folder
        self.packages: set[str] = set()
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        self._add(metadata_of(wheel).get_all("Requires-Dist", []), extras)

    def _add(self, lines: list[str], extras: set[str]) -> None:
        for requirement in needed(lines, extras):
            name = requirement.name.lower()
            if name not in self.packages:
                self.packages.add(name)
                self._link(name)
                self._add(distribution(name).requires or [], requirement.extras)

    def _link(self, name: str) -> None:
        installed = distribution(name)
        for top in {file.parts[0] for file in installed.files or ()} - {"..", "__pycache__"}:
            link = self._folder / top
            if not link.exists():
                link.symlink_to(Path(str(installed.locate_file(top))))

    def run(self, code: str, *arguments: str, folder: Path | None = None) -> "subprocess.CompletedProcess[str]":
        """Runs a program that finds this environment and the standard library only."""
        program = f"import sys; sys.path.insert(0, {str(self._folder)!r}); {code}"
        return subprocess.run(
            [sys.executable, "-I", "-S", "-c", program, *arguments],
            cwd=folder or self._folder,
            env={**os.environ, "XDG_CONFIG_HOME": str(self._folder)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def command(self, *arguments: str, folder: Path | None = None) -> "subprocess.CompletedProcess[str]":
        return self.run("from jobchain_cli.__main__ import main; sys.exit(main())", *arguments, folder=folder)


@pytest.fixture(scope="module")
def environments(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Environment]:
    wanted: dict[str, set[str]] = {
        "client": set(),
        "cli": {"cli"},
        "documents": {"documents"},
        "operator": {"operator"},
        "chains": {"chains"},
    }
    return {name: Environment(wheel, tmp_path_factory.mktemp(name), extras) for name, extras in wanted.items()}


def test_it_holds_the_command_line_the_client_and_what_they_import(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (entry_points,) = (archive.read(name).decode() for name in names if name.endswith("/entry_points.txt"))

    packages = {name.partition("/")[0] for name in names if ".dist-info" not in name}
    assert packages == {
        "jobchain",
        "jobchain_chains",
        "jobchain_cli",
        "jobchain_client",
        "jobchain_offline",
        "jobchain_worker",
    }
    assert {"jobchain_client/py.typed", "jobchain/prices.json"} <= names
    assert "jobchain = jobchain_cli.__main__:main" in entry_points
    assert "extract_actions = jobchain_chains.extract_actions:chain" in entry_points


@pytest.mark.parametrize(
    ("extra", "packages"),
    [
        ("", {"httpx2"}),
        ("cli", {"httpx2", "rich", "typer"}),
        (
            "documents",
            {"httpx2", "rich", "typer", "beautifulsoup4", "mammoth", "markdownify", "pypdfium2", "striprtf"},
        ),
        ("operator", {"httpx2", "rich", "typer", "boto3", "pydantic"}),
        ("chains", {"httpx2", "rich", "typer", "aws-lambda-powertools", "boto3", "openai", "pydantic"}),
    ],
)
def test_each_extra_requires_what_its_readers_use(wheel: Path, extra: str, packages: set[str]) -> None:
    metadata = metadata_of(wheel)

    assert {one.name for one in needed(metadata.get_all("Requires-Dist", []), {extra})} == packages
    assert metadata.get_all("Provides-Extra") == ["chains", "cli", "documents", "operator"]


def test_the_client_runs_with_its_one_library(environments: dict[str, Environment]) -> None:
    client = environments["client"]

    done = client.run(
        "import jobchain_client as c; "
        "api = c.Jobchain('http://127.0.0.1:9', retry_seconds=0); "
        "print(api._http.headers['User-Agent'], c.__file__); api.stats()"
    )

    assert "httpx2" in client.packages
    assert not client.packages & {"typer", "rich", "boto3", "pydantic"}
    assert done.stdout.startswith("jobchain/0")
    assert str(client._folder) in done.stdout
    assert "Unreachable" in done.stderr.splitlines()[-1]


def test_an_authors_chain_is_tested_without_the_checkout(environments: dict[str, Environment]) -> None:
    chains = environments["chains"]
    (chains._folder / "guideline.py").write_text((ROOT / "examples" / "guideline.py").read_text(encoding="utf-8"))

    done = chains.run(
        "from guideline import chain; from jobchain import check; from jobchain.testing import run_chain; "
        "assert check(chain) == []; "
        "print(run_chain(chain, {'document': 'Lock doors.'}, {'summary': 'Lock.', 'duties': ['Lock.']}).result)"
    )

    assert done.stderr == ""
    assert "flowchart TD" in done.stdout


def test_an_authors_commands_run_without_the_checkout(environments: dict[str, Environment]) -> None:
    chains = environments["chains"]

    made = chains.command("new", "door_rules")
    project = chains._folder / "door_rules"
    checked = chains.command("check", "door_rules", folder=project)
    tried = chains.command("run", "door_rules", "texts/sample.md", folder=project)

    assert (made.returncode, checked.returncode, tried.returncode) == (0, 0, 0), tried.stderr
    assert checked.stdout == "door_rules:chain: 3 steps, no mistakes\n"
    assert tried.stdout.startswith("Summary\n")


def test_an_authors_command_without_its_extra_says_what_to_install(environments: dict[str, Environment]) -> None:
    done = environments["cli"].command("run", "extract_actions", "a.md")

    assert done.returncode == 1
    assert done.stderr.startswith("jobchain: an author's commands need the package ")
    assert done.stderr.endswith(": pip install '.[chains]' in a checkout of Jobchain\n")


def test_a_document_is_read_without_the_checkout_and_without_its_extra_is_refused(
    environments: dict[str, Environment], tmp_path: Path
) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf([["Doors must be locked."]]))
    code = "from jobchain_cli.texts import read; print(read('a.pdf').content)"

    with_extra = environments["documents"].run(code, folder=tmp_path)
    without = environments["cli"].command("submit", "a.pdf", "--url", "http://127.0.0.1:9", folder=tmp_path)

    assert with_extra.stdout == "Doors must be locked.\n\n", with_extra.stderr
    assert without.returncode == 1
    assert without.stderr.startswith("jobchain: a.pdf: a PDF, and the command needs the package ")
    assert "install jobchain[documents]" in without.stderr


def test_the_command_without_its_extra_says_what_to_install(environments: dict[str, Environment]) -> None:
    done = environments["client"].command("list")

    assert done.returncode == 1
    assert done.stderr == "jobchain: the command needs the package typer: install jobchain[cli]\n"


@pytest.mark.parametrize("command", [["--help"], ["keys", "--help"], ["--version"]])
@pytest.mark.parametrize("name", ["cli", "operator"])
def test_the_command_runs_without_the_checkout(
    environments: dict[str, Environment], name: str, command: list[str]
) -> None:
    done = environments[name].command(*command)

    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: jobchain" in done.stdout or done.stdout.startswith("jobchain 0")


def test_the_command_asks_for_an_api(environments: dict[str, Environment]) -> None:
    done = environments["cli"].command("list")

    assert done.returncode == 1
    assert "no API is set" in done.stderr


def test_an_operators_command_without_its_extra_says_what_to_install(environments: dict[str, Environment]) -> None:
    done = environments["cli"].command("keys", "list")

    assert done.returncode == 1
    assert done.stderr.startswith("jobchain: an operator's commands need the package boto")
    assert done.stderr.endswith(": install jobchain[operator]\n")


@pytest.mark.parametrize("command", [["keys", "list"], ["sweep"], ["redrive"]])
def test_an_operators_commands_run_without_the_checkout(
    environments: dict[str, Environment], command: list[str]
) -> None:
    done = environments["operator"].command(*command)

    assert done.returncode == 1
    assert done.stderr == "jobchain: no local stack is up: run `make dev`, or name one on AWS with --stack\n"
