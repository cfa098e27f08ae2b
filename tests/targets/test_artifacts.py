"""What `sam build` made, which is what `sam deploy` takes: not the checkout."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from local.architecture import machine_architecture
from local.function_zips import check_build
from tests.conftest import ROOT
from tests.targets.conftest import BUILD, SAM, run, say
from tests.unit.test_template import CHOICES, FUNCTIONS, HOOKS, ours, properties

# Only these folders and the standard library: no environment, no site-packages, not the folder that it runs in.
IMPORT = """
import importlib, json, pathlib, sys
folders = [str(pathlib.Path(folder).resolve()) for folder in sys.argv[2:]]
sys.path[:0] = folders
handler = importlib.import_module(sys.argv[1].rpartition(".")[0])
assert callable(getattr(handler, sys.argv[1].rpartition(".")[2]))
named = [module.__file__ for module in list(sys.modules.values()) if getattr(module, "__file__", None)]
files = [str(pathlib.Path(file).resolve()) for file in named]
standard = [str(pathlib.Path(json.__file__).resolve().parent.parent)]
print(json.dumps({
    "own": sum(file.startswith(tuple(folders)) for file in files),
    "others": [file for file in files if not file.startswith((*folders, *standard))],
}))
"""


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    check_build(ROOT, machine_architecture())


def test_sam_finds_nothing_wrong_with_the_template() -> None:
    said = run([SAM, "validate", "--lint"])

    assert "is a valid SAM Template" in said


def test_the_build_has_every_function_and_the_layer() -> None:
    assert {path.name for path in BUILD.iterdir() if path.is_dir()} == {*FUNCTIONS, *HOOKS, "CommonLayer"}


@pytest.mark.parametrize("function", [*FUNCTIONS, *HOOKS])
def test_a_function_starts_from_its_package_and_the_layer_alone(
    template: dict[str, Any], function: str, python313: Path
) -> None:
    variables = {name: CHOICES.get(name, "1") for name in ours(template, function)}
    handler = properties(template, function)["Handler"]

    done = subprocess.run(
        [python313, "-I", "-S", "-c", IMPORT, handler, BUILD / function, BUILD / "CommonLayer" / "python"],
        env={**variables, "AWS_DEFAULT_REGION": "us-east-1"},
        capture_output=True,
        text=True,
        cwd="/",
        check=False,
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    say(f"{handler}: {found['own']} modules of the package and the layer")
    assert found["own"] > 0
    assert found["others"] == []
