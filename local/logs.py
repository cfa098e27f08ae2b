"""The functions' logs of a stack that runs."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError

from local.deployer import STACK_NAME
from local.emulator_clients import Clients

# An invocation's lines get their time before they are stored, so that later ones may be stored first.
_OVERLAP = 5_000  # milliseconds
_SPANS = (60_000, 600_000, 6_000_000)  # milliseconds


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line. The emulator gives each invocation a stream of its own."""

    stream: str
    timestamp: int  # milliseconds since 1970
    message: str


class LogFollower:
    """Gives each line of the stack's functions once, oldest first."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._since = 0
        self._given: set[tuple[LogLine, int]] = set()

    def last_lines(self, count: int, now: int) -> list[LogLine]:
        """The last lines before the first call of `new_lines`, at most `count`; `now` in milliseconds since 1970."""
        lines: list[LogLine] = []
        # The emulator gives the oldest 10,000 of a time: the last minute first, then more, and all in the end.
        for span in (*_SPANS, now):
            self._since, self._given = now - span, set()
            if len(lines := self.new_lines()) >= count:
                break
        return lines[-count:]

    def new_lines(self) -> list[LogLine]:
        """The lines since the last call; at the first call, all; none while the stack does not answer."""
        try:
            lines = sorted(self._read(), key=lambda line: line.timestamp)
        except (BotoCoreError, ClientError):
            return []
        counted = list(_numbered(lines))
        new = [line for line, number in counted if (line, number) not in self._given]
        if lines:
            self._since = max(self._since, lines[-1].timestamp - _OVERLAP)
            self._given = {(line, number) for line, number in counted if line.timestamp >= self._since}
        return new

    def _read(self) -> Iterator[LogLine]:
        for group in self._groups():
            found = self._clients.get("logs").filter_log_events(logGroupName=group, startTime=self._since)
            for event in found["events"]:
                yield LogLine(event["logStreamName"], event["timestamp"], event["message"])

    def _groups(self) -> list[str]:
        """The log groups that exist; a function's is made at the latest with its first line."""
        resources = self._clients.get("cloudformation").describe_stack_resources(StackName=STACK_NAME)
        wanted = {
            f"/aws/lambda/{resource['PhysicalResourceId']}"
            for resource in resources["StackResources"]
            if resource["ResourceType"] == "AWS::Lambda::Function"
        }
        groups = self._clients.get("logs").describe_log_groups(logGroupNamePrefix="/aws/lambda/")["logGroups"]
        return sorted(wanted & {group["logGroupName"] for group in groups})


def tracebacks(lines: Iterable[LogLine]) -> list[str]:
    """The tracebacks of errors that left a handler, from invocations whose lines are complete."""
    found: dict[str, list[str]] = {}
    for line in lines:
        if line.message.startswith("Traceback (most recent call last)"):
            found[line.stream] = []
        if line.stream in found and not line.message.startswith(("END RequestId: ", "REPORT RequestId: ")):
            found[line.stream].append(line.message)
    return ["\n".join(messages) for messages in found.values()]


def _numbered(lines: Iterable[LogLine]) -> Iterator[tuple[LogLine, int]]:
    """Equal lines get different numbers."""
    count: Counter[LogLine] = Counter()
    for line in lines:
        count[line] += 1
        yield line, count[line]
