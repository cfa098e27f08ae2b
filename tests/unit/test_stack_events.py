from typing import Any

from local.stack_events import NO_REASON, Operation, never_completed, operations

STACK = "jobchain"


def listed(*events: tuple[str, str] | tuple[str, str, str]) -> list[dict[str, Any]]:
    """Events as DescribeStackEvents lists them, given as they happened: resource, status, reason."""
    return [
        {
            "LogicalResourceId": name,
            "ResourceType": "AWS::CloudFormation::Stack" if name == STACK else "AWS::SQS::Queue",
            "ResourceStatus": status,
            **({"ResourceStatusReason": reason[0]} if reason else {}),
        }
        for name, status, *reason in reversed(events)
    ]


CREATED = ((STACK, "CREATE_IN_PROGRESS"), ("Queue", "CREATE_COMPLETE"), (STACK, "CREATE_COMPLETE"))


def test_a_stack_without_events_had_no_operation() -> None:
    assert operations([]) == []


def test_operations_come_the_oldest_first() -> None:
    events = listed(*CREATED, (STACK, "UPDATE_IN_PROGRESS"), (STACK, "UPDATE_COMPLETE"))

    assert operations(events) == [Operation("creation"), Operation("update")]


def test_the_first_cause_comes_first_and_what_followed_from_it_is_left_out() -> None:
    events = listed(
        (STACK, "CREATE_IN_PROGRESS"),
        ("Dead", "CREATE_FAILED", "too long"),
        ("Queue", "CREATE_FAILED", "Resource creation cancelled"),
        ("Table", "CREATE_FAILED"),
        ("Other", "CREATE_FAILED", "too short"),
        ("Dead", "CREATE_FAILED", "too long"),
        (STACK, "ROLLBACK_IN_PROGRESS", "The following resource(s) failed to create: [Dead, Queue, Other]."),
        (STACK, "ROLLBACK_COMPLETE"),
    )

    assert operations(events) == [Operation("creation", "Dead: too long; Other: too short")]


def test_a_failure_of_the_stack_alone_has_the_stacks_reason() -> None:
    events = listed((STACK, "CREATE_IN_PROGRESS"), (STACK, "ROLLBACK_IN_PROGRESS", "unknown type"), (STACK, "X_FAILED"))

    assert operations(events) == [Operation("creation", "jobchain: unknown type")]


def test_many_failures_without_a_reason_are_one() -> None:
    events = listed((STACK, "CREATE_IN_PROGRESS"), *[("Queue", "CREATE_FAILED")] * 5, (STACK, "CREATE_FAILED"))

    assert operations(events) == [Operation("creation", NO_REASON)]


def test_an_update_that_failed_is_told_though_the_stack_is_called_complete() -> None:
    """As LocalStack 4.14.0 does."""
    events = listed(
        *CREATED,
        (STACK, "UPDATE_IN_PROGRESS"),
        ("Queue", "CREATE_FAILED", "no such bucket"),
        (STACK, "CREATE_FAILED"),
        (STACK, "ROLLBACK_COMPLETE"),
        (STACK, "UPDATE_COMPLETE"),
    )

    assert operations(events)[-1] == Operation("update", "Queue: no such bucket")


def test_an_update_that_ends_in_a_rollback_failed_even_if_no_resource_did() -> None:
    events = listed(*CREATED, (STACK, "UPDATE_IN_PROGRESS"), (STACK, "ROLLBACK_COMPLETE"), (STACK, "UPDATE_COMPLETE"))

    assert operations(events)[-1] == Operation("update", NO_REASON)


def test_an_update_is_complete_though_what_it_replaced_can_not_be_deleted() -> None:
    events = listed(
        *CREATED,
        (STACK, "UPDATE_IN_PROGRESS"),
        ("Queue", "DELETE_FAILED", "in use"),
        (STACK, "DELETE_FAILED"),
        (STACK, "UPDATE_COMPLETE"),
    )

    assert operations(events)[-1] == Operation("update")


class TestNeverCompleted:
    """What may be removed, as it can have no job."""

    FAILED = Operation("creation", "Queue: too long")

    def test_holds_for_a_creation_that_failed(self) -> None:
        assert never_completed([self.FAILED])
        assert never_completed([self.FAILED, Operation("deletion", "Queue: in use")])

    def test_does_not_hold_for_one_that_ended_well(self) -> None:
        assert not never_completed([Operation("creation")])
        assert not never_completed([Operation("creation"), Operation("update", "Queue: too long")])
        assert not never_completed([Operation("creation"), Operation("deletion", "Queue: in use")])

    def test_does_not_hold_once_an_update_has_come_after_it(self) -> None:
        assert not never_completed([self.FAILED, Operation("update")])

    def test_does_not_hold_where_the_creation_is_not_among_the_events(self) -> None:
        events = listed((STACK, "CREATE_COMPLETE"), (STACK, "UPDATE_IN_PROGRESS"), ("Queue", "UPDATE_FAILED", "in use"))

        assert operations(events) == [Operation("update", "Queue: in use")]
        assert not never_completed(operations(events))

    def test_does_not_hold_where_nothing_is_known(self) -> None:
        assert not never_completed([])
