"""A job that was forked from another one."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ForkedFrom:
    """The job from which another one was forked: it began with copies of the outputs of steps before `from_step`."""

    event_id: str
    from_step: str
