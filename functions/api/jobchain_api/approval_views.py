"""Steps that a person decides, as callers get them."""

from typing import Literal

from pydantic import Field, JsonValue

from jobchain.approvals import Approval, Decision
from jobchain_api.created_views import LazyView


class ApprovalView(LazyView):
    """A step that waits for a decision, or was decided."""

    title: str
    shown: JsonValue = Field(description="What the person is shown, and the step's value if it is approved.")
    since: str
    until: str = Field(description="Until when it can be decided.")
    on_deadline: Literal["approve", "reject"] = Field(description="What is decided if no decision has come until then.")
    decision: Decision | None = Field(description="Null while the step waits.")
    value: JsonValue = Field(default=None, description="The value that a person gave in place of the one shown.")
    by: str | None = Field(description="Who has decided, as the caller named that person.")
    key_id: str | None = Field(description="The API key with which it was decided.")
    comment: str | None
    decided_at: str | None
    at_deadline: bool = Field(description="Whether no decision has come in time.")

    @classmethod
    def of(cls, approval: Approval) -> "ApprovalView":
        """`approval`, as callers see it."""
        done = approval.decided
        return cls(
            title=approval.title,
            shown=approval.shown,
            since=approval.since,
            until=approval.until,
            on_deadline=approval.on_deadline,
            decision=done.decision if done else None,
            value=done.value if done else None,
            by=(done.by if done else "") or None,
            key_id=(done.key_id if done else "") or None,
            comment=(done.comment if done else "") or None,
            decided_at=done.at if done else None,
            at_deadline=bool(done and done.at_deadline),
        )
