"""What `pipx install .` and `uv tool install .` get: the built package, not the checkout."""

import os
import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.essential


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_it_holds_the_command_line_the_client_and_what_they_import(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (info,) = (name for name in names if name.endswith("/METADATA"))
        metadata = message_from_bytes(archive.read(info))
        entry_points = archive.read(info.replace("METADATA", "entry_points.txt")).decode()

    packages = {name.partition("/")[0] for name in names if ".dist-info" not in name}
    assert packages == {"jobchain", "jobchain_cli", "jobchain_client"}
    assert {"jobchain_client/py.typed", "jobchain/prices.json"} <= names
    assert "jobchain = jobchain_cli.__main__:main" in entry_points
    needed = {line.partition(">")[0] for line in metadata.get_all("Requires-Dist", []) if "extra" not in line}
    assert needed == {"httpx2", "rich", "typer"}
    assert metadata.get_all("Provides-Extra") == ["operator"]


@pytest.mark.parametrize("command", [["--help"], ["keys", "list"], ["list"]])
def test_it_runs_without_the_checkout(wheel: Path, tmp_path: Path, command: list[str]) -> None:
    code = """if True:
        import sys
        sys.path.insert(0, sys.argv.pop(1))
        from jobchain_cli import __main__
        print(__main__.__file__)
        __main__.main()
    """
    done = subprocess.run(
        [sys.executable, "-c", code, str(wheel), *command],
        cwd=tmp_path,
        env={**os.environ, "XDG_CONFIG_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.startswith(str(wheel))
    assert "Usage: jobchain" in done.stdout or "make dev" in done.stderr
