"""Pausing the workers on AWS, where an event source takes a while to change."""

from collections.abc import Callable, Iterator
from typing import Any, cast

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from jobchain_cli.errors import Code, CommandError
from jobchain_cli.pausing import paused, sources, switch
from jobchain_cli.stack import Stack

UUID = "604d28c7-5ce9-4377-b9dd-2ea9c3813876"


class OneWorker:
    """A stack with one worker, for what asks for its event sources."""

    name = "prod"

    def __init__(self, client: Any, kinds: dict[str, str] | None = None) -> None:
        self._client = client
        self._found = {"WorkerFunctionJobs": UUID} if kinds is None else kinds

    def client(self, service: str) -> Any:
        assert service == "lambda"
        return self._client

    def resources(self, kind: str) -> dict[str, str]:
        assert kind == "AWS::Lambda::EventSourceMapping"
        return self._found


@pytest.fixture
def client() -> Any:
    return boto3.client("lambda")


@pytest.fixture
def stub(client: Any) -> Iterator[Stubber]:
    with Stubber(client) as stub:
        yield stub
        stub.assert_no_pending_responses()


@pytest.fixture
def stack(client: Any) -> Stack:
    return cast(Stack, OneWorker(client))


def is_now(stub: Stubber, state: str) -> None:
    stub.add_response("get_event_source_mapping", {"UUID": UUID, "State": state}, {"UUID": UUID})


def is_told(stub: Stubber, enabled: bool) -> None:
    answer = {"UUID": UUID, "State": "Disabling"}
    stub.add_response("update_event_source_mapping", answer, {"UUID": UUID, "Enabled": enabled})


def switched(
    stack: Stack, *, enabled: bool, sleep: Callable[[float], None] | None = None, limit: float = 60
) -> list[str]:
    return list(switch(stack, enabled=enabled, limit=limit, sleep=sleep or (lambda _: None)))


def test_it_waits_until_the_workers_are_paused(stack: Stack, stub: Stubber) -> None:
    is_now(stub, "Enabled")
    is_told(stub, enabled=False)
    for state in ("Disabling", "Disabling", "Disabled"):
        is_now(stub, state)

    assert switched(stack, enabled=False) == ["WorkerFunction was enabled, and is disabled."]


def test_one_that_is_paused_is_not_told_again(stack: Stack, stub: Stubber) -> None:
    is_now(stub, "Disabled")

    assert switched(stack, enabled=False) == ["WorkerFunction is disabled already."]


def test_one_that_is_still_changing_is_told_once_it_has_changed(stack: Stack, stub: Stubber) -> None:
    is_now(stub, "Disabling")
    stub.add_client_error("update_event_source_mapping", "ResourceInUseException", "it is being updated", 409)
    is_told(stub, enabled=True)
    is_now(stub, "Enabled")

    assert switched(stack, enabled=True) == ["WorkerFunction was disabling, and is enabled."]


def test_a_change_that_does_not_hold_in_time_is_told(stack: Stack, stub: Stubber) -> None:
    is_now(stub, "Enabled")
    is_told(stub, enabled=False)
    is_now(stub, "Disabling")

    with pytest.raises(
        CommandError, match=r"WorkerFunction is still disabling after 0 s: run the command again"
    ) as late:
        switched(stack, enabled=False, limit=0)

    assert late.value.code is Code.TIMEOUT


def test_a_refusal_is_told(stack: Stack, stub: Stubber) -> None:
    is_now(stub, "Enabled")
    stub.add_client_error("update_event_source_mapping", "AccessDeniedException", "not allowed", 403)

    with pytest.raises(ClientError, match="AccessDenied"):
        switched(stack, enabled=False)


@pytest.mark.parametrize(("state", "names"), [("Enabled", []), ("Disabled", ["WorkerFunction"])])
def test_the_paused_workers_are_named(stack: Stack, stub: Stubber, state: str, names: list[str]) -> None:
    is_now(stub, state)

    assert paused(sources(stack)) == names


def test_a_stack_without_workers_is_told(client: Any) -> None:
    other = cast(Stack, OneWorker(client, {"OtherFunctionStream": UUID}))

    with pytest.raises(
        CommandError, match=r"the stack prod has no workers: name one that has template.yaml with --stack"
    ):
        sources(other)
