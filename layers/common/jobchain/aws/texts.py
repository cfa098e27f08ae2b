"""What is stored before a job's META: what its caller sent, and the outputs that a fork begins with.

META names these items by its `uid`, so that no reader finds a job without them.
"""

from datetime import datetime, timedelta

from jobchain.aws.attributes import Item
from jobchain.aws.items import job_key, packed
from jobchain.aws.records import copied_step_item
from jobchain.aws.writes import epoch
from jobchain.domain import NewJob
from jobchain.text import dump

# Twice the time that a function of the API has.
_LONGEST_REQUEST = timedelta(minutes=1)


def text_items(new: NewJob, uid: str, now: datetime, expires_at: int) -> list[Item]:
    """The items of a new job besides META."""
    common = {"uid": uid, "stored_at": epoch(now), "expires_at": expires_at}
    payload = packed(dump(new.payload))
    prompts = {"prompts": packed(dump(dict(new.prompts)))} if new.prompts else {}
    found: list[Item] = [{**job_key(new.event_id, f"INPUT#{uid}"), "payload": payload, **prompts, **common}]
    if new.metadata:
        found.append({**job_key(new.event_id, f"METADATA#{uid}"), "metadata": dict(new.metadata), **common})
    copies = enumerate(new.copies, start=1)
    return found + [{**copied_step_item(new.event_id, uid, number, step), **common} for number, step in copies]


def is_being_posted(item: Item, meta: Item, now: datetime) -> bool:
    """Whether the item may be of another job of the same id, which a request is storing right now."""
    return item.get("uid") != meta.get("uid") and int(item.get("stored_at", 0)) > epoch(now - _LONGEST_REQUEST)
