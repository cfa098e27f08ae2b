"""`jobchain webhooks`: what each command takes, and what it calls."""

import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated

import typer

from jobchain_cli import target
from jobchain_cli.choices import DeliveryState
from jobchain_cli.completion import offered_chains
from jobchain_cli.errors import Code

if TYPE_CHECKING:
    from jobchain_client import Jobchain

webhooks = typer.Typer(
    no_args_is_help=True, help="Endpoints that are told when jobs end, and what was delivered to them."
)

EndpointId = Annotated[str, typer.Argument(metavar="ENDPOINT_ID", help="As `webhooks list` shows it.")]
WebhookId = Annotated[str, typer.Argument(metavar="WEBHOOK_ID", help="As `webhooks deliveries` shows it.")]
AsJson = Annotated[bool, typer.Option("--json", help="As one line of JSON.")]
EachAsJson = Annotated[bool, typer.Option("--json", help="One line of JSON for each.")]
Url = Annotated[str | None, typer.Option("--url", metavar="URL", help="The API; as of other commands.")]
ApiKey = Annotated[str | None, typer.Option("--api-key", metavar="KEY", help="As of other commands.")]


@webhooks.command("list")
def list_endpoints(as_json: EachAsJson = False, url: Url = None, api_key: ApiKey = None) -> None:
    """List your endpoints, the oldest first."""
    with _client(url, api_key) as client:
        found = client.webhooks.list()

    from jobchain_cli.webhook_words import endpoint_lines
    from jobchain_cli.words import json_line

    _print(*(json_line(endpoint.raw) for endpoint in found) if as_json else endpoint_lines(found))
    if not found:
        print("There are no endpoints yet: make one with `jobchain webhooks create URL`.", file=sys.stderr)


@webhooks.command()
def create(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="Where events go: an https URL.")],
    events: Annotated[
        list[str] | None,
        typer.Option("--event", metavar="TYPE", help="Only this event, such as job.failed; repeat it for more."),
    ] = None,
    chains: Annotated[
        list[str] | None,
        typer.Option(
            "--chain",
            metavar="NAME",
            help="Only events of this chain's jobs; repeat it for more.",
            autocompletion=offered_chains,
        ),
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Create an endpoint. Standard output gets its secret alone, which is shown this once."""
    with _client(url, api_key) as client:
        made = client.webhooks.create(address, events or (), chains or ())

    from jobchain_cli.webhook_words import created_lines
    from jobchain_cli.words import json_line, printable

    if as_json:
        _print(json_line({**made.raw, "secret": made.secret}))
        return
    # First, so that the endpoint can be deleted if nothing reads standard output.
    for line in created_lines(made):
        print(printable(line), file=sys.stderr, flush=True)
    _print(made.secret)


@webhooks.command("test")
def send_test(
    endpoint_id: EndpointId,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="How long to wait for what becomes of it; 0: not at all.")
    ] = 20,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Send an event `webhook.test` to an endpoint, and say what its receiver answered. Exit code 1 if it failed."""
    found = target.find(url, api_key, os.environ, target.config_file())
    with found.client() as client:
        sent = client.webhooks.test(endpoint_id)

    from jobchain_cli.webhook_tries import tried
    from jobchain_cli.webhook_words import outcome_line
    from jobchain_cli.words import json_line

    with found.client(told=False) as client:
        delivery = tried(client, sent, timeout)
    _print(json_line(delivery.raw) if as_json else outcome_line(delivery))
    if timeout and not delivery.tries:
        raise typer.Exit(Code.TIMEOUT)
    raise typer.Exit(Code.DONE if delivery.state == "delivered" or not delivery.tries else Code.ERROR)


@webhooks.command()
def rotate(endpoint_id: EndpointId, as_json: AsJson = False, url: Url = None, api_key: ApiKey = None) -> None:
    """Replace the secret of an endpoint. Standard output gets the new one alone, which is shown this once."""
    with _client(url, api_key) as client:
        secret = client.webhooks.rotate(endpoint_id)

    from jobchain_cli.words import in_one_line, json_line

    if as_json:
        _print(json_line({"endpoint_id": endpoint_id, "secret": secret}))
        return
    print(f"{in_one_line(endpoint_id)} has a new secret. The one before it is valid for 24 hours.", file=sys.stderr)
    print("The secret is shown this once and never again: store it safely.", file=sys.stderr, flush=True)
    _print(secret)


@webhooks.command()
def enable(endpoint_id: EndpointId, as_json: AsJson = False, url: Url = None, api_key: ApiKey = None) -> None:
    """Let a disabled endpoint get events again."""
    with _client(url, api_key) as client:
        found = client.webhooks.enable(endpoint_id)

    from jobchain_cli.words import json_line

    _print(json_line(found.raw) if as_json else f"{found.endpoint_id} is enabled.")


@webhooks.command()
def delete(
    endpoint_id: EndpointId,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Delete an endpoint and its secret. What waits for it is given up."""
    if not yes:
        if not sys.stdin.isatty():
            raise typer.BadParameter(
                "a deleted endpoint cannot be restored: without a terminal to confirm on, give --yes"
            )
        typer.confirm("Delete the endpoint permanently?", abort=True, err=True)
    with _client(url, api_key) as client:
        client.webhooks.delete(endpoint_id)
    _print(f"{endpoint_id} is deleted.")


@webhooks.command()
def deliveries(
    endpoint: Annotated[str | None, typer.Option(metavar="ENDPOINT_ID", help="Only those to this endpoint.")] = None,
    state: Annotated[DeliveryState | None, typer.Option(help="Only those in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The most deliveries.")] = 20,
    as_json: EachAsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """List deliveries, the newest first, with what their receivers answered last."""
    with _client(url, api_key) as client:
        found = list(client.webhooks.deliveries(endpoint, state and state.value, limit))

    from jobchain_cli.webhook_words import delivery_table
    from jobchain_cli.words import json_line

    _print(*(json_line(delivery.raw) for delivery in found) if as_json else delivery_table(found))


@webhooks.command()
def delivery(webhook_id: WebhookId, as_json: AsJson = False, url: Url = None, api_key: ApiKey = None) -> None:
    """Print a delivery: its tries, the last answer, and the body that is sent."""
    with _client(url, api_key) as client:
        found = client.webhooks.delivery(webhook_id)

    from jobchain_cli.webhook_words import delivery_lines
    from jobchain_cli.words import json_line

    _print(*[json_line(found.raw)] if as_json else delivery_lines(found))


@webhooks.command()
def redeliver(
    webhook_ids: Annotated[
        list[str], typer.Argument(metavar="WEBHOOK_ID...", help="The deliveries, as `webhooks deliveries` shows them.")
    ],
    as_json: EachAsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Send events again, with the same `webhook-id`; those that wait for a try are tried at once."""
    from jobchain_cli.words import json_line

    with _client(url, api_key) as client:

        def again(webhook_id: str) -> None:
            sent = client.webhooks.redeliver(webhook_id)
            _print(json_line(sent.raw) if as_json else f"{sent.webhook_id} is sent again to {sent.endpoint_id}.")

        _each(webhook_ids, again)


def _each(webhook_ids: list[str], do: Callable[[str], None]) -> None:
    """Does it to each; one that is refused does not stop the rest. Exits with 1 if any was."""
    from jobchain_cli.words import in_one_line, problem_line
    from jobchain_client import JobchainError

    code = Code.DONE
    for webhook_id in webhook_ids:
        try:
            do(webhook_id)
        except JobchainError as error:
            print(f"jobchain: {in_one_line(webhook_id)}: {problem_line(error)}", file=sys.stderr)
            code = Code.ERROR
    raise typer.Exit(code)


def _client(url: str | None, api_key: str | None) -> "AbstractContextManager[Jobchain]":
    return target.find(url, api_key, os.environ, target.config_file()).client()


def _print(*lines: str) -> None:
    from jobchain_cli.words import printable

    for line in lines:
        print(printable(line))
