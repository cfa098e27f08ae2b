"""Makes a package with a chain, a test of it, a sample text, and a case that says how good its results are."""

import keyword
import re
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from jobchain_cli.errors import CommandError
from jobchain_cli.words import in_one_line

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")

_PROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "NAME"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["jobchain"]

[project.entry-points."jobchain.chains"]
NAME = "NAME:chain"

[dependency-groups]
dev = ["jobchain[chains]", "pytest"]

[tool.hatch.build.targets.wheel]
include = ["NAME.py"]

[tool.pytest.ini_options]
pythonpath = ["."]
testpaths = ["tests"]
"""

_CHAIN = '''\
"""Says what a text asks of its readers."""

from jobchain import Chain, Mermaid, Text, flowchart

chain = Chain("NAME", effort="low")


@chain.ask
def summary(document: Text) -> str:
    """Summarize the document in three sentences, in its language."""


@chain.ask
def duties(document: Text, summary: str) -> list[str]:
    """List what the document asks for, in its order, beginning with what the summary names."""


@chain.code
def diagram(duties: list[str]) -> Mermaid:
    return Mermaid(flowchart([(duty, duty) for duty in duties], []))
'''

_TEST = '''\
"""The chain, with answers that are written here: no call of a model."""

from pathlib import Path

from jobchain import check
from jobchain.testing import InTurn, Raw, run_chain
from NAME import chain

DOCUMENT = (Path(__file__).parents[1] / "texts" / "sample.md").read_text(encoding="utf-8")
ANSWERS = {"summary": "Rooms are locked at night.", "duties": ["Lock the doors.", "Report lost keys."]}


def test_has_no_mistakes() -> None:
    assert check(chain) == []


def test_draws_the_duties() -> None:
    run = run_chain(chain, {"document": DOCUMENT}, ANSWERS)

    assert run.result["duties"] == ANSWERS["duties"]
    assert "Report lost keys." in str(run.result["diagram"])


def test_gives_the_summary_to_the_duties() -> None:
    run = run_chain(chain, {"document": DOCUMENT}, ANSWERS)

    assert "Rooms are locked at night." in run.calls_of("duties")[0].prompt


def test_asks_again_for_an_answer_that_does_not_fit() -> None:
    run = run_chain(chain, {"document": DOCUMENT}, {**ANSWERS, "summary": InTurn([Raw(""), "Short."])})

    assert len(run.calls_of("summary")) == 2
'''

_CHECKS = '''\
"""What `make evals` looks for in the chain's results: a function for each word of a case's `expect`."""

from collections.abc import Iterator
from typing import Any


def duties(result: dict[str, Any], wanted: list[list[str]]) -> Iterator[str]:
    """For each list of words there is a duty that has them all."""
    for words in wanted:
        if not any(all(word in duty.casefold() for word in words) for duty in result["duties"]):
            yield f"no duty has {' and '.join(words)}"


def at_most(result: dict[str, Any], most: int) -> Iterator[str]:
    """There are no more duties than that."""
    if len(result["duties"]) > most:
        yield f"its duties are {len(result['duties'])}, not {most} at most"
'''

_CASE = """\
{
 "payload": {
  "document": "Doors must be locked at night. Lost keys must be reported to the front desk. The house is old."
 },
 "expect": {"duties": [["doors", "night"], ["keys", "front desk"]], "at_most": 2}
}
"""

_TEXT = """\
# Keys and doors

Everyone who works here has a key to their own room.

- Doors must be locked at night, also those of empty rooms.
- Lost keys must be reported to the front desk within one day.
- Visitors should be accompanied by the person whom they visit.

Keys are handed back on the last day of work.
"""

_IGNORED = """\
__pycache__/
.pytest_cache/
.venv/
dist/
"""

FILES: Mapping[str, str] = {
    "pyproject.toml": _PROJECT,
    "NAME.py": _CHAIN,
    "tests/test_NAME.py": _TEST,
    "texts/sample.md": _TEXT,
    "evals/NAME.py": _CHECKS,
    "evals/NAME/keys.json": _CASE,
    ".gitignore": _IGNORED,
}
"""The files of a package, by their paths in it. NAME stands for its name, in both."""


def make(name: str, where: Path) -> None:
    """Writes the package into a new folder, and says what to do next. Raises CommandError, and nothing is written."""
    _check(name)
    folder = where / name
    if folder.exists():
        raise CommandError(f"{folder} is there already: choose another name, or remove it")
    for path, content in FILES.items():
        file = folder / path.replace("NAME", name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content.replace("NAME", name), encoding="utf-8")
    print(f"The package is in {name}. Try it:\n")
    print(f"  cd {name}")
    print(f"  jobchain check {name}")
    print(f"  jobchain run {name} texts/sample.md")
    print("  python -m pytest")


def _check(name: str) -> None:
    """Raises CommandError for what can't be the name of a module, or is one already."""
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        example = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
        hint = f", such as {example}" if _NAME.fullmatch(example) and not keyword.iskeyword(example) else ""
        raise CommandError(
            f"{in_one_line(name)!r} can't be the name of a chain: use small letters, digits and underscores{hint}"
        )
    if name in sys.stdlib_module_names or name == "tests" or _is_installed(name):
        raise CommandError(f"{name} is the name of another module: choose another one")


def _is_installed(name: str) -> bool:
    found = find_spec(name)
    # A folder without modules is no package of Python's.
    return found is not None and found.origin is not None
