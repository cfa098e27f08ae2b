"""Runs every chain over documents and cases, and writes what came of it as a page."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from string import Template

from evals import drawing, expectations, jobs, measures, packages, subjects
from evals.expectations import Case
from evals.jobs import Job, Request
from evals.measures import Share
from evals.subjects import SUBJECTS, Document
from jobchain.markdown import table
from jobchain_cli.words import failure
from jobchain_client import Job as ClientJob
from jobchain_client import Jobchain
from jobchain_offline.schema_answer import MAX_ITEMS
from local import chain_list, chain_packages, offline_model
from local.chain_list import chain_file
from local.errors import LocalError
from local.settings import Settings
from local.stack import EmbeddedStack

_EXPLANATION = Path(__file__).parent / "explanation.md"
_OFFLINE = f"""\
**The offline model is no GPT.** It copies sentences by rules. These measures compare words, which favours copies: its
quotes are found and its items are backed because they are copies. It gives at most {MAX_ITEMS} items a call, so it
covers little of a long document. The numbers show that the measuring works, and what rules alone achieve. Do not
compare them with those of a model that writes its own words.
"""

Say = Callable[[str], None]


class NoChain(LocalError):
    """There is no such chain; says which there are."""


@dataclass(frozen=True, slots=True)
class Run:
    """A chain over documents, and how it ended."""

    chain: str
    documents: tuple[Document, ...]
    job: Job
    diagram: str = ""
    """"yes" where Mermaid draws its diagram as written, else what is wrong; "–" for a run without one."""


@dataclass(frozen=True, slots=True)
class CaseRun:
    """A case, how it ended, and what was expected in vain."""

    chain: str
    name: str
    unmet: tuple[str, ...]
    job: Job | None = None


@dataclass(frozen=True, slots=True)
class Numbers:
    """What is measured of one run, or of several together. A cost of None is not known."""

    items: int
    covered: Share
    quotes: Share
    backed: Share
    calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    seconds: float

    def __add__(self, other: "Numbers") -> "Numbers":
        costs = (self.cost_usd, other.cost_usd)
        return Numbers(
            self.items + other.items,
            self.covered + other.covered,
            self.quotes + other.quotes,
            self.backed + other.backed,
            self.calls + other.calls,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            None if costs[0] is None or costs[1] is None else costs[0] + costs[1],
            self.seconds + other.seconds,
        )


NOTHING = Numbers(0, Share(), Share(), Share(), 0, 0, 0, 0.0, 0.0)


def run(root: Path, chain: str, folder: Path | None, say: Say) -> str:
    """Run the chain, or all where it is empty, over a folder's documents and the cases; gives the page.

    Raises NoChain, NoDocuments, CaseError, TextError, SettingsError, JobError and what
    `EmbeddedStack.start` raises.
    """
    settings = replace(Settings.load(root), auth_mode="")  # no key is needed: the stack is this run's own
    listed = chain_file(root, settings.chains)
    cases = {name: expectations.read(name) for name in (SUBJECTS if chain_list.read(listed).shipped else ())}
    cases |= packages.read(chain_packages.folders(listed))
    if chain and chain not in cases:
        raise NoChain(f"CHAIN is {chain!r}: set it to {', '.join(cases) or 'a chain with cases'}, or leave it out")
    chains = [chain] if chain else list(cases)
    measured = [name for name in chains if name in SUBJECTS]
    texts = subjects.documents(folder or subjects.default_folder(root)) if measured else []
    planned = [(name, taken) for name in measured for taken in _taken(texts, SUBJECTS[name].documents)]
    tried = [case for name in chains for case in cases[name]]
    requests = [Request(name, SUBJECTS[name].payload(taken)) for name, taken in planned]
    requests += [Request(case.chain, case.payload) for case in tried]
    with EmbeddedStack.start(settings) as stack, Jobchain(stack.api_url) as api:
        ended = jobs.run(api, requests, say)
    runs = [Run(name, taken, job) for (name, taken), job in zip(planned, ended, strict=False)]
    case_runs = [
        CaseRun(case.chain, case.name, _unmet(case, job), job)
        for case, job in zip(tried, ended[len(runs) :], strict=True)
    ]
    drawn, mermaid = _drawn(runs)
    return page(drawn, case_runs, mermaid, datetime.now(UTC).date())


def _taken(texts: Sequence[Document], number: int) -> list[tuple[Document, ...]]:
    """Each document with its next neighbours, so that `number` are together."""
    return [tuple(texts[start : start + number]) for start in range(len(texts) - number + 1)]


def _unmet(case: Case, job: Job) -> tuple[str, ...]:
    return tuple(case.unmet(job["result"])) if job["status"] == "completed" else (failure(ClientJob.of(job)),)


def _drawn(runs: Sequence[Run]) -> tuple[list[Run], str]:
    """The runs with what came of drawing their diagrams, and which Mermaid drew them; or why none did."""
    with_diagram = [run for run in runs if run.job["result"].get("diagram")]
    diagrams = [run.job["result"]["diagram"] for run in with_diagram]
    try:
        drawings = drawing.draw(drawing.find_browser(), diagrams)
    except (drawing.NoBrowserError, drawing.DrawingError) as reason:
        outcomes, mermaid = ["not checked"] * len(diagrams), f"No diagram was drawn: {reason}."
    else:
        pairs = zip(diagrams, drawings, strict=True)
        outcomes = [drawing.fault(text, drawn) or "yes" for text, drawn in pairs]
        mermaid = f"Diagrams were drawn by Mermaid {drawing.mermaid_version()}, as the dashboard draws them."
    by_run = {id(run): outcome for run, outcome in zip(with_diagram, outcomes, strict=True)}
    return [replace(run, diagram=by_run.get(id(run), "–")) for run in runs], mermaid


def numbers(run: Run) -> Numbers:
    """The measures of a completed run."""
    job, texts = run.job, [document.text for document in run.documents]
    items = SUBJECTS[run.chain].items(job["result"])
    covered = [
        measures.coverage(text, [item.text for item in items if place in item.speaks_for])
        for place, text in enumerate(texts)
    ]
    took = datetime.fromisoformat(job["finished_at"]) - datetime.fromisoformat(job["started_at"])
    return Numbers(
        len(items),
        sum(covered, Share()),
        Share.of(item.quote_found for item in items if item.quote_found is not None),
        Share.of(measures.is_backed(item.text, [texts[place] for place in item.speaks_for]) for item in items),
        job["calls"],
        job["usage"]["input_tokens"],
        job["usage"]["output_tokens"],
        job["cost_usd"],
        took.total_seconds(),
    )


def page(runs: Sequence[Run], case_runs: Sequence[CaseRun], mermaid: str, today: date) -> str:
    """docs/explanation/evals.md."""
    ended = [job for job in [*(run.job for run in runs), *(case.job for case in case_runs)] if job]
    models = sorted({step["model"] for job in ended for step in job["steps"] if step.get("model")})
    parts = [
        "# Evaluations\n",
        f"Written by `make evals` on {today.isoformat()}, after {len(runs)} jobs over documents and {len(case_runs)}"
        f" over cases. Answered by {' and '.join(f'`{model}`' for model in models) or 'no model'}.\n",
        *([_OFFLINE] if offline_model.MODEL in models else []),
    ]
    for chain in dict.fromkeys([*SUBJECTS, *(case.chain for case in case_runs)]):
        mine = [run for run in runs if run.chain == chain]
        tried = [case for case in case_runs if case.chain == chain]
        if mine or tried:
            parts += [f"## {chain}\n", *([_documents_table(mine)] if mine else [])]
            parts += [_cases_table(tried)] if tried else []
            parts += [_spent(tried)] if tried and not mine else []
    explanation = Template(_EXPLANATION.read_text(encoding="utf-8")).substitute(
        min_word=measures.MIN_WORD,
        stem=measures.STEM,
        obliging=measures.OBLIGING,
        min_shared=f"{measures.MIN_SHARED:.0%}",
        min_own=f"{measures.MIN_OWN:.0%}",
        mermaid=mermaid,
        jobs=len(runs) + len(case_runs),
    )
    return "\n".join([*parts, explanation])


def _documents_table(runs: Sequence[Run]) -> str:
    header = (
        *("document", "items", "obligations covered", "quotes found", "items backed", "diagram drawn"),
        *("calls", "tokens in", "tokens out", "cost", "seconds"),
    )
    rows, total = [], NOTHING
    for run in runs:
        name = " + ".join(document.name for document in run.documents)
        if run.job["status"] != "completed":
            rows.append((name, failure(ClientJob.of(run.job)), *[""] * (len(header) - 2)))
            continue
        measured = numbers(run)
        total += measured
        rows.append(_row(name, measured, run.diagram))
    drawn = [run.diagram for run in runs if run.diagram not in ("", "–")]
    as_written = _share(Share.of(outcome == "yes" for outcome in drawn))
    rows.append(_row("all", total, "not checked" if "not checked" in drawn else as_written))
    return table(header, rows)


def _row(name: str, measured: Numbers, diagram: str) -> tuple[str, ...]:
    return (
        name,
        str(measured.items),
        *map(_share, (measured.covered, measured.quotes, measured.backed)),
        diagram,
        str(measured.calls),
        f"{measured.input_tokens:,}",
        f"{measured.output_tokens:,}",
        "unknown" if measured.cost_usd is None else f"{measured.cost_usd:.4f} USD",
        f"{measured.seconds:.1f}",
    )


def _share(share: Share) -> str:
    return f"{share.part} of {share.whole} ({share.part / share.whole:.0%})" if share.whole else "–"


def _cases_table(runs: Sequence[CaseRun]) -> str:
    passed = _share(Share.of(not case.unmet for case in runs))
    rows = [(case.name.replace("_", " "), "; ".join(case.unmet) or "passed") for case in runs]
    return table(("case", f"{passed} passed"), rows)


def _spent(runs: Sequence[CaseRun]) -> str:
    """What the jobs of the cases took, all together."""
    jobs = [run.job for run in runs if run.job]
    costs = [job["cost_usd"] for job in jobs]
    cost = "at an unknown cost" if None in costs else f"for {sum(costs):.4f} USD"
    tokens = (sum(job["usage"][name] for job in jobs) for name in ("input_tokens", "output_tokens"))
    calls = sum(job["calls"] for job in jobs)
    read, written = (f"{number:,}" for number in tokens)
    return f"The jobs of these cases made {calls} calls with {read} tokens in and {written} out, {cost}.\n"
