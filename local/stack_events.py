"""What the events of a CloudFormation stack tell: the operations on it, and why one of them failed.

A stack's status does not say it on every emulator: LocalStack 4.14.0 calls a stack UPDATE_COMPLETE whose update failed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["creation", "update", "deletion"]

_STACK = "AWS::CloudFormation::Stack"
_KINDS: Mapping[str, Kind] = {
    "CREATE_IN_PROGRESS": "creation",
    "UPDATE_IN_PROGRESS": "update",
    "DELETE_IN_PROGRESS": "deletion",
}
# Of resources that failed because another one had.
_CONSEQUENCES = ("Resource creation cancelled", "Resource update cancelled")

NO_REASON = "no reason given; the emulator's log may have one"


@dataclass(frozen=True, slots=True)
class Operation:
    """What was done to a stack. `cause` says why it failed, the first resource first; it is empty if it did not."""

    kind: Kind
    cause: str = ""

    @property
    def failed(self) -> bool:
        return bool(self.cause)


def operations(events: Iterable[Mapping[str, Any]]) -> list[Operation]:
    """The operations on a stack, the oldest first. `events` are in DescribeStackEvents' order: the newest first."""
    found: list[tuple[Kind, list[Mapping[str, Any]]]] = []
    for event in reversed(list(events)):
        if _is_of_stack(event) and (kind := _KINDS.get(event["ResourceStatus"])):
            found.append((kind, []))
        if found:
            found[-1][1].append(event)
    return [_operation(kind, its) for kind, its in found]


def never_completed(history: list[Operation]) -> bool:
    """Whether the stack's creation failed, and nothing has updated it since: then it holds no data.

    A history that begins with something else is not the whole one, and says nothing of the creation.
    """
    if not history or history[0].kind != "creation":
        return False
    return history[0].failed and all(operation.kind == "deletion" for operation in history[1:])


def _operation(kind: Kind, events: list[Mapping[str, Any]]) -> Operation:
    if not (faults := [event for event in events if _is_fault(event, kind)]):
        return Operation(kind)
    told = [event for event in faults if _reason(event) and not _reason(event).startswith(_CONSEQUENCES)]
    # What the stack itself says repeats its resources' reasons, where they have any.
    told = [event for event in told if not _is_of_stack(event)] or told
    reasons = (f"{event['LogicalResourceId']}: {_reason(event)}" for event in told)
    return Operation(kind, "; ".join(dict.fromkeys(reasons)) or NO_REASON)


def _is_of_stack(event: Mapping[str, Any]) -> bool:
    return bool(event["ResourceType"] == _STACK)


def _is_fault(event: Mapping[str, Any], kind: str) -> bool:
    """Whether an operation of this kind failed by it. A replaced resource that can't be removed fails no update."""
    status = event["ResourceStatus"]
    if kind == "deletion":
        return bool(status == "DELETE_FAILED")
    if _is_of_stack(event) and "ROLLBACK" in status:
        return True
    return status in ("CREATE_FAILED", "UPDATE_FAILED")


def _reason(event: Mapping[str, Any]) -> str:
    return str(event.get("ResourceStatusReason") or "").strip()
