"""`python -m jobchain_cli redrive|sweep|preflight|key …`: for the stack of `make dev`, or one on AWS with `--stack`."""

import argparse
import os
import sys
from collections.abc import Sequence

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from dotenv import dotenv_values

from jobchain.errors import JobchainError
from jobchain.keys import KeyRepository
from jobchain.model import utc_now
from jobchain_cli import keys
from jobchain_cli.redrive import RedriveError, redrive
from jobchain_cli.stack import NoStackError, Stack


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; gives the exit code: 0 done, 1 failed (argparse: 2)."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options) or 0
    except (keys.OptionError, NoStackError, RedriveError, JobchainError, ClientError, BotoCoreError) as error:
        # What AWS said tells an operator more than what it means to a caller of the API.
        said = error.__cause__ if isinstance(error.__cause__, ClientError | BotoCoreError) else error
        print(f"jobchain: {' '.join(str(said).split())}", file=sys.stderr)
        return 1
    return code


def _parser() -> argparse.ArgumentParser:
    stack = argparse.ArgumentParser(add_help=False)
    stack.add_argument("--stack", metavar="NAME", help="the CloudFormation stack; without it the stack of `make dev`")
    parser = argparse.ArgumentParser(prog="jobchain_cli", description=__doc__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    commands.add_parser("redrive", parents=[stack], help="put dead letters back into the queue").set_defaults(
        run=_redrive
    )
    commands.add_parser("sweep", parents=[stack], help="look after due jobs at once").set_defaults(run=_sweep)
    commands.add_parser(
        "preflight", parents=[stack], help="look whether the model is there, and for how long"
    ).set_defaults(run=_preflight)
    key = commands.add_parser("key", help="make, list and revoke API keys")
    _add_key_commands(key.add_subparsers(metavar="COMMAND", required=True), stack)
    return parser


def _add_key_commands(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", stack: argparse.ArgumentParser
) -> None:
    create = commands.add_parser("create", parents=[stack], help="make a key; it alone goes to standard output")
    create.add_argument("--tenant", required=True, help="who the key is of")
    create.add_argument("--name", help="what to call the key (default: the tenant)")
    create.add_argument("--operator", action="store_true", help="let it see how deep the queues are")
    create.add_argument("--valid-days", metavar="D", help="when it expires (default: never)")
    create.add_argument("--jobs-per-minute", metavar="N", help="(each limit's default: none)")
    create.add_argument("--unfinished-jobs", metavar="N")
    create.add_argument("--tokens-per-day", metavar="N")
    create.add_argument("--cost-usd-per-day", metavar="X")
    create.set_defaults(run=_create_key)
    listing = commands.add_parser("list", parents=[stack], help="list the keys, without the keys themselves")
    listing.add_argument("--tenant", help="only this tenant's")
    listing.set_defaults(run=_list_keys)
    revoke = commands.add_parser("revoke", parents=[stack], help="revoke a key for good")
    revoke.add_argument("key_id", metavar="KEY_ID", help="as `key list` shows it")
    revoke.set_defaults(run=_revoke_key)


def _redrive(options: argparse.Namespace) -> None:
    stack = Stack.find(options.stack)
    moved = redrive(stack.client("sqs"), stack.dead_letter_url, stack.queue_url)
    print(f"{moved} dead letters are back in the queue.")


def _sweep(options: argparse.Namespace) -> None:
    stack = Stack.find(options.stack)
    answer = stack.client("lambda").invoke(FunctionName=stack.sweeper)
    if "FunctionError" in answer:
        raise RedriveError("the sweep failed: see the sweeper's log")
    print(answer["Payload"].read().decode())


def _preflight(options: argparse.Namespace) -> int:
    # It brings the model's SDK along, half a second that the other commands need not wait for.
    from jobchain_cli import preflight  # noqa: PLC0415

    if options.stack:
        target = preflight.target_of_stack(boto3.Session(), options.stack, os.environ)
    else:
        target = preflight.target_of({**dotenv_values(".env"), **os.environ})
    report = preflight.preflight(target, utc_now().date())
    for fact in report.facts:
        print(fact)
    for warning in report.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    for failure in report.failures:
        print(f"error: {failure}", file=sys.stderr)
    return 1 if report.failures else 0


def _create_key(options: argparse.Namespace) -> None:
    new = keys.new_key(
        options.tenant,
        options.name,
        operator=options.operator,
        valid_days=options.valid_days,
        jobs_per_minute=options.jobs_per_minute,
        unfinished_jobs=options.unfinished_jobs,
        tokens_per_day=options.tokens_per_day,
        cost_usd_per_day=options.cost_usd_per_day,
    )
    repository = _keys_of(options.stack)
    secret, api_key = repository.create(
        new.tenant, new.name, new.limits, operator=new.operator, valid_for=new.valid_for
    )
    # First, so that the key can be revoked if nobody takes it from standard output.
    print(*keys.described(api_key), sep="\n", file=sys.stderr, flush=True)
    print(secret)


def _list_keys(options: argparse.Namespace) -> None:
    tenant = None if options.tenant is None else keys.checked_tenant(options.tenant)
    found = _keys_of(options.stack).list(tenant)
    print(*keys.table(found, utc_now()), sep="\n")
    if not found:
        print("There are no keys yet." if tenant is None else f"Tenant {tenant} has no keys.", file=sys.stderr)


def _revoke_key(options: argparse.Namespace) -> None:
    api_key = _keys_of(options.stack).revoke(keys.checked_key_id(options.key_id))
    print(f"Key {api_key.key_id} of tenant {api_key.tenant} is revoked since {api_key.revoked_at}.")
    print("Every function refuses it within a minute.")


def _keys_of(stack_name: str | None) -> KeyRepository:
    stack = Stack.find(stack_name)
    return KeyRepository(stack.client("dynamodb"), stack.table, utc_now)


if __name__ == "__main__":
    sys.exit(main())
