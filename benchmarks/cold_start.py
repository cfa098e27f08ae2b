"""What a function's start costs, beside that of two clients of boto3: `python -m benchmarks.cold_start`.

Each start is a fresh process of the functions' own Python, with nothing on its path but what is deployed: the function
and its layer, as `make build` left them. What counts is the CPU time of the whole process, the interpreter's own start
included. The baseline is a process that makes the same two clients in the plain way. It and the functions take turns,
so that whatever else the machine does meets all of them.
"""

import argparse
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.report import Fragment
from local import sam_template
from local.finish_build import not_compiled

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / ".aws-sam" / "build"
LAYER = BUILD / "CommonLayer" / "python"
VERSION = "3.13"

BASELINE = "two boto3 clients"
BUDGETS = {"ApiFunction": 0.95, "SweeperFunction": 0.8, "WebhookFunction": 0.8, "WorkerFunction": 2.0}
"""The most that a start may cost, as a multiple of the baseline."""

# What stands for a function's settings, where a 1 will not do.
SETTINGS = {
    "AUTH_MODE": "api_key",
    "WEBHOOKS": "on",
    "LOG_LEVEL": "INFO",
    "MODEL_PROVIDER": "openai",
    "OPENAI_API": "responses",
    "OPENAI_BASE_URL": "https://models.example.com/v1",
    "STORE_RAW_ANSWERS": "on",
}

# What the platform gives a function.
_PLATFORM = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "eu-central-1"}

_CLIENTS = "import boto3; boto3.client('dynamodb'); boto3.client('sqs')"
_MEASURED = """\
import sys
sys.path[:0] = {path!r}
{start}
import resource
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_utime + used.ru_stime)
"""


class BuildError(Exception):
    """There is nothing that could be measured; says what to do."""


def find_python() -> str:
    """The real Python of the functions' version. Raises BuildError."""
    program = f"import sys; assert sys.version_info[:2] == ({VERSION.replace('.', ', ')}); print(sys.executable)"
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    for candidate in (shutil.which(f"python{VERSION}"), *sorted(versions.glob(f"*/bin/python{VERSION}"))):
        if candidate:
            found = subprocess.run([candidate, "-c", program], capture_output=True, text=True, check=False)
            if found.returncode == 0:
                return os.path.realpath(found.stdout.strip())
    raise BuildError(f"there is no python{VERSION}, which the functions run on: put it on PATH")


def check_build(python: str) -> None:
    """Raises BuildError where there is no build for this machine that is compiled for `python`."""
    how = f"make build ARCHITECTURE={'arm64' if platform.machine() in ('arm64', 'aarch64') else 'x86_64'}"
    if not LAYER.is_dir():
        raise BuildError(f"there is no build: run `{how}`")
    loads = [python, "-I", "-S", "-c", f"import sys; sys.path[:0] = [{str(LAYER)!r}]; import pydantic_core"]
    if subprocess.run(loads, capture_output=True, check=False).returncode:
        raise BuildError(f"the build is for another kind of machine: run `{how}`")
    if stale := not_compiled(BUILD, python):
        raise BuildError(f"{stale[0]} is not compiled: run `{how}`")


def programs() -> dict[str, tuple[str, Mapping[str, str]]]:
    """What is measured: a program and its environment, by its name."""
    template = sam_template.read(BUILD / "template.yaml")
    shared = template["Globals"]["Function"]["Environment"]["Variables"]
    found: dict[str, tuple[str, Mapping[str, str]]] = {
        BASELINE: (_MEASURED.format(path=[str(LAYER)], start=_CLIENTS), _PLATFORM)
    }
    for function in BUDGETS:
        properties: dict[str, Any] = template["Resources"][function]["Properties"]
        variables = {**shared, **properties["Environment"]["Variables"]}
        environment = _PLATFORM | {name: SETTINGS.get(name, "1") for name in variables}
        module = properties["Handler"].rpartition(".")[0]
        path = [str(BUILD / function), str(LAYER)]
        found[function] = (_MEASURED.format(path=path, start=f"import {module}"), environment)
    return found


def measure(python: str, rounds: int) -> dict[str, list[float]]:
    """The CPU milliseconds of each start, by its name. Raises subprocess.CalledProcessError."""
    chosen = programs()
    taken: dict[str, list[float]] = {name: [] for name in chosen}
    for _ in range(rounds):
        for name, (program, environment) in chosen.items():
            taken[name].append(_start(python, program, environment) * 1000)
    return taken


def _start(python: str, program: str, environment: Mapping[str, str]) -> float:
    done = subprocess.run(
        [python, "-I", "-S", "-c", program], env=dict(environment), stdout=subprocess.PIPE, text=True, check=True
    )
    return float(done.stdout)


def ratios(taken: Mapping[str, list[float]]) -> dict[str, float]:
    """Each function's start as a multiple of the baseline, by their least disturbed rounds."""
    return {name: min(taken[name]) / min(taken[BASELINE]) for name in BUDGETS}


def _rows(taken: Mapping[str, list[float]]) -> Iterator[str]:
    found = ratios(taken)
    for name, values in taken.items():
        ratio, budget = (f"{found[name]:.2f}", f"{BUDGETS[name]:g}") if name in found else ("1", "–")
        yield f"| {name} | {min(values):.0f} | {median(values):.0f} | {ratio} | {budget} |"


def fragment(taken: Mapping[str, list[float]]) -> Fragment:
    """The section of the page."""
    rounds = len(taken[BASELINE])
    rows = "\n".join(_rows(taken))
    body = f"""\
CPU milliseconds from the start of a fresh process to a function that is ready, {rounds} starts each, in turns, from
what `make build` has made. The ratio is that of the least ones.

| | least | median | ratio | budget |
|---|---|---|---|---|
{rows}
"""
    return Fragment("Cold start", body, data={"milliseconds": taken, "ratios": ratios(taken)})


def main() -> int:
    """Measures, prints, and keeps the fragment; with --strict it fails where a budget is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--strict", action="store_true", help="fail where a start costs more than its budget")
    arguments = parser.parse_args()
    try:
        python = find_python()
        check_build(python)
    except BuildError as error:
        print(f"cold_start: {error}", file=sys.stderr)
        return 1
    taken = measure(python, arguments.rounds)
    section = fragment(taken)
    section.write("60-cold_start")
    print(section.body)
    over = [name for name, ratio in ratios(taken).items() if ratio > BUDGETS[name]]
    return int(bool(over) and arguments.strict)


if __name__ == "__main__":
    sys.exit(main())
