"""Ids of jobs, as they are typed: whole, or their first characters, as the dashboard shows them."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jobchain_cli.errors import CommandError

if TYPE_CHECKING:
    from jobchain_client import Jobchain

LEAST = 8
"""The fewest characters of an id: as many as the dashboard shows. Of a million jobs, 0.02 % share them with another."""

SEARCHED = 1_000
"""How many of the newest jobs a short id is looked for in."""

_SHORT = re.compile(rf"[0-9a-f]{{{LEAST}}}(?:-[0-9a-f-]{{0,26}})?")


def is_short(event_id: str) -> bool:
    """Whether it is the beginning of an id, and not a whole one."""
    return bool(_SHORT.fullmatch(event_id.lower()))


def whole_ids(client: "Jobchain", event_ids: Sequence[str]) -> list[str]:
    """The ids, with the whole one for each short one. Raises CommandError if a short one is that of no job, or of two.

    Asks for the newest jobs only if there is a short one.
    """
    if not any(map(is_short, event_ids)):
        return list(event_ids)
    known = [job.event_id for job in client.list(limit=SEARCHED)]
    return [_whole(event_id, known) if is_short(event_id) else event_id for event_id in event_ids]


def _whole(short: str, known: Sequence[str]) -> str:
    found = [event_id for event_id in known if event_id.startswith(short.lower())]
    if len(found) > 1:
        raise CommandError(f"{short} is the beginning of {len(found)} ids: {', '.join(found[:5])}: give a whole one")
    if not found:
        where = f"the newest {SEARCHED:,} jobs" if len(known) == SEARCHED else "your jobs"
        raise CommandError(f"{short}: none of {where} has an id that begins so: give the whole id")
    return found[0]
