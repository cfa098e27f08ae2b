"""`python -m benchmarks`: measures all sides and writes the page. Run from the project's root."""

import argparse
import logging
import subprocess
import sys
from collections.abc import Callable

from benchmarks import comparison, goals, machine, reading, report
from benchmarks.client import BenchmarkError
from benchmarks.kills import kills
from benchmarks.load import load
from benchmarks.pools import pools
from benchmarks.report import FRAGMENTS, PAGE, Fragment
from benchmarks.sides import Terms
from benchmarks.warm_post import warm_post
from local import signals
from local.errors import LocalError

SECTIONS: dict[str, Callable[[Terms], dict[str, Fragment]]] = {
    "jobs": comparison.jobs,
    "latency": comparison.latency,
    "warm-post": warm_post,
    "first-post": comparison.first_post,
    "kills": kills,
    "pools": pools,
    "load": load,
}
"""What is measured, in this order; each gives fragments by their names."""

COMPARISONS = {"kills", "pools"}
"""Sections that say nothing of our side alone, and so have no quick run."""

PROGRAMS = {
    "start": "benchmarks.cold_start",
    "cpu": "benchmarks.handler_cpu",
    "simulation": "benchmarks.simulate",
    "pace": "benchmarks.pace",
    "batches": "benchmarks.batches",
    "prompts": "benchmarks.prompt_cost",
    "costs": "benchmarks.costs",
    "scale": "benchmarks.scale",
}
"""What is measured after that, of our side alone, and what is calculated with it: programs that keep their fragments
themselves, or write pages of their own. They take what was measured from the page."""


def main() -> int:
    """The exit status: 0 done, 1 failed (argparse: 2), 128 + n if signal n ended it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="little of everything, of our side alone; writes no page")
    parser.add_argument("--only", nargs="+", choices=[*SECTIONS, *PROGRAMS], default=[], metavar="SECTION")
    parser.add_argument("--jobs", type=int, default=0, help="how many the load section runs (default: 5,000)")
    parser.add_argument("--rounds", type=int, default=0, help="how often all sides are measured in turns (default: 3)")
    options = parser.parse_args()
    quick = [name for name in SECTIONS if name not in COMPARISONS]
    if options.quick and (slow := set(options.only).difference(quick)):
        parser.error(f"--quick does not know {', '.join(sorted(slow))}: choose from {', '.join(quick)}")
    signals.listen()
    # It asks for numbers of its own to be published, each time that a stack is started.
    logging.getLogger("samtranslator.metrics.metrics").setLevel(logging.ERROR)
    try:
        run(_terms(options), options.only or (quick if options.quick else [*SECTIONS, *PROGRAMS]))
    except (LocalError, BenchmarkError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except signals.Stopped as stopped:
        return 128 + stopped.number
    return 0


def _terms(options: argparse.Namespace) -> Terms:
    if options.quick:
        folder = FRAGMENTS.with_name("bench-quick")
        return Terms(True, options.rounds or 1, options.jobs or 20, folder, folder / PAGE.name, _say)
    return Terms(False, options.rounds or 3, options.jobs or 5_000, FRAGMENTS, PAGE, _say)


def run(terms: Terms, sections: list[str]) -> None:
    """Measures the sections, keeps what came of each, and writes the page of all that is kept.

    Raises LocalError, BenchmarkError.
    """
    machine.fragment().write("00-machine", terms.folder)
    for name in sections:
        terms.say(f"benchmarks: {name}")
        if name in PROGRAMS:
            _run_program(PROGRAMS[name])
        else:
            for place, fragment in SECTIONS[name](terms).items():
                fragment.write(place, terms.folder)
        # After each, as a program reads there what an earlier one has measured.
        _write_page(terms)
    if sections == [*SECTIONS, *PROGRAMS]:
        terms.page.write_text(report.render(report.read(terms.folder)), encoding="utf-8")
    terms.say(f"benchmarks: written to {terms.page}")


def _write_page(terms: Terms) -> None:
    """Writes all fragments that are there. Sections without one stay as they are."""
    for place, summarized in {"10-goals": goals.summary, "12-reading": reading.summary}.items():
        if summary := summarized(report.read(terms.folder)):
            summary.write(place, terms.folder)
    found = report.read(terms.folder)
    page = (
        report.updated(terms.page.read_text(encoding="utf-8"), found) if terms.page.exists() else report.render(found)
    )
    terms.page.write_text(page, encoding="utf-8")


def _run_program(module: str) -> None:
    done = subprocess.run([sys.executable, "-m", module], stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise BenchmarkError(f"{module} ended with status {done.returncode}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
