"""What the numbers say beside Celery: sentences that are made of them, and so are true of whatever was measured."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.baseline import hardened
from benchmarks.report import Fragment
from benchmarks.sides import DEFAULT, FORMS, HARDENED, OURS
from benchmarks.spread import Spread, number

Medians = Mapping[str, float]
"""A number for each side."""

_NAMES = {OURS: "Jobchain", DEFAULT: "Celery by default", HARDENED: "hardened Celery"}


def summary(fragments: Mapping[str, Fragment]) -> Fragment | None:
    """The section, of the measures that are there; None where nothing was compared."""
    data = {name: fragment.data for name, fragment in fragments.items()}
    found = list(_sentences(data))
    if not found:
        return None
    lines = "\n".join(f"- {one}" for one in found)
    body = f"""\
{lines}

What no number here shows:

- *Who builds it.* The hardened form is {_lines()} lines of code and SQL in `benchmarks/baseline/hardened`, which each
  project writes, tests and keeps. Jobchain's promises are [tested fault by fault](reliability.md), and it does what the
  hardened form does not: budgets, the account's rate limits, breakers, estimates of calls that no one recorded,
  fairness between tenants, deadlines, cancelling.
- *Who runs it.* The hardened form needs web, relay and worker processes, Redis and Postgres all day, and people for
  them; on a machine that is there anyway, they cost nothing more. Jobchain's functions, table and queue cost with the
  load, and next to nothing without it.
- *How it grows.* More jobs at a time are more threads and then machines there, and a parameter here.
- *AWS itself.* Ours is measured in an emulator, which takes a share of the same machine for each call of the table, the
  queue and the functions; this lowers our rates, and is no part of our CPU.
"""
    return Fragment("What holds against Celery", body)


def _sentences(data: Mapping[str, Any]) -> Iterator[str]:
    for delay in ("0", "0.5"):
        if rates := medians(data.get("20-throughput", {}).get(delay, {})):
            yield throughput(rates, float(delay))
    if cpu := medians(data.get("40-cpu", {})):
        yield f"CPU of a job, in ms: {_listed(cpu)}; {_NAMES[min(cpu, key=cpu.__getitem__)]} takes least."
    if kills := data.get("55-kills"):
        yield lost(kills)
    if first := medians(data.get("50-first-post", {})):
        yield f"First POST of a fresh process, in seconds: {_listed(first)}."
    if idle := medians(data.get("45-memory", {}).get("idle", {})):
        yield f"Memory on one machine that is idle, in MB: {_listed(idle)}."


def medians(found: Mapping[str, list[float]]) -> Medians:
    """The medians of all sides; nothing where one of them was not measured."""
    if not all(found.get(name) for name in (OURS, *FORMS)):
        return {}
    return {name: Spread.of(found[name]).median for name in (OURS, *FORMS)}


def throughput(rates: Medians, delay: float) -> str:
    """Jobs a second beside each form, the larger number first."""
    parts = []
    for form in FORMS:
        more, less = sorted((OURS, form), key=lambda name: rates[name], reverse=True)
        parts.append(f"{_NAMES[more]} runs {number(rates[more] / rates[less])} times as many jobs as {_NAMES[less]}")
    waits = ", which waits for one call of the model in each process" if delay else ""
    return f"With the model at {delay * 1000:g} ms, {parts[0]}{waits}; {parts[1]}."


def lost(kills: Mapping[str, Mapping[str, float]]) -> str:
    """The jobs that were lost, and how long those that were not took."""
    parts = [
        f"{_NAMES[name]} lost {one['unended']:g} and failed {one['failed']:g} of {one['jobs']:g} jobs"
        for name, one in kills.items()
    ]
    kept = {name: one["recovery"] for name, one in kills.items() if one["jobs"] == one["completed"]}
    after = f" Where all completed, seconds from the last kill until all were done: {_listed(kept)}." if kept else ""
    return f"Under `kill -9`, {_and(parts)}.{after}"


def _listed(values: Medians) -> str:
    return _and(f"{_NAMES[name]} {number(value)}" for name, value in values.items())


def _and(parts: Iterable[str]) -> str:
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last


def _lines() -> int:
    """Lines of the hardened form that are not empty."""
    files = Path(hardened.__file__).parent.glob("*.py")
    return sum(bool(line.strip()) for file in files for line in file.read_text(encoding="utf-8").splitlines())
