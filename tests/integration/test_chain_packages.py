"""Packages of chains outside this project, on the embedded stack: run, reloaded, added, and broken ones left out."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from local.settings import Settings
from local.stack import EmbeddedStack
from tests.e2e.conftest import poll
from tests.integration.test_local_stack import LIMIT, developing, make_clone, make_project, read_until

pytestmark = pytest.mark.essential

CHAIN = '''
from jobchain import Chain, Text

chain = Chain("{name}")


@chain.ask
def {step}(text: Text) -> list[str]:
    """List what the text asks for."""


@chain.code
def count({step}: list[str]) -> str:
    return str(len({step}))
'''
TEXT = "Doors must be locked. Windows must be closed."


def write_package(folder: Path, name: str, source: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}_module.py").write_text(source)
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "{name}-package"\nversion = "1"\n\n'
        f'[project.entry-points."jobchain.chains"]\n{name} = "{name}_module:chain"\n'
    )


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder outside the project: the list, a package that works, and one that can't be imported."""
    folder = tmp_path_factory.mktemp("packages")
    write_package(folder / "duties", "duties", CHAIN.format(name="duties", step="duty"))
    write_package(folder / "broken", "broken", "import nothing_of_this_name\n")
    (folder / "chains.txt").write_text("./duties\n./broken\n--default-chain duties\n")
    return folder


@pytest.fixture(scope="module")
def stack(packages: Path) -> Iterator[EmbeddedStack]:
    with EmbeddedStack.start(Settings(chains=str(packages / "chains.txt")), reload=True) as stack:
        yield stack


@pytest.fixture
def http(stack: EmbeddedStack) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=stack.api_url, timeout=60, trust_env=False) as client:
        yield client


def run(http: httpx2.Client, request: dict[str, Any]) -> dict[str, Any]:
    event_id = http.post("/jobs", json=request).raise_for_status().json()["event_id"]

    def final() -> dict[str, Any] | None:
        job: dict[str, Any] = http.get(f"/jobs/{event_id}").raise_for_status().json()
        return job if job["status"] in ("completed", "failed", "cancelled") else None

    job: dict[str, Any] = poll(final)
    return job


def test_a_chain_of_a_package_runs_while_another_package_can_not_be_imported(http: httpx2.Client) -> None:
    job = run(http, {"job_name": "duties", "payload": {"text": TEXT}})

    assert job["status"] == "completed"
    assert job["result"]["count"] == str(len(job["result"]["duty"]))


def test_the_short_form_runs_the_default_chain_of_the_list(http: httpx2.Client) -> None:
    job = run(http, {"input_text": TEXT})

    assert (job["job_name"], job["status"]) == ("duties", "completed")


def test_the_chains_are_those_of_the_list_and_the_broken_one_is_told_with_its_package(http: httpx2.Client) -> None:
    answer = http.get("/chains").raise_for_status().json()

    assert [chain["name"] for chain in answer["chains"]] == ["duties"]
    (broken,) = answer["unusable"]
    assert broken == {
        "name": "broken",
        "reason": "the chain broken of the package broken-package: broken_module can't be imported: "
        "ModuleNotFoundError: No module named 'nothing_of_this_name'",
    }


def test_jobs_of_the_broken_chain_are_refused_and_no_others_with_them(http: httpx2.Client) -> None:
    entries = [{"job_name": name, "payload": {"text": TEXT}} for name in ("broken", "duties")]

    answer = http.post("/jobs", json=entries[0])
    batch = http.post("/jobs/batch", json={"jobs": entries}).raise_for_status().json()

    assert answer.status_code == 422
    assert answer.json()["errors"] == {"job_name": "the chain broken can't be used here: GET /chains says why"}
    assert ["event_id" in entry for entry in batch["results"]] == [False, True]


def test_the_stack_says_at_its_start_what_is_broken(stack: EmbeddedStack) -> None:
    assert [*stack.packages.faults()] == ["broken"]


def test_a_changed_module_is_loaded_without_a_deployment(http: httpx2.Client, packages: Path) -> None:
    run(http, {"input_text": TEXT})
    file = packages / "duties" / "duties_module.py"
    file.write_text(CHAIN.format(name="duties", step="task"))
    os.utime(file, ns=(file.stat().st_mtime_ns + 1_000_000_000,) * 2)

    job = run(http, {"input_text": TEXT})

    assert job["status"] == "completed"
    assert [*job["result"]] == ["task", "count"]


def test_a_package_that_is_added_runs_after_the_next_deployment(
    http: httpx2.Client, stack: EmbeddedStack, packages: Path
) -> None:
    write_package(packages / "later", "later", CHAIN.format(name="later", step="duty"))
    file = packages / "chains.txt"
    file.write_text(f"{file.read_text()}./later\n")
    stack.redeploy()

    job = run(http, {"job_name": "later", "payload": {"text": TEXT}})

    assert job["status"] == "completed"


def test_dev_deploys_a_changed_list_and_warns_of_what_can_not_be_used(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    write_package(tmp_path / "duties", "duties", CHAIN.format(name="duties", step="duty"))
    write_package(tmp_path / "broken", "broken", "import nothing_of_this_name\n")
    file = tmp_path / "chains.txt"
    file.write_text("./duties\n")
    (project / ".env").write_text(f"CHAINS={file}\n")

    with developing(project) as (process, _):
        assert process.stdout
        file.write_text("./duties\n./nowhere\n")
        read_until(process.stdout, "chains.txt has changed, deploying it")
        read_until(process.stdout, f"Not deployed: {file}:2: there is no {tmp_path}/nowhere/pyproject.toml")
        file.write_text("./duties\n./broken\n")
        read_until(process.stdout, "Deployed. Tables and queues kept their data.")
        read_until(
            process.stdout, "warning: the chain broken of the package broken-package: broken_module can't be imp"
        )
        process.terminate()
        process.communicate(timeout=LIMIT)


def test_dev_goes_on_with_what_worked_while_a_changed_package_is_broken(tmp_path: Path) -> None:
    # given a stack that runs a package
    write_package(tmp_path / "duties", "duties", CHAIN.format(name="duties", step="duty"))
    (tmp_path / "chains.txt").write_text("./duties\n")
    file = tmp_path / "duties" / "duties_module.py"
    project = make_clone(tmp_path / "project")
    (project / ".env").write_text(f"CHAINS={tmp_path / 'chains.txt'}\n")

    with developing(project) as (process, told):
        assert process.stdout
        with httpx2.Client(base_url=told["api_url"], timeout=60, trust_env=False) as http:
            # when an edit breaks it
            file.write_text(f"{CHAIN.format(name='duties', step='task')}\nchain.undo()\n")
            read_until(process.stdout, "duties-package has changed and can't be used. The version before goes on:")
            warning = process.stdout.readline()

            # then the line is named, and jobs run as before
            assert warning.startswith("warning: the chain duties of the package duties-package: duties_module can't be")
            assert warning.endswith(f"AttributeError: 'Chain' object has no attribute 'undo' ({file}:16)\n")
            assert [*run(http, {"job_name": "duties", "payload": {"text": TEXT}})["result"]] == ["duty", "count"]

            # when it is corrected
            file.write_text(CHAIN.format(name="duties", step="task"))
            read_until(process.stdout, "duties-package has changed: loaded.")

            # then jobs run the new version
            assert [*run(http, {"job_name": "duties", "payload": {"text": TEXT}})["result"]] == ["task", "count"]
        process.terminate()
        process.communicate(timeout=LIMIT)

    assert {path.name for path in (project / ".local").iterdir()} == {"emulator.log", "jobs.jsonl"}
