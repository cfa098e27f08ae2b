"""What an operator does with a stack, through its table and its queues: keys, dead letters, sweeps."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from jobchain.aws.api_keys import ApiKeyStore
from jobchain.connection import shown
from jobchain.domain import utc_now
from jobchain.errors import JobchainError
from jobchain_cli import keys
from jobchain_cli.errors import Code, CommandError
from jobchain_cli.local_stack import NoStackError
from jobchain_cli.redrive import RedriveError, redrive
from jobchain_cli.slow import told_when_slow
from jobchain_cli.stack import Stack, check_aws


@contextmanager
def told() -> Iterator[None]:
    """Turns what can go wrong into a CommandError."""
    try:
        yield
    except (keys.OptionError, NoStackError, RedriveError, JobchainError, ClientError, BotoCoreError) as error:
        # What AWS said tells an operator more than what it means to a caller of the API.
        said = error.__cause__ if isinstance(error.__cause__, ClientError | BotoCoreError) else error
        raise CommandError(" ".join(str(said).split())) from error


def put_back(stack_name: str | None) -> None:
    """Put the dead letters back into the queue."""
    with told():
        stack = Stack.find(stack_name)
        moved = redrive(stack.client("sqs"), stack.dead_letter_url, stack.queue_url)
    print(f"{moved} dead letters are back in the queue.")


def sweep(stack_name: str | None) -> None:
    """Run the sweeper now."""
    with told():
        stack = Stack.find(stack_name)
        answer = stack.client("lambda").invoke(FunctionName=stack.sweeper)
        if "FunctionError" in answer:
            raise RedriveError("the sweep failed: see the sweeper's log")
        print(answer["Payload"].read().decode())


def preflight(stack_name: str | None) -> Code:
    """Print whether the model of a stack, else that of `.env`, is there, and for how long."""
    try:
        # It brings the model's SDK along, half a second that the other commands need not wait for.
        from jobchain_cli import preflight as model
        from jobchain_cli.env_file import read_env_file
    except ModuleNotFoundError as error:
        raise CommandError("this asks with the worker's own code: run `make preflight` in the project") from error
    with told():
        if stack_name:
            check_aws()
            target = model.target_of_stack(boto3.Session(), stack_name, os.environ)
        else:
            target = model.target_of({**read_env_file(Path(".env")), **os.environ})
        model.check(target, os.environ)
        with told_when_slow(f"the model's server at {shown(target.base_url)}"):
            report = model.preflight(target, utc_now().date())
    for fact in report.facts:
        print(fact)
    for warning in report.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    for failure in report.failures:
        print(f"error: {failure}", file=sys.stderr)
    return Code.ERROR if report.failures else Code.DONE


def create_key(new: dict[str, str | bool | None], stack_name: str | None) -> None:
    """Make a key of options as they were typed. It alone goes to standard output."""
    with told():
        wanted = keys.new_key(**new)  # type: ignore[arg-type]  # the command's options are its parameters
        secret, api_key = _keys_of(stack_name).create(
            wanted.tenant, wanted.name, wanted.limits, operator=wanted.operator, valid_for=wanted.valid_for
        )
    # First, so that the key can be revoked if nobody takes it from standard output.
    print(*keys.described(api_key), sep="\n", file=sys.stderr, flush=True)
    print(secret)


def list_keys(tenant: str | None, stack_name: str | None) -> None:
    """Print a table of the keys, without the keys themselves."""
    with told():
        tenant = None if tenant is None else keys.checked_tenant(tenant)
        found = _keys_of(stack_name).list(tenant)
    print(*keys.table(found, utc_now()), sep="\n")
    if not found:
        print("There are no keys yet." if tenant is None else f"Tenant {tenant} has no keys.", file=sys.stderr)


def revoke_key(key_id: str, stack_name: str | None) -> None:
    """Revoke a key for good."""
    with told():
        api_key = _keys_of(stack_name).revoke(keys.checked_key_id(key_id))
    print(f"Key {api_key.key_id} of tenant {api_key.tenant} is revoked since {api_key.revoked_at}.")
    print("Every function refuses it within a minute.")


def _keys_of(stack_name: str | None) -> ApiKeyStore:
    stack = Stack.find(stack_name)
    return ApiKeyStore(stack.client("dynamodb"), stack.table, utc_now)
