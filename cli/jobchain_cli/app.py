"""The commands: what each takes, and what it calls. What takes long to import comes with the command that needs it."""

import json
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobchain_cli import target
from jobchain_cli.authors import authors
from jobchain_cli.choices import Status, Tier, UsageBy
from jobchain_cli.completion import offered_chains, offered_ids
from jobchain_cli.errors import Code, CommandError
from jobchain_cli.examples import add_examples
from jobchain_cli.listen import listeners
from jobchain_cli.operators import STACK_HELP, incidents, operators
from jobchain_cli.options import AsJson, AsMarkdown, AsText, Model, OwnEffort, Set, form_of
from jobchain_cli.replay import replays
from jobchain_cli.webhooks import webhooks

if TYPE_CHECKING:
    from datetime import date

    from jobchain_cli.choices import Form
    from jobchain_cli.jobs import Entry
    from jobchain_cli.out_folder import OutFolder
    from jobchain_client import Job, Jobchain

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="GPT chains as background jobs: submit texts, watch jobs, read results.",
    epilog="Exit codes: 0 done, 1 error, 2 usage, 3 a job failed, 4 cancelled, 5 timeout, 130 Ctrl-C.",
)
app.add_typer(replays)
app.add_typer(webhooks, name="webhooks")
app.add_typer(listeners)
app.add_typer(authors)
app.add_typer(operators)

Url = Annotated[
    str | None, typer.Option("--url", metavar="URL", help="The API; else the local stack, JOBCHAIN_URL, or the login.")
]
ApiKey = Annotated[str | None, typer.Option("--api-key", metavar="KEY", help="Else JOBCHAIN_API_KEY, or the login's.")]

ID_HELP = "its id, or the first 8 characters of that."
EventId = Annotated[str, typer.Argument(metavar="EVENT_ID", help=f"The job: {ID_HELP}", autocompletion=offered_ids)]
EventIds = Annotated[
    list[str],
    typer.Argument(
        metavar="EVENT_ID...", help="The jobs: ids, or their first 8 characters.", autocompletion=offered_ids
    ),
]
DecidedStep = Annotated[str | None, typer.Option("--step", metavar="NAME", help="Which step; else the one that waits.")]
By = Annotated[str, typer.Option(metavar="NAME", help="Who decides; it is kept with the decision.")]
Comment = Annotated[str, typer.Option(metavar="TEXT", help="Why; it is kept with the decision.")]
Timeout = Annotated[float | None, typer.Option(metavar="SECONDS", min=0, help="Stop watching then; the job continues.")]
Poll = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        min=0.1,
        help="Look this often, to see each step. The default: when a job has probably ended.",
    ),
]
Out = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="Write each result to a file in this folder, when its job ends.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files of --out that exist.")]
FAILED = "For operators: all failed jobs"


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"jobchain {version('jobchain')}")
        except PackageNotFoundError:
            print("jobchain, not installed")
        raise typer.Exit


@app.callback()
def _common(
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Only for the options that all commands share."""


# --- jobs ------------------------------------------------------------------------------------------------------------


@app.command()
def submit(
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE|FOLDER|-|URL...", help="Texts and documents; - is standard input."),
    ] = None,
    chain: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Which chain; `jobchain chains` lists them.", autocompletion=offered_chains),
    ] = None,
    payload: Annotated[str | None, typer.Option(metavar="JSON", help="A chain's payload, instead of texts.")] = None,
    fields: Set = None,
    watch: Annotated[bool, typer.Option("--watch/--no-watch", help="Wait for the results, or only print ids.")] = True,
    as_json: AsJson = False,
    as_markdown: AsMarkdown = False,
    as_text: AsText = False,
    metadata: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Metadata of the job; repeat it for more.")
    ] = None,
    title: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What the job is called; else the name of its file.")
    ] = None,
    model: Model = None,
    effort: OwnEffort = None,
    max_cost: Annotated[float | None, typer.Option(metavar="USD", help="The budget of a job.")] = None,
    tier: Annotated[Tier | None, typer.Option(help="`flex` is cheaper and slower.")] = None,
    flex_seconds: Annotated[
        int | None, typer.Option(metavar="SECONDS", help="How long to try flex before the step continues as standard.")
    ] = None,
    deadline: Annotated[
        int | None, typer.Option(metavar="SECONDS", help="How long a job is tried, 60 to 604800 seconds.")
    ] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="The same key is the same job; several jobs get KEY-1, KEY-2, …")
    ] = None,
    out: Out = None,
    overwrite: Overwrite = False,
    skip: Annotated[
        bool, typer.Option("--skip-unreadable", help="Submit the other inputs if some cannot be read.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask before a folder becomes more than 100 jobs.")
    ] = False,
    timeout: Timeout = None,
    poll: Poll = None,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Submit each text as a job, watch the jobs, and print their results."""
    form = form_of(as_json, as_markdown, as_text)
    notes = _metadata(metadata or [])
    if out is not None and not watch:
        raise typer.BadParameter("--out takes results, which --no-watch does not wait for: give one of them")
    if not sources and not fields and payload is None:
        sources = _standard_input()
    content = _payload(payload, chain, sources or [], fields or [])
    options = {"max_cost_usd": max_cost, "tier": tier and tier.value, "flex_seconds": flex_seconds}
    options |= {"deadline_seconds": deadline, "model": model, "effort": effort and effort.value}
    found = _target(url, api_key)

    from dataclasses import replace

    from jobchain_cli import jobs

    if content is None:
        entries = _entries(sources or [], chain, fields or [], found, skip=skip, yes=yes)
    else:
        entries = [jobs.Entry("payload", content, name="payload")]
    if title is not None:
        entries = [replace(entry, title=title) for entry in entries]
    folder = _out(out, form, [entry.name for entry in entries], overwrite=overwrite)
    common = jobs.Common(chain, notes, options, idempotency_key)
    raise typer.Exit(
        jobs.submit(found, entries, common, form, watch=watch, limit_seconds=timeout, poll=poll, out=folder)
    )


@app.command()
def watch(
    event_ids: EventIds,
    as_json: AsJson = False,
    as_markdown: AsMarkdown = False,
    as_text: AsText = False,
    out: Out = None,
    overwrite: Overwrite = False,
    timeout: Timeout = None,
    poll: Poll = None,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Wait until jobs are final, and print their results."""
    form = form_of(as_json, as_markdown, as_text)
    found = _target(url, api_key)

    from jobchain_cli import jobs
    from jobchain_cli.ids import is_short, whole_ids

    if any(map(is_short, event_ids)):
        with found.client() as client:
            event_ids = whole_ids(client, event_ids)
    folder = _out(out, form, event_ids, overwrite=overwrite)
    raise typer.Exit(jobs.follow(found, event_ids, form, timeout, poll, folder))


@app.command()
def show(
    event_id: EventId,
    as_json: AsJson = False,
    as_markdown: AsMarkdown = False,
    as_text: AsText = False,
    with_input: Annotated[bool, typer.Option("--input", help="Print its payload too.")] = False,
    with_prompts: Annotated[bool, typer.Option("--prompts", help="Print what the model was asked too.")] = False,
    step: Annotated[str | None, typer.Option(metavar="NAME", help="Of the prompts only that of this step.")] = None,
    with_calls: Annotated[bool, typer.Option("--calls", help="Print every call of the model too.")] = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Print a job as it is now: its steps with their failed calls, and the outputs of those that completed."""
    form = form_of(as_json, as_markdown, as_text)
    if step is not None and not with_prompts:
        raise typer.BadParameter("--step goes with --prompts")
    parts = {"attempts": True, "input": with_input, "prompts": with_prompts}
    with _client(url, api_key) as client:
        event_id = _whole(client, event_id)
        job = client.get(event_id, include=[name for name, wanted in parts.items() if wanted], step=step)

    from jobchain_cli import jobs

    jobs.show(job, form, calls=with_calls)


@app.command("events")
def list_events(
    event_id: EventId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")] = False,
    after: Annotated[str | None, typer.Option(metavar="POSITION", help="Continue from `after` of an event.")] = None,
    as_json: AsJson = False,
    poll: Annotated[float | None, typer.Option(metavar="SECONDS", min=0.1, help="Look this often.")] = None,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Print what has happened to a job, the oldest first: its steps, its failed calls, its waits and its end."""
    if poll is not None and not follow:
        raise typer.BadParameter("--poll goes with --follow")

    from jobchain_cli import job_events

    with _client(url, api_key) as client:
        whole = _whole(client, event_id)
        raise typer.Exit(job_events.tell(client, whole, after, poll, follow=follow, as_json=as_json))


@app.command("open")
def open_page(event_id: EventId, url: Url = None, api_key: ApiKey = None) -> None:
    """Open a job's page of the dashboard in the browser, and print its address."""
    found = _target(url, api_key)

    from jobchain_cli import browser
    from jobchain_cli.ids import is_short, whole_ids

    if is_short(event_id):
        with found.client() as client:
            event_id = whole_ids(client, [event_id])[0]
    address = browser.address(found.url, event_id)
    _print(address)
    browser.show(address)


@app.command("list")
def list_jobs(
    status: Annotated[Status | None, typer.Option(help="Only jobs with this status.")] = None,
    chain: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only jobs of this chain.", autocompletion=offered_chains)
    ] = None,
    title: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only jobs with this in their title, in any case.")
    ] = None,
    metadata: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Only jobs with this metadata; repeat it for more.")
    ] = None,
    after: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Only jobs created since then: a date, a time (UTC), or 2d ago.")
    ] = None,
    before: Annotated[str | None, typer.Option(metavar="WHEN", help="Only jobs created before then.")] = None,
    replays: Annotated[bool, typer.Option("--replays", help="List the jobs of replays too.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="The most jobs.")] = 20,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """List jobs, the newest first."""
    from jobchain_cli.spans import moment

    notes = _metadata(metadata or [])
    first = moment("--after", after) if after else None
    last = moment("--before", before) if before else None
    with _client(url, api_key) as client:
        found = list(
            client.list(
                status and status.value,
                chain,
                limit,
                title=title,
                metadata=notes,
                created_after=first,
                created_before=last,
                replays=replays,
            )
        )

    from jobchain_cli.words import json_line, list_lines

    _print(*(json_line(job.raw) for job in found) if as_json else list_lines(found))


@app.command()
def cancel(event_ids: EventIds, as_json: AsJson = False, url: Url = None, api_key: ApiKey = None) -> None:
    """Cancel jobs: at once if no worker has claimed them, else before their next step."""
    with _client(url, api_key) as client:
        _each(
            client,
            event_ids,
            lambda event_id: _moved(client.cancel(event_id), "will be cancelled before its next step", as_json),
        )


@app.command()
def retry(
    event_ids: Annotated[
        list[str] | None, typer.Argument(metavar="EVENT_ID...", help="The jobs.", autocompletion=offered_ids)
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="All jobs that failed since then.", rich_help_panel=FAILED)
    ] = False,
    since: Annotated[
        str | None, typer.Option(metavar="SPAN", help="How long ago, such as 90m, 1h or 2d.", rich_help_panel=FAILED)
    ] = None,
    types: Annotated[
        list[str] | None,
        typer.Option(
            "--type", metavar="TYPE", help="Only this error, such as 'model_*'; repeat it.", rich_help_panel=FAILED
        ),
    ] = None,
    tenant: Annotated[
        str | None, typer.Option(metavar="TENANT", help="Only this tenant's.", rich_help_panel=FAILED)
    ] = None,
    created_since: Annotated[
        str | None,
        typer.Option(
            metavar="SPAN", help="How old the jobs may be (default: 8 days before --since).", rich_help_panel=FAILED
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which.", rich_help_panel=FAILED)] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.", rich_help_panel=FAILED)
    ] = False,
    stack: Annotated[str | None, typer.Option(metavar="NAME", help=STACK_HELP, rich_help_panel=FAILED)] = None,
) -> None:
    """Retry failed or cancelled jobs; their completed steps stay. As an operator: all that failed since --since."""
    if failed:
        if event_ids or url or api_key:
            raise typer.BadParameter(
                "--failed finds the jobs itself, in the table of --stack: give no ids, --url or key"
            )
        if since is None:
            raise typer.BadParameter("--failed needs --since, such as --since 1h: when the first of the jobs failed")
        wanted = {"since": since, "created_since": created_since, "types": types or [], "tenant": tenant}
        raise typer.Exit(incidents().retry_failed(wanted, stack, dry_run=dry_run, yes=yes, as_json=as_json))
    given = {"--since": since, "--type": types, "--tenant": tenant, "--created-since": created_since, "--stack": stack}
    if alone := [option for option, value in {**given, "--dry-run": dry_run, "--yes": yes}.items() if value]:
        raise typer.BadParameter(f"{alone[0]} goes with --failed")
    if not event_ids:
        raise typer.BadParameter("name the jobs to retry, or give --failed --since SPAN")
    with _client(url, api_key) as client:
        _each(
            client,
            event_ids,
            lambda event_id: _moved(
                client.retry(event_id), "is pending, and runs as soon as a worker is free", as_json
            ),
        )


@app.command()
def approve(
    event_id: EventId,
    step: DecidedStep = None,
    edit: Annotated[
        str | None, typer.Option(metavar="FILE|-", help="Approve this in place of what is shown: a text, or JSON.")
    ] = None,
    by: By = "",
    comment: Comment = "",
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Approve the step for which a job waits; the job continues."""
    text = None if edit is None else _text_of(edit)
    _decide(event_id, step, text, by, comment, as_json, _client(url, api_key), rejects=False)


@app.command()
def reject(
    event_id: EventId,
    step: DecidedStep = None,
    by: By = "",
    comment: Comment = "",
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Reject the step for which a job waits; the job fails."""
    _decide(event_id, step, None, by, comment, as_json, _client(url, api_key), rejects=True)


@app.command()
def fork(
    event_id: EventId,
    from_step: Annotated[
        str, typer.Option("--from", metavar="STEP", help="Run this step again, and all that need it; copy the others.")
    ],
    payload: Annotated[str | None, typer.Option(metavar="JSON", help="Another payload.")] = None,
    watch: Annotated[
        bool, typer.Option("--watch/--no-watch", help="Wait for the result, or only print the id.")
    ] = True,
    as_json: AsJson = False,
    as_markdown: AsMarkdown = False,
    as_text: AsText = False,
    title: Annotated[str | None, typer.Option(metavar="TEXT", help="What the fork is called; else as the job.")] = None,
    metadata: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Its metadata, in place of the job's; repeat it.")
    ] = None,
    model: Model = None,
    effort: OwnEffort = None,
    prompt: Annotated[
        str | None, typer.Option(metavar="FILE|-", help="The prompt of STEP, in place of the chain's.")
    ] = None,
    max_cost: Annotated[float | None, typer.Option(metavar="USD", help="Its budget; else as the job.")] = None,
    idempotency_key: Annotated[str | None, typer.Option(metavar="KEY", help="The same key is the same fork.")] = None,
    timeout: Timeout = None,
    poll: Poll = None,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Run a job again from a step, as a new job that begins with copies of the outputs before it."""
    form = form_of(as_json, as_markdown, as_text)
    content = None if payload is None else _json_object(payload)
    options = {"title": title, "metadata": _metadata(metadata) if metadata else None, "max_cost_usd": max_cost}
    options |= {"model": model, "effort": effort and effort.value}
    if prompt is not None:
        options["prompt"] = _text_of(prompt)
    found = _target(url, api_key)

    from jobchain_cli import jobs

    with found.client() as client:
        event_id = _whole(client, event_id)
        made = client.fork(event_id, from_step, content, idempotency_key, **options)
    raise typer.Exit(jobs.follow_made(found, made, form, watch=watch, limit_seconds=timeout, poll=poll))


@app.command()
def delete(
    event_ids: EventIds,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Delete final jobs, with all that they stored."""
    if not yes:
        jobs = "1 job" if len(event_ids) == 1 else f"{len(event_ids)} jobs"
        _confirm(f"Delete {jobs} permanently?", "a deleted job cannot be restored")
    with _client(url, api_key) as client:

        def erase(event_id: str) -> None:
            client.delete(event_id)
            _print(f"{event_id} is deleted.")

        _each(client, event_ids, erase)


# --- the system ------------------------------------------------------------------------------------------------------


@app.command()
def stats(
    as_json: Annotated[bool, typer.Option("--json", help="As one line of JSON.")] = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Print the job counts by status, and today's tokens and cost."""
    with _client(url, api_key) as client:
        numbers = client.stats()

    from jobchain_cli.words import json_line, stats_lines

    _print(*[json_line(numbers.raw)] if as_json else stats_lines(numbers))


@app.command()
def usage(
    first: Annotated[
        str | None, typer.Option("--from", metavar="DAY", help="The first day (UTC); else 29 days before the last.")
    ] = None,
    last: Annotated[str | None, typer.Option("--to", metavar="DAY", help="The last day (UTC); else today.")] = None,
    by: Annotated[UsageBy | None, typer.Option(help="Group each day's usage by this.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON for each day.")] = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Print jobs, tokens and cost day by day, up to 92 days."""
    days = _day("--from", first), _day("--to", last)
    with _client(url, api_key) as client:
        found = list(client.usage(*days, by and by.value))

    from jobchain_cli.usage import usage_lines
    from jobchain_cli.words import json_line

    _print(*(json_line(day.raw) for day in found) if as_json else usage_lines(found))


@app.command()
def chains(
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON for each chain.")] = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """List the chains, their steps, and the fields of their payloads; and those that can't be used, with the reason."""
    with _client(url, api_key) as client:
        found = client.chains()

    from jobchain_cli.words import chain_lines, json_line

    _print(*(json_line(chain.raw) for chain in [*found, *found.unusable]) if as_json else chain_lines(found))


@app.command()
def login(
    url: Annotated[str, typer.Argument(metavar="URL", help="The API, such as https://example.com/v1.")],
    api_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="Without it, the key is prompted for, or read from a pipe.")
    ] = None,
) -> None:
    """Store an API's URL and your key for later commands."""
    if api_key is None:
        if sys.stdin.isatty():
            api_key = typer.prompt("API key (none: Enter)", default="", hide_input=True, show_default=False, err=True)
        else:
            api_key = sys.stdin.readline().strip()
    with target.Target(url, api_key or None, target.trusts_network(os.environ)).client() as client:
        client.stats()
    file = target.config_file()
    try:
        target.write_config(file, url, api_key or None)
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from error
    print(f"Stored in {file}.")


@app.command()
def logout() -> None:
    """Remove the URL and the key that `login` stored."""
    file = target.config_file()
    try:
        file.unlink()
    except FileNotFoundError:
        print("Nothing is stored.")
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from error
    else:
        print(f"Removed {file}. The key stays valid: an operator revokes it with `jobchain keys revoke`.")
    if set_ones := [name for name in ("JOBCHAIN_URL", "JOBCHAIN_API_KEY") if os.environ.get(name)]:
        print(f"jobchain: {' and '.join(set_ones)} of the environment: still used", file=sys.stderr)


# --- what the commands share -----------------------------------------------------------------------------------------


def _target(url: str | None, api_key: str | None) -> target.Target:
    return target.find(url, api_key, os.environ, target.config_file())


def _client(url: str | None, api_key: str | None) -> "AbstractContextManager[Jobchain]":
    return _target(url, api_key).client()


def _day(option: str, text: str | None) -> "date | None":
    from datetime import date

    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{option} {text!r}: use a day (UTC), such as 2026-11-29") from None


def _metadata(pairs: list[str]) -> dict[str, str]:
    notes = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise typer.BadParameter(f"--metadata {pair!r}: give KEY=VALUE, such as source=handbook")
        notes[name] = value
    return notes


def _payload(text: str | None, chain: str | None, sources: list[str], fields: list[str]) -> dict[str, Any] | None:
    """The payload, or None where it is made of texts and `--set`. Raises BadParameter unless there is one of them."""
    if fields and (chain is None or text is not None):
        raise typer.BadParameter("--set goes with --chain, and with texts: write a whole payload with --payload")
    if text is None:
        if not sources and not fields:
            raise typer.BadParameter("name a FILE, a URL, or - for standard input; or give --chain and --payload")
        if sources.count("-") > 1:
            raise typer.BadParameter("standard input can be read once: give - once")
        return None
    if sources or chain is None:
        raise typer.BadParameter("--payload goes with --chain, and takes the place of texts")
    return _json_object(text)


def _text_of(source: str) -> str:
    """The text of a file, of standard input, or of an URL."""
    from jobchain_cli import texts

    try:
        return texts.read(source).content
    except texts.SourceError as error:
        raise CommandError(str(error)) from error


def _json_object(text: str) -> dict[str, Any]:
    """The payload that an option gives."""
    try:
        payload = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"--payload is not JSON: {error}") from error
    if not isinstance(payload, dict):
        raise typer.BadParameter('--payload is no JSON object, such as \'{"guidelines": "..."}\'')
    return payload


def _standard_input() -> list[str]:
    from jobchain_cli.inputs import is_piped

    return ["-"] if is_piped() else []


def _entries(
    sources: list[str], chain: str | None, fields: list[str], at: target.Target, *, skip: bool, yes: bool
) -> "list[Entry]":
    """A job of each text, or one of all where the chain takes just as many."""
    from jobchain_cli.inputs import UNASKED, inputs, is_many, read_all
    from jobchain_cli.jobs import Entry
    from jobchain_cli.payloads import PayloadError, payloads, values
    from jobchain_cli.words import in_one_line

    found = inputs(sources)
    if len(found) > UNASKED and is_many(sources) and not yes:
        _confirm(f"Submit {len(found)} jobs?", f"{len(found)} jobs, which are paid for, are more than {UNASKED}")
    texts = read_all(found, skip=skip)
    if chain is None:
        return [Entry(text.source, text.content, text.title, each.name) for each, text in texts]
    with at.client() as client:
        known = {each.name: each.payload_schema for each in client.chains()}
    if chain not in known:
        raise typer.BadParameter(f"--chain {chain!r}: there are {in_one_line(', '.join(sorted(known)))}")
    schema = known[chain]
    try:
        given = values(fields, schema, chain)
        made = list(payloads([text for _, text in texts], given, schema, chain))
    except PayloadError as error:
        raise typer.BadParameter(str(error)) from error
    # One of several texts is called by the first of them.
    names = [each.name for each, _ in texts] or ["payload"]
    return [Entry(*entry, name=name) for entry, name in zip(made, names, strict=False)]


def _out(folder: Path | None, form: "Form", names: list[str], *, overwrite: bool) -> "OutFolder | None":
    if folder is None:
        if overwrite:
            raise typer.BadParameter("--overwrite goes with --out")
        return None
    from jobchain_cli.out_folder import OutFolder

    return OutFolder(folder, form, names, overwrite=overwrite)


def _decide(
    event_id: str,
    named: str | None,
    edit: str | None,
    by: str,
    comment: str,
    as_json: bool,
    opened: "AbstractContextManager[Jobchain]",
    *,
    rejects: bool,
) -> None:
    from jobchain_cli.decisions import edit_of, waiting_step

    with opened as client:
        event_id = _whole(client, event_id)
        step, approval = waiting_step(client.get(event_id), named)
        if rejects:
            job = client.decide(event_id, step, "reject", by=by, comment=comment)
        elif edit is None:
            job = client.decide(event_id, step, "approve", by=by, comment=comment)
        else:
            value = edit_of(edit, approval.shown if approval else "")
            job = client.decide(event_id, step, "edit", value, by=by, comment=comment)
    _moved(job, f"continues: its step {step} is approved", as_json)


def _confirm(question: str, why: str) -> None:
    if not sys.stdin.isatty():
        raise typer.BadParameter(f"{why}: without a terminal to confirm on, give --yes")
    typer.confirm(question, abort=True, err=True)


def _whole(client: "Jobchain", event_id: str) -> str:
    from jobchain_cli.ids import whole_ids

    return whole_ids(client, [event_id])[0]


def _each(client: "Jobchain", event_ids: list[str], do: Callable[[str], None]) -> None:
    """Does it to each of the jobs; one that is refused does not stop the rest. Exits with 1 if any was."""
    from jobchain_cli.ids import whole_ids
    from jobchain_cli.words import in_one_line, problem_line
    from jobchain_client import JobchainError

    event_ids = whole_ids(client, event_ids)
    code = Code.DONE
    for event_id in event_ids:
        try:
            do(event_id)
        except JobchainError as error:
            print(f"jobchain: {in_one_line(event_id)}: {problem_line(error)}", file=sys.stderr)
            code = Code.ERROR
    raise typer.Exit(code)


def _moved(job: "Job", meanwhile: str, as_json: bool) -> None:
    from jobchain_cli.words import json_line

    _print(json_line(job.raw) if as_json else f"{job.event_id} {'is ' + job.status if job.final else meanwhile}.")


def _print(*lines: str) -> None:
    from jobchain_cli.words import printable

    for line in lines:
        print(printable(line))


add_examples(app)
