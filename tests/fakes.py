"""Stand-ins: a clock that tests move, the Lambda context, and others. The model's is `tests.fake_model`."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import EndpointConnectionError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class FakeClock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, by: timedelta) -> None:
        self.now += by


class FakeContext:
    """The Lambda context, with time left to spare unless a test says otherwise."""

    function_name = "function"
    function_version = "7"
    memory_limit_in_mb = 1024
    invoked_function_arn = "arn:aws:lambda:us-east-1:000000000000:function:function"

    def __init__(self, remaining: timedelta = timedelta(minutes=5)) -> None:
        self._remaining = remaining
        self.aws_request_id = f"request-{next(_request_numbers)}"

    def get_remaining_time_in_millis(self) -> int:
        return int(self._remaining.total_seconds() * 1000)


def silence(client: Any) -> None:
    """Makes a client of AWS reach nothing from now on, without the pauses between its tries."""

    def unreachable(**_: object) -> None:
        raise EndpointConnectionError(endpoint_url=client.meta.endpoint_url)

    client.meta.events.register("before-call", unreachable)


_request_numbers = itertools.count(1)


class Requests:
    """Counts a client's requests by operation."""

    def __init__(self, client: "DynamoDBClient") -> None:
        self.made: list[str] = []
        client.meta.events.register("before-call.dynamodb", lambda model, **_: self.made.append(model.name))

    def new(self) -> list[str]:
        """Those since the last look."""
        made, self.made = self.made, []
        return made
