"""Where the numbers come from: the machine, and the versions of what ran on it."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

from benchmarks import ours
from benchmarks.baseline import services
from benchmarks.baseline.hardened.terms import LEASE_SECONDS, VISIBILITY_SECONDS
from benchmarks.report import ROOT, Fragment
from benchmarks.sides import DEFAULT, HARDENED

_OURS = ("openai", "botocore", "aws-lambda-powertools", "pydantic", "ministack")
_BASELINES = ("celery", "fastapi", "uvicorn", "psycopg", "openai")


def fragment() -> Fragment:
    """What a reader needs to tell whether two runs can be compared."""
    busy = os.getloadavg()[0]
    gigabytes = round(psutil.virtual_memory().total / 2**30)
    body = f"""\
- {os.cpu_count()} cores of {_processor()}, {gigabytes} GB of memory
- {_os()}, Python {platform.python_version()}; the load was {busy:.1f} when this began, on {datetime.now(UTC):%Y-%m-%d}
- ours: {", ".join(f"{name} {version(name)}" for name in _OURS)}
- baseline: {", ".join(_baseline())}
- `make bench` runs all of this in one go; `make bench ONLY=jobs` one section, `make bench JOBS=1000` a shorter load,
  `make bench ROUNDS=1` one round in place of three, `make bench QUICK=1` a trial of our side alone, which leaves this
  page as it is

Each number is the median of the rounds, with the least and the most of them; one without a range was measured once.
A section may be of an earlier run than the others; the list above is of the last one. In each round each side is
started, measured and stopped in turn; callers and model are the same for all.

The baseline (FastAPI, Celery, Redis, Postgres) runs the same chain: the same texts, prompts, schemas, checks and
library. It has two forms:

- *{DEFAULT}* (`benchmarks/baseline`) takes the tools' defaults: prefork with a process a core, messages that are
  acknowledged before their jobs run, one row a job.
- *{HARDENED}* (`benchmarks/baseline/hardened`) is what one builds with these tools to keep Jobchain's promises: the
  threads pool with {ours.AT_ONCE} jobs at a time, `acks_late`, `reject_on_worker_lost`, no prefetching, a visibility
  timeout of {VISIBILITY_SECONDS} s, the job and its message in one transaction of Postgres (an outbox) with a relay
  that sends it, claims with leases of {LEASE_SECONDS} s and a heartbeat, fenced writes, each step and its usage stored
  as it completes, idempotency keys, and a supervisor that starts ended workers again.
"""
    return Fragment("Machine and method", body)


def _processor() -> str:
    """Its name. psutil has none, and `platform.processor()` is empty on Debian."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _os() -> str:
    return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())


def _baseline() -> list[str]:
    """The baseline's versions: of its libraries by the file that locks them, of its services by themselves."""
    locked = (ROOT / "requirements" / "baseline.txt").read_text(encoding="utf-8").splitlines()
    exact = dict(line.split(";")[0].rstrip(" \\").split("==") for line in locked if "==" in line and line[0].isalpha())
    found = [f"{name} {exact[name]}" for name in _BASELINES]
    for program in services.programs():
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
        found.append(" ".join(said.split()[:3]))
    return found
