"""What `jobchain replay` does: finds the jobs, estimates, runs their replays, and writes the page."""

import math
import secrets
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from jobchain_cli.errors import Code, CommandError
from jobchain_cli.ids import whole_ids
from jobchain_cli.replay_budget import LEAST, Budget
from jobchain_cli.replay_comparison import Comparison, Pair, Verdict, ordered, pair_of, settings_of
from jobchain_cli.replay_estimate import Expected, again_from, estimate, expected
from jobchain_cli.replay_page import page
from jobchain_cli.replay_run import Run, Runner, Wanted, read_jobs
from jobchain_cli.replay_words import as_json as json_of
from jobchain_cli.replay_words import terminal_lines
from jobchain_cli.target import Target
from jobchain_cli.words import in_one_line, json_line
from jobchain_client import Chain, Job, NotFound

if TYPE_CHECKING:
    from jobchain_client import Jobchain

MAX_PROMPT_BYTES = 100_000
"""The longest file of a prompt that is read; the API tells how long a prompt may be."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a replay is asked to be. The jobs are `event_ids`, or the `last` completed ones, of one `chain` if given."""

    event_ids: tuple[str, ...] = ()
    chain: str | None = None
    last: int | None = None
    model: str | None = None
    effort: str | None = None
    prompt_file: str | None = None
    from_step: str | None = None
    max_cost_usd: float | None = None
    parallel: int = 8

    @property
    def changes(self) -> bool:
        """Whether the replay differs from the jobs in what it sets, or in where it begins."""
        return bool(self.settings)

    @property
    def settings(self) -> dict[str, str]:
        """What differs from the jobs, by its name."""
        given = {"model": self.model, "effort": self.effort, "prompt": self.prompt_file, "from step": self.from_step}
        return {name: value for name, value in given.items() if value}


def make(
    target: Target, request: Request, out: str | None, *, as_json: bool, dry_run: bool, limit_seconds: float | None
) -> Code:
    """Makes a replay, and its page; or, for a dry run, tells what it would be. Raises CommandError."""
    prompt = _prompt(request.prompt_file)
    total = None if request.max_cost_usd is None else _budget(request.max_cost_usd)
    replay_id = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    file = _page_file(out, replay_id, as_json=as_json) if not dry_run else None
    with target.client() as client:
        sources = _sources(client, target, request)
        chains = {chain.name: chain for chain in client.chains()} if request.changes else {}
    _check_allowed(request, sources, chains)
    needs = {name: _needs(chain.raw) for name, chain in chains.items()} if request.from_step else {}
    again = again_from(needs, request.from_step)
    if dry_run or total is None:
        print(*_estimate_lines(sources, expected(sources, request.model, again), request, total), sep="\n")
        return Code.DONE
    options = {"model": request.model, "effort": request.effort, "prompt": prompt}
    wanted = Wanted(replay_id, request.from_step, {name: value for name, value in options.items() if value})
    budget = Budget(total)
    runs = [Run(source, estimate(source, request.model, again)) for source in sources]
    runner = Runner(target, wanted, budget, request.parallel)
    try:
        runner.run(runs, limit_seconds)
    except KeyboardInterrupt:
        again_line = f"jobchain replay --of {replay_id}"
        print(f"jobchain: stopped; the jobs that were made continue, within the budget: {again_line}", file=sys.stderr)
        raise
    pairs = [pair_of(run.source, run.job if run.ended else None, run.problem, run.event_id) for run in runs]
    comparison = Comparison(
        replay_id,
        datetime.now(UTC),
        request.settings,
        ordered(pairs),
        budget_usd=total,
        spent_usd=budget.spent,
        stopped=runner.stopped,
        prompt=prompt or "",
    )
    _tell(comparison, target, file, as_json=as_json)
    return _code(comparison.pairs)


def show_again(target: Target, replay_id: str, out: str | None, *, as_json: bool) -> Code:
    """Makes the page of an earlier replay again, of what its jobs are now. Raises CommandError."""
    file = _page_file(out, replay_id, as_json=as_json)
    with target.client() as client:
        found = read_jobs(target, [job.event_id for job in client.list(replay=replay_id)])
        jobs = [job for job in found if isinstance(job, Job)]
        if not jobs:
            raise CommandError(f"there are no jobs of a replay {replay_id}")
        both = list(_with_sources(target, jobs))
    pairs = [_pair_again(source, job) for source, job in both]
    made_at = min(job.created_at for job in jobs)
    _tell(Comparison(replay_id, made_at, settings_of(both), ordered(pairs)), target, file, as_json=as_json)
    return _code(pairs)


def _with_sources(target: Target, jobs: Sequence[Job]) -> Iterable[tuple[Job, Job]]:
    sources = read_jobs(target, [job.forked_from.event_id for job in jobs if job.forked_from])
    for job, source in zip(jobs, sources, strict=True):
        if isinstance(source, NotFound):
            print(f"jobchain: {in_one_line(job.event_id)}: the job that it replays was deleted", file=sys.stderr)
        else:
            yield source, job


def _pair_again(source: Job, job: Job) -> Pair:
    return pair_of(source, job if job.final else None, "" if job.final else f"it is {job.status}", job.event_id)


def _prompt(file: str | None) -> str | None:
    if file is None:
        return None
    try:
        content = Path(file).read_bytes()
        if len(content) > MAX_PROMPT_BYTES:
            raise CommandError(
                f"--prompt {file}: the file has {len(content)} bytes, a prompt at most {MAX_PROMPT_BYTES}"
            )
        prompt = content.decode("utf-8-sig").strip()
    except OSError as error:
        raise CommandError(f"--prompt {file}: {error.strerror}", Code.USAGE) from error
    except UnicodeDecodeError as error:
        raise CommandError(f"--prompt {file}: the file is not UTF-8: save it as UTF-8", Code.USAGE) from error
    if not prompt:
        raise CommandError(f"--prompt {file}: the file is empty", Code.USAGE)
    return prompt


def _budget(amount: float) -> Decimal:
    if not (math.isfinite(amount) and Decimal(str(amount)) >= LEAST):
        raise CommandError(
            f"--max-cost-usd {amount}: use a number of US dollars from {LEAST} on, such as 1", Code.USAGE
        )
    return Decimal(str(amount))


def _page_file(out: str | None, replay_id: str, *, as_json: bool) -> Path | None:
    """Where the page goes; with --json only if it is said. Raises CommandError before anything is paid."""
    if out is None and as_json:
        return None
    file = Path(out or f"replay-{in_one_line(replay_id).replace('/', '-')}.html")
    if file.is_dir() or not file.parent.is_dir():
        why = "is a folder" if file.is_dir() else f"there is no folder {file.parent}"
        raise CommandError(f"--out {file}: {why}: name a file, such as replay.html", Code.USAGE)
    return file


def _sources(client: "Jobchain", target: Target, request: Request) -> list[Job]:
    """The jobs to replay, with their failed calls. Raises CommandError."""
    ids = tuple(dict.fromkeys(whole_ids(client, request.event_ids)))
    if request.last:
        ids = tuple(job.event_id for job in client.list("completed", request.chain, request.last))
        if not ids:
            which = f" of the chain {request.chain}" if request.chain else ""
            raise CommandError(f"there are no completed jobs{which}: submit some first, or name jobs")
    jobs = []
    for found in read_jobs(target, ids):
        if isinstance(found, NotFound):
            raise found
        jobs.append(found)
    if unfinished := [job for job in jobs if not job.final]:
        job = unfinished[0]
        raise CommandError(f"{job.event_id} is {job.status}: only jobs that have ended can be compared: wait for it")
    return jobs


def _check_allowed(request: Request, sources: Sequence[Job], chains: Mapping[str, Chain]) -> None:
    """Raises CommandError for what a job's chain does not let it set: the API would refuse each of them."""
    set_by = {"--model": request.model, "--effort": request.effort, "--prompt": request.prompt_file}
    for name in sorted({job.job_name for job in sources} & chains.keys()):
        for option, value in set_by.items():
            own = option.removeprefix("--")
            if value and own not in chains[name].overrides:
                why = f"the chain {in_one_line(name)} allows jobs no {own} of their own: leave {option} out"
                raise CommandError(why, Code.USAGE)


def _needs(chain: object) -> dict[str, list[str]]:
    return {step["name"]: step["needs"] for step in chain["steps"]}  # type: ignore[index]


def _estimate_lines(sources: Sequence[Job], whole: Expected, request: Request, total: Decimal | None) -> Iterable[str]:
    chains = ", ".join(sorted({job.job_name for job in sources}))
    yield in_one_line(f"{len(sources)} jobs of {chains}; {whole.calls} calls before.")
    for name, value in request.settings.items():
        yield in_one_line(f"{name}: {value}")
    cost = f"about ${whole.cost_usd:.6f}" if whole.cost_usd is not None else "unknown: prices.json has no price"
    yield f"Expected cost: {cost}, for {whole.input_tokens} tokens in and {whole.output_tokens} out, as before."
    yield "Another model counts tokens differently and may reason more: --max-cost-usd is what holds."
    if total is not None and whole.cost_usd is not None and whole.cost_usd > total:
        yield f"That is more than --max-cost-usd {total}: not all of them would be replayed."


def _tell(comparison: Comparison, target: Target, file: Path | None, *, as_json: bool) -> None:
    if file is not None:
        file.write_text(page(comparison, target.url), encoding="utf-8")
    if as_json:
        print(json_line(json_of(comparison)))
    else:
        print(*terminal_lines(comparison), sep="\n")
    where = sys.stderr if as_json else sys.stdout
    if any(pair.replay_id for pair in comparison.pairs):
        print(f"Dashboard: {in_one_line(target.url)}/queue#/replays/{in_one_line(comparison.replay_id)}", file=where)
    if file is not None:
        print(f"Page: {in_one_line(file)}", file=where)


def _code(pairs: Sequence[Pair]) -> Code:
    """An error where jobs were not replayed, else whether a replay failed."""
    if any(pair.verdict is Verdict.NOT_RUN and not pair.replay_id for pair in pairs):
        return Code.ERROR
    if any(pair.replay and pair.replay.status == "failed" for pair in pairs):
        return Code.FAILED
    return Code.TIMEOUT if any(pair.replay is None for pair in pairs) else Code.DONE
