"""`jobchain listen`: forwards the ends of jobs to a server on this machine, signed as webhooks are."""

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from jobchain_cli import target
from jobchain_cli.choices import EndEvent
from jobchain_cli.completion import offered_chains
from jobchain_cli.errors import Code, CommandError
from jobchain_cli.slow import told_when_slow

if TYPE_CHECKING:
    from jobchain_cli.listening import Forwarded, Listener
    from jobchain_client import Job

listeners = typer.Typer()

SECRET = "JOBCHAIN_WEBHOOK_SECRET"  # noqa: S105  # the name of the variable
"""The variable of the environment that has the secret to sign with."""


@listeners.command()
def listen(
    forward: Annotated[
        str, typer.Option("--forward", metavar="ADDRESS", help="Where to, such as http://localhost:3000/hook.")
    ],
    events: Annotated[
        list[EndEvent] | None, typer.Option("--event", help="Only this event; repeat it for more.")
    ] = None,
    chains: Annotated[
        list[str] | None,
        typer.Option(
            "--chain", metavar="NAME", help="Only this chain's jobs; repeat it for more.", autocompletion=offered_chains
        ),
    ] = None,
    retries: Annotated[
        int, typer.Option(min=0, max=100, metavar="N", help="How often to try again what was not accepted.")
    ] = 0,
    poll: Annotated[float, typer.Option(min=0.2, metavar="SECONDS", help="How often to ask the API.")] = 2.0,
    since: Annotated[
        str, typer.Option(metavar="SPAN", help="How old jobs may be that are retried while it listens.")
    ] = "1h",
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON for each request.")] = False,
    url: Annotated[str | None, typer.Option("--url", metavar="URL", help="The API; as of other commands.")] = None,
    api_key: Annotated[str | None, typer.Option("--api-key", metavar="KEY", help="As of other commands.")] = None,
) -> None:
    """Forward the ends of your jobs to a server on this machine as signed webhooks, until Ctrl-C."""
    from jobchain_cli.spans import span

    address, secret, history = _address(forward), _secret(), span("--since", since)
    found = target.find(url, api_key, os.environ, target.config_file())
    with found.client(told=False) as client:
        from jobchain.connection import shown
        from jobchain_cli.following import Follower
        from jobchain_cli.forwarding import Forwarder
        from jobchain_cli.listening import Listener

        follower = Follower(client, history)
        with told_when_slow(f"the API at {shown(found.url)}"):
            follower.look()
        forwarder = Forwarder(address, secret)
        wanted = {event.removeprefix("job.") for event in events or ()}

        def is_wanted(job: "Job") -> bool:
            return (not wanted or job.status in wanted) and (not chains or job.job_name in chains)

        listener = Listener(follower, forwarder, is_wanted, retries, poll)
        _tell_start(found.url, address, secret)
        try:
            code = _listen(listener, as_json=as_json)
        finally:
            forwarder.close()
    raise typer.Exit(code)


def _listen(listener: "Listener", *, as_json: bool) -> Code:
    """Prints what the listener does, until Ctrl-C."""
    from jobchain_cli.listening import Looked
    from jobchain_cli.words import json_line, printable, problem_line

    requests = refused = 0
    was_silent = False
    try:
        for done in listener.run():
            if isinstance(done, Looked):
                if done.error and not was_silent:
                    print(f"jobchain: {problem_line(done.error)}; asking again", file=sys.stderr, flush=True)
                was_silent = done.error is not None
                continue
            requests += 1
            refused += not done.tried.is_delivered
            print(json_line(_fields(done)) if as_json else printable(_line(done)), flush=True)
    except KeyboardInterrupt:
        left = f", {listener.left} not forwarded" if listener.left else ""
        print(f"\nStopped: {requests} requests, {refused} not accepted{left}.", file=sys.stderr)
    return Code.INTERRUPTED


def _tell_start(api: str, address: str, secret: str) -> None:
    from jobchain.connection import shown

    said = [f"Forwarding the ends of jobs from {shown(api)} to {shown(address)}. Ctrl-C stops it."]
    if os.environ.get(SECRET):
        said.append(f"Signed with the secret in {SECRET}.")
    else:
        said.append(f"The secret of this run (set {SECRET} to keep one): {secret}")
    print(*said, sep="\n", file=sys.stderr, flush=True)


def _line(done: "Forwarded") -> str:
    from datetime import datetime

    from jobchain_cli.words import in_one_line

    event, tried = done.event, done.tried
    said = str(tried.status) if tried.status is not None else in_one_line(tried.why)
    again = "" if done.again is None else f", trying again in {done.again:g} s"
    title = f" {in_one_line(event.title)}" if event.title else ""
    took = f" in {tried.seconds * 1000:.0f} ms" if tried.status is not None else ""
    what = f"{event.type:<13}  {in_one_line(event.event_id)}{title}"
    return f"{datetime.now().astimezone():%H:%M:%S}  {what} -> {said}{took}{again}"


def _fields(done: "Forwarded") -> dict[str, object]:
    event, tried = done.event, done.tried
    return {
        "webhook_id": event.webhook_id,
        "type": event.type,
        "event_id": event.event_id,
        "status": tried.status,
        "error": tried.why or None,
        "seconds": round(tried.seconds, 3),
        "again_in_seconds": done.again,
    }


def _address(text: str) -> str:
    """The address to forward to. Raises CommandError."""
    from jobchain.connection import UnusableSetting, checked_url

    base, mark, query = text.strip().partition("?")
    try:
        return f"{checked_url('--forward', base, 'http://localhost:3000/hook')}{mark}{query}"
    except UnusableSetting as error:
        raise CommandError(str(error), Code.USAGE) from error


def _secret() -> str:
    """The secret to sign with: that of the environment, or a new one. Raises CommandError, which does not show it."""
    from jobchain.webhooks.signatures import UnusableSecret, new_secret, secret_bytes

    secret = os.environ.get(SECRET)
    if not secret:
        return new_secret()
    try:
        secret_bytes(secret)
    except UnusableSecret as error:
        raise CommandError(f"{SECRET} can't be used: {error}", Code.USAGE) from error
    return secret
