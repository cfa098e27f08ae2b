"""A job that was forked from another one, and the replay that it may be a part of."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ForkedFrom:
    """The job from which another one was forked: it began with copies of the outputs of steps before `from_step`.

    `from_step` is None for a fork that copied nothing. `replay` is the id of the replay that the fork is a part of,
    None for any other: lists, job counts and metrics of outcomes leave replays out, and usage tells them apart.
    """

    event_id: str
    from_step: str | None
    replay: str | None = None
