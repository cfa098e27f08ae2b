"""Operator commands, through a stack's table and queues: keys, redrive, sweep."""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    SSOError,
    TokenRetrievalError,
)
from botocore.exceptions import ConnectionError as NotConnected

from jobchain.aws.api_keys import ApiKeyStore
from jobchain.domain import utc_now
from jobchain.errors import JobchainError
from jobchain_cli import keys
from jobchain_cli.errors import Code, CommandError
from jobchain_cli.local_stack import NoStackError
from jobchain_cli.redrive import RedriveError, redrive
from jobchain_cli.stack import Stack
from jobchain_cli.words import json_line

_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"})
_SIGNED_OUT = (NoCredentialsError, PartialCredentialsError, SSOError, TokenRetrievalError)
_SIGN_IN = "`aws sso login`, or `aws configure`, or set AWS_PROFILE"


class SweepError(Exception):
    """The sweeper did not run to its end; says where to look."""


@contextmanager
def told() -> Iterator[None]:
    """Turns what can go wrong into a CommandError."""
    try:
        yield
    except keys.OptionError as error:
        raise CommandError(str(error), Code.USAGE) from error
    except (
        NoStackError,
        RedriveError,
        SweepError,
        JobchainError,
        ClientError,
        BotoCoreError,
    ) as error:
        # What AWS said tells an operator more than what it means to a caller of the API.
        said = error.__cause__ if isinstance(error.__cause__, ClientError | BotoCoreError) else error
        raise CommandError(" ".join(f"{said}{_advice(said)}".split())) from error


def _advice(error: BaseException) -> str:
    if isinstance(error, _SIGNED_OUT):
        return f". Sign in to AWS: {_SIGN_IN}"
    if isinstance(error, NotConnected | HTTPClientError):
        return ". Check the network, a proxy (HTTPS_PROXY), and the region (AWS_DEFAULT_REGION)"
    if not isinstance(error, ClientError):
        return ""
    code = error.response["Error"]["Code"]
    if code in _DENIED:
        return ". docs/reference/operations.md#permissions-of-operators lists what each command needs"
    if code in _EXPIRED:
        return f". Sign in again: {_SIGN_IN}"
    return ""


def redrive_letters(stack_name: str | None) -> None:
    """Move the dead letters back to the queue."""
    with told():
        stack = Stack.find(stack_name)
        moved = redrive(stack.client("sqs"), stack.dead_letter_url, stack.queue_url)
    print(f"{'1 dead letter was' if moved == 1 else f'{moved} dead letters were'} moved back to the queue.")


def sweep(stack_name: str | None, *, as_json: bool) -> None:
    """Run the sweeper now, and print what it did: in words, or as one line of JSON."""
    with told():
        stack = Stack.find(stack_name)
        answer = stack.client("lambda").invoke(FunctionName=stack.sweeper)
        if "FunctionError" in answer:
            named = f" --stack {stack_name}" if stack_name else ""
            raise SweepError(f"the sweep failed: `jobchain logs --errors --since 15m{named}` shows why")
        done = json.loads(answer["Payload"].read())
    print(json_line(done) if as_json else _swept(done))


def _swept(done: Mapping[str, Any]) -> str:
    more = " More jobs are due: run it again." if done["unfinished"] else ""
    sent = "1 due job was" if done["sent"] == 1 else f"{done['sent']} due jobs were"
    return f"{sent} sent again, {done['failed']} failed as worker_lost.{more}"


def create_key(new: dict[str, str | bool | None], stack_name: str | None) -> None:
    """Create a key of options as they were typed. Standard output gets the key alone."""
    with told():
        wanted = keys.new_key(**new)  # type: ignore[arg-type]  # the command's options are its parameters
        secret, api_key = _keys_of(stack_name).create(
            wanted.tenant,
            wanted.name,
            wanted.limits,
            operator=wanted.operator,
            webhook_urls=wanted.webhook_urls,
            valid_for=wanted.valid_for,
        )
    # First, so that the key can be revoked if nothing reads standard output.
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
    """Revoke a key permanently."""
    with told():
        api_key = _keys_of(stack_name).revoke(keys.checked_key_id(key_id))
    print(f"Key {api_key.key_id} of tenant {api_key.tenant} was revoked at {api_key.revoked_at}.")
    print("Every function rejects it within a minute.")


def _keys_of(stack_name: str | None) -> ApiKeyStore:
    stack = Stack.find(stack_name)
    return ApiKeyStore(stack.client("dynamodb"), stack.table, utc_now)
