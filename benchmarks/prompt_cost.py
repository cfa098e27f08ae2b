"""What the model reads costs, before and after texts are shared: `docs/explanation/prompt-cost.md`.

    python -m benchmarks.prompt_cost [--documents FOLDER]

runs the chain `guideline_checklist` on three documents with the worker's own code, over HTTP, against a server that
answers as the offline model does and accounts as OpenAI does (`benchmarks/prompt_account.py`), and writes the tables
into the page. Without a folder the documents are generated texts of the same sizes.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from benchmarks import parts
from benchmarks.prompt_account import LIFETIME_SECONDS
from benchmarks.prompt_server import Server, running
from benchmarks.report import table
from jobchain.chains import CHAINS
from jobchain.prices import PriceList
from jobchain.spending import Usage
from jobchain_worker.api_key import FixedKey
from jobchain_worker.one_job import run_one
from jobchain_worker.openai_calls import create_client
from jobchain_worker.openai_llm import OpenAILLM

PAGE = "docs/explanation/prompt-cost.md"
CHAIN = "guideline_checklist"
MODEL = "gpt-6-luna"
GOAL = 0.70
"""The most that the two readings of a document of 20,000 tokens may cost of what they cost before."""

READERS = ("summary", "checklist")
"""The steps that read the document."""

GENERATED_BYTES = 80_000
"""The size of the document of the goal: 20,000 tokens."""

_LIMIT = timedelta(minutes=5)
_SENTENCES = (
    "Passwords must have at least {} characters.",
    "The owner of system {} should review its access rights every quarter.",
    "Visitors of building {} must be accompanied.",
    "Backups of site {} are kept for a year, and a restore is tested twice in that time.",
    "Teams may keep the logs of service {} for up to thirty days.",
)


@dataclass(frozen=True, slots=True)
class Document:
    """A text of the chain's payload."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What a job read, by its steps."""

    steps: dict[str, Usage]

    def cost(self, steps: Sequence[str] = ()) -> Decimal:
        """US dollars for the input of these steps, or of all."""
        return sum((_input_cost(usage) for name, usage in self.steps.items() if not steps or name in steps), Decimal(0))

    def total(self) -> Usage:
        """The sum of the steps."""
        return sum(self.steps.values(), Usage())


@dataclass(frozen=True, slots=True)
class Case:
    """A document, read `before` and `after`: by a job on a cold cache, and by one of the same text soon after."""

    document: Document
    before: tuple[Reading, Reading]
    after: tuple[Reading, Reading]

    @property
    def ratio(self) -> Decimal:
        """What the readings of the document cost of what they cost before, on a cold cache."""
        return self.after[0].cost(READERS) / self.before[0].cost(READERS)


def _input_cost(usage: Usage) -> Decimal:
    price = PriceList.load().spending(MODEL, Usage(**{**_fields(usage), "output_tokens": 0}), usage)
    return price.known_cost_usd


def _fields(usage: Usage) -> dict[str, int]:
    names = ("input_tokens", "cached_tokens", "cache_write_tokens")
    return {name: getattr(usage, name) for name in names}


def generated(size: int) -> Document:
    """A guideline of about this many bytes, the same each time."""
    lines: list[str] = []
    number = length = 0
    while length < size:
        head = [f"# Part {number // 25 + 1}"] if number % 25 == 0 else []
        lines += [*head, _SENTENCES[number % len(_SENTENCES)].format(number + 8)]
        length += sum(len(line) + 2 for line in lines[-1 - len(head) :])
        number += 1
    return Document(f"generated, {size // 1000} KB", "\n\n".join(lines)[:size])


def documents(folder: Path | None) -> list[Document]:
    """The smallest, the middle and the largest guideline of a folder; generated ones without it."""
    if folder is None:
        return [generated(size) for size in (6_000, 13_500, 54_000)]
    found = sorted(
        (path for path in folder.glob("*.md") if path.stem != "README"), key=lambda path: path.stat().st_size
    )
    chosen = [found[0], found[len(found) // 2], found[-1]]
    return [Document(path.stem, path.read_text(encoding="utf-8")) for path in chosen]


def measured(document: Document) -> Case:
    """Runs the chain on a document in both ways, each on a server of its own."""
    return Case(document, _twice(document, caches=False), _twice(document, caches=True))


def _twice(document: Document, *, caches: bool) -> tuple[Reading, Reading]:
    with running() as server:
        cold = _read(document, server, caches=caches)
        server.account.now += LIFETIME_SECONDS / 2
        return cold, _read(document, server, caches=caches)


def _read(document: Document, server: Server, *, caches: bool) -> Reading:
    client = create_client(server.base_url, FixedKey("no-key").read, _LIMIT)
    llm = OpenAILLM(client, MODEL, _LIMIT, 16_384, caches_prompts=caches)
    job = run_one(CHAINS[CHAIN], {"guidelines": document.text}, llm, close=client.close)
    assert job.error is None, job.error
    return Reading({step.name: step.spending.usage for step in job.steps if step.model})


def _documents_table(cases: Sequence[Case]) -> str:
    heads = ("document", "tokens read", "before, cold", "after, cold", "", "before, warm", "after, warm")
    rows = []
    for case in cases:
        before, after = (f"${each[0].cost():.6f}" for each in (case.before, case.after))
        warm = (f"${each[1].cost():.6f}" for each in (case.before, case.after))
        ratio = case.after[0].cost() / case.before[0].cost()
        rows.append((case.document.name, case.before[0].total().input_tokens, before, after, f"{ratio:.0%}", *warm))
    return table(heads, rows)


def _steps_table(case: Case) -> str:
    heads = ("", "step", "input", "written", "cached", "input cost")
    rows: list[Sequence[object]] = []
    for when, readings in (("before", case.before), ("after", case.after)):
        for place, reading in zip(("cold", "warm"), readings, strict=True):
            for name, used in reading.steps.items():
                dollars = f"${_input_cost(used):.6f}"
                row = (used.input_tokens, used.cache_write_tokens, used.cached_tokens, dollars)
                rows.append((f"{when}, {place}", name, *row))
    return table(heads, rows, texts=(0, 1))


def _goal(case: Case) -> str:
    verdict = "reached" if case.ratio <= Decimal(str(GOAL)) else "missed"
    before, after = (each[0].cost(READERS) for each in (case.before, case.after))
    return (
        f"The two steps that read a document of 20,000 tokens pay ${after:.6f} for their input, and paid ${before:.6f} "
        f"before: {case.ratio:.0%}. The goal, at most {GOAL:.0%}, is {verdict}."
    )


def main() -> None:
    """Measures, and writes the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prompt_cost", description=__doc__)
    folder = os.environ.get("GUIDELINES")
    parser.add_argument(
        "--documents", type=Path, default=Path(folder) if folder else None, help="a folder of .md files"
    )
    cases = [measured(document) for document in documents(parser.parse_args().documents)]
    goal = measured(generated(GENERATED_BYTES))
    tables = {"documents": _documents_table([*cases, goal]), "steps": _steps_table(goal), "goal": _goal(goal)}
    parts.write(PAGE, tables)


if __name__ == "__main__":
    main()
