"""The commands of operators: what each takes, and what it calls. All but `smoke` use no API, but AWS credentials."""

from types import ModuleType
from typing import Annotated

import typer

from jobchain_cli.errors import CommandError

PANEL = "For operators"
STACK_HELP = "The CloudFormation stack; else that of `make dev`."

operators = typer.Typer()
keys = typer.Typer(
    no_args_is_help=True, help="Create, list and revoke API keys, with an operator's access to the stack."
)
letters = typer.Typer(no_args_is_help=True, help="List, redrive and drop the dead letters.")
operators.add_typer(keys, name="keys", rich_help_panel=PANEL)
operators.add_typer(letters, name="letters", rich_help_panel=PANEL)

Stack = Annotated[str | None, typer.Option(metavar="NAME", help=STACK_HELP)]
Tenant = Annotated[str | None, typer.Option(metavar="TENANT", help="Only this tenant's.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]


@operators.command(rich_help_panel=PANEL)
def redrive(stack: Stack = None) -> None:
    """Move the dead letters back to the queue."""
    _operate().redrive_letters(stack)


@operators.command(rich_help_panel=PANEL)
def sweep(
    as_json: Annotated[bool, typer.Option("--json", help="As one line of JSON.")] = False, stack: Stack = None
) -> None:
    """Run the sweeper now: it sends the message of each due job again."""
    _operate().sweep(stack, as_json=as_json)


@keys.command("create")
def create_key(
    tenant: Annotated[str, typer.Option(metavar="TENANT", help="Whom the key belongs to.")],
    name: Annotated[str | None, typer.Option(metavar="NAME", help="A name for the key (default: the tenant).")] = None,
    operator: Annotated[
        bool, typer.Option("--operator", help="An operator's key: it sees the depth of the queues.")
    ] = False,
    webhook_urls: Annotated[bool, typer.Option("--webhook-urls", help="Its jobs may name a webhook_url.")] = False,
    valid_days: Annotated[str | None, typer.Option(metavar="D", help="Days until it expires (default: never).")] = None,
    jobs_per_minute: Annotated[str | None, typer.Option(metavar="N", help="A limit (default of each: none).")] = None,
    unfinished_jobs: Annotated[str | None, typer.Option(metavar="N", help="A limit.")] = None,
    tokens_per_day: Annotated[str | None, typer.Option(metavar="N", help="A limit.")] = None,
    cost_usd_per_day: Annotated[str | None, typer.Option(metavar="X", help="A limit.")] = None,
    requests_per_minute: Annotated[str | None, typer.Option(metavar="N", help="A limit.")] = None,
    stack: Stack = None,
) -> None:
    """Create a key. Standard output gets the key alone."""
    wanted = {
        "tenant": tenant,
        "name": name,
        "operator": operator,
        "webhook_urls": webhook_urls,
        "valid_days": valid_days,
        "jobs_per_minute": jobs_per_minute,
        "unfinished_jobs": unfinished_jobs,
        "tokens_per_day": tokens_per_day,
        "cost_usd_per_day": cost_usd_per_day,
        "requests_per_minute": requests_per_minute,
    }
    _operate().create_key(wanted, stack)


@keys.command("list")
def list_keys(tenant: Tenant = None, stack: Stack = None) -> None:
    """List the keys, without the keys themselves."""
    _operate().list_keys(tenant, stack)


@keys.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="As `keys list` shows it.")], stack: Stack = None
) -> None:
    """Revoke a key permanently."""
    _operate().revoke_key(key_id, stack)


@operators.command(rich_help_panel=PANEL)
def smoke(
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=1, max=86_400, help="How long the job may take.")
    ] = 180,
    # Not JOBCHAIN_API_KEY: that may be a key of another stack.
    api_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="A key of the stack; else one is made, and removed afterwards.")
    ] = None,
    url: Annotated[str | None, typer.Option(metavar="URL", help="The API; else the stack's output ApiUrl.")] = None,
    stack: Stack = None,
) -> None:
    """Test a deployment: run a small job, check its result and usage, delete it. It costs a few calls of the model."""
    incidents().smoke(stack, api_key, url, timeout)


@operators.command(rich_help_panel=PANEL)
def pause(stack: Stack = None) -> None:
    """Pause all workers: no new calls of the model. Jobs are still accepted, and wait."""
    incidents().pause(stack)


@operators.command(rich_help_panel=PANEL)
def resume(stack: Stack = None) -> None:
    """Resume the workers that `pause` has paused."""
    incidents().resume(stack)


@operators.command(rich_help_panel=PANEL)
def logs(
    event_id: Annotated[str | None, typer.Argument(metavar="EVENT_ID", help="The job; or the id of a request.")] = None,
    errors: Annotated[bool, typer.Option("--errors", help="The errors of all functions, instead of a job.")] = False,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="SPAN", help="Such as 2h or 3d (default: since the job was created, else 7d; errors: 1h)."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON for each line.")] = False,
    stack: Stack = None,
) -> None:
    """Print log lines of all functions, in the order of their times: those of one job, or errors."""
    if errors == bool(event_id):
        raise typer.BadParameter("name a job by its EVENT_ID, or give --errors")
    if event_id is None:
        incidents().errors(since, stack, as_json=as_json)
    else:
        raise typer.Exit(incidents().logs(event_id, since, stack, as_json=as_json))


@letters.command("list")
def list_letters(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="The most letters.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON for each letter.")] = False,
    stack: Stack = None,
) -> None:
    """List the dead letters, with the status of each job. Reading one counts as a receive."""
    incidents().list_letters(stack, limit, as_json=as_json)


@letters.command("redrive")
def redrive_letters(stack: Stack = None) -> None:
    """Move all dead letters back to the queues that they came from."""
    _operate().redrive_letters(stack)


@letters.command("drop")
def drop_letters(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="EVENT_ID...", help="The jobs, or ids of messages, as listed.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All dead letters.")] = False,
    yes: Yes = False,
    stack: Stack = None,
) -> None:
    """Delete dead letters. Their jobs stay: an unfinished one gets a new message from the sweeper."""
    if every and names:
        raise typer.BadParameter("--all drops every letter: give it, or the letters to drop, and not both")
    if not every and not names:
        raise typer.BadParameter("name the letters to drop as `letters list` shows them, or give --all")
    incidents().drop_letters(stack, names or [], yes=yes)


def incidents() -> ModuleType:
    """The module of the commands for incidents. Raises CommandError where its packages are missing."""
    try:
        from jobchain_cli import incidents as found
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    return found


def _operate() -> ModuleType:
    try:
        from jobchain_cli import operate
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    return operate


def _missing(error: ModuleNotFoundError) -> CommandError:
    return CommandError(f"an operator's commands need the package {error.name}: install jobchain[operator]")
