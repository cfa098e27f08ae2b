"""`python -m local.rollback STACK [--to REVISION]`: every function of a stack goes back to the version before.

The alias `live` of each function, to which all events go, is moved; nothing is built or deployed. The api goes first,
as the newer workers can run what an older api accepts.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from jobchain.errors import SettingsError
from jobchain_cli.stack import NO_REGION, check_aws
from local.errors import LocalError

ALIAS = "live"
_FIRST = ("Api", "Web")
_DEPLOYED = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")


class RollbackError(LocalError):
    """The stack can't go back; says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Live:
    """A function, the version that its alias leads to, and the resource that is the alias."""

    alias: str
    function: str
    version: int


@dataclass(frozen=True, slots=True)
class Move:
    """A function whose alias is moved to the version `to`."""

    live: Live
    to: int


def deployed_versions(events: Iterable[Mapping[str, Any]]) -> Mapping[str, set[int]]:
    """The versions that were deployed successfully, by function. `events` are the stack's, the newest first.

    SAM keeps those of a deployment that failed, too: they never worked.
    """
    found: dict[str, set[int]] = {}
    good = False
    for event in events:
        status = event["ResourceStatus"]
        if event["PhysicalResourceId"] == event["StackId"]:
            # One of the stack itself ends the events of its resources, and tells what became of them.
            good = status in _DEPLOYED
        elif good and event["ResourceType"] == "AWS::Lambda::Version" and status in _DEPLOYED:
            function, _, version = event["PhysicalResourceId"].rpartition(":")
            if version.isdigit():
                found.setdefault(function.rpartition(":")[2], set()).add(int(version))
    return found


def moves_back(live: Sequence[Live], deployed: Mapping[str, set[int]]) -> list[Move]:
    """Each function's move to the last version that was deployed before the one that is live, if there is one."""
    older = ((one, [version for version in deployed.get(one.function, ()) if version < one.version]) for one in live)
    return _in_order(Move(one, max(versions)) for one, versions in older if versions)


def moves_to(live: Sequence[Live], described: Mapping[str, Mapping[int, str]], revision: str) -> list[Move]:
    """Each function's move to the version of a revision, which the versions' descriptions begin with."""
    found = (
        (one, [version for version, text in described[one.function].items() if text.split(" ")[0] == revision])
        for one in live
    )
    return _in_order(Move(one, max(versions)) for one, versions in found if versions and max(versions) != one.version)


def _in_order(moves: Iterable[Move]) -> list[Move]:
    return sorted(moves, key=lambda move: (not move.live.alias.startswith(_FIRST), move.live.alias))


class Stack:
    """A stack on AWS, with what its functions' aliases lead to."""

    def __init__(self, session: Any, name: str) -> None:
        self._formation = session.client("cloudformation")
        self._functions = session.client("lambda")
        self._name = name

    def check(self) -> None:
        """Raises RollbackError while a deployment is in progress."""
        (stack,) = self._formation.describe_stacks(StackName=self._name)["Stacks"]
        if (status := stack["StackStatus"]).endswith("IN_PROGRESS"):
            raise RollbackError(
                f"the stack {self._name} is being deployed ({status}): stop that, which rolls it back, with "
                f"`aws cloudformation cancel-update-stack --stack-name {self._name}`"
            )

    def live(self) -> list[Live]:
        """The functions with an alias. Raises RollbackError where they have no versions."""
        pages = self._formation.get_paginator("list_stack_resources").paginate(StackName=self._name)
        resources = [one for page in pages for one in page["StackResourceSummaries"]]
        return [
            self._live(one["LogicalResourceId"], one["PhysicalResourceId"])
            for one in resources
            if one["ResourceType"] == "AWS::Lambda::Alias"
        ]

    def _live(self, alias: str, arn: str) -> Live:
        function = arn.split(":")[-2]
        version = self._functions.get_alias(FunctionName=function, Name=ALIAS)["FunctionVersion"]
        if not version.isdigit():
            raise RollbackError(
                f"the functions of the stack {self._name} have no versions, as in an emulator: for a stack on AWS, "
                "unset AWS_ENDPOINT_URL and sign in"
            )
        return Live(alias, function, int(version))

    def events(self) -> Iterator[Mapping[str, Any]]:
        """The stack's events, the newest first."""
        for page in self._formation.get_paginator("describe_stack_events").paginate(StackName=self._name):
            yield from page["StackEvents"]

    def versions(self, function: str) -> dict[int, str]:
        """The descriptions of a function's versions."""
        pages = self._functions.get_paginator("list_versions_by_function").paginate(FunctionName=function)
        found = {one["Version"]: one.get("Description", "") for page in pages for one in page["Versions"]}
        return {int(version): text for version, text in found.items() if version.isdigit()}

    def check_door(self, move: Move) -> None:
        """Raises RollbackError for a move to an api without keys, which the template would refuse too.

        The firewall is that of the last deployment, whichever version is live.
        """
        if not self._is_open(move.live, move.to) or self._is_open(move.live, move.live.version):
            return
        (stack,) = self._formation.describe_stacks(StackName=self._name)["Stacks"]
        set_to = {one["ParameterKey"]: one.get("ParameterValue", "") for one in stack.get("Parameters", [])}
        if not set_to.get("AllowedAddresses"):
            raise RollbackError(
                f"{move.live.function}: version {move.to} needs no API keys, and AllowedAddresses is empty, so that "
                "everybody could do everything: go to another revision, or deploy with AllowedAddresses first"
            )

    def _is_open(self, live: Live, version: int) -> bool:
        found = self._functions.get_function_configuration(FunctionName=live.function, Qualifier=str(version))
        return bool(found.get("Environment", {}).get("Variables", {}).get("AUTH_MODE") == "none")

    def move(self, move: Move) -> None:
        """Moves the alias, with all traffic."""
        self._functions.update_alias(
            FunctionName=move.live.function,
            Name=ALIAS,
            FunctionVersion=str(move.to),
            RoutingConfig={"AdditionalVersionWeights": {}},
        )


def rollback(stack: Stack, name: str, revision: str | None) -> Iterator[str]:
    """Moves the stack's functions, and tells of each. Raises RollbackError where there is nothing to move to."""
    stack.check()
    live = stack.live()
    described = {one.function: stack.versions(one.function) for one in live}
    if revision is None:
        deployed = deployed_versions(stack.events())
        kept = {one.function: deployed.get(one.function, set()) & described[one.function].keys() for one in live}
        moves = moves_back(live, kept)
        missing = f"no function of the stack {name} has an older version that was deployed in the last 90 days"
    else:
        moves = moves_to(live, described, revision)
        missing = f"no function of the stack {name} has another version of the revision {revision}"
    if not moves:
        raise RollbackError(missing)
    for move in moves:
        stack.check_door(move)
    for move in moves:
        stack.move(move)
        named = described[move.live.function][move.to].split(" ")[0] or "none"
        yield f"{move.live.function}: version {move.live.version} -> {move.to} (revision {named})"


def main(arguments: Sequence[str]) -> int:
    """Moves the aliases; 0 where it did."""
    parser = argparse.ArgumentParser(prog="rollback")
    parser.add_argument("stack")
    parser.add_argument("--to", metavar="REVISION")
    options = parser.parse_args(arguments)
    try:
        check_aws()
        session = boto3.Session()
        if not session.region_name:
            raise RollbackError(NO_REGION)
        for line in rollback(Stack(session, options.stack), options.stack, options.to):
            print(line)
    except (LocalError, SettingsError, BotoCoreError, ClientError) as error:
        print(f"rollback: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    print("All new requests and jobs go to these versions. Parameters and other resources are as they were deployed.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
