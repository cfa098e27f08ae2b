"""What a job is besides its state: its name, where it is from, and what it sets in place of its chain.

Lists show and choose jobs by it. In META it is one attribute, as an index holds 20. The texts of a job's own prompts
are in its item INPUT.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict

from jobchain.aws.attributes import Item
from jobchain.aws.items import StoredJob, unpacked
from jobchain.aws.listing import labels_of
from jobchain.domain import NewJob
from jobchain.forks import ForkedFrom
from jobchain.overrides import NO_OVERRIDES, Overrides


def about_of(new: NewJob) -> Item:
    """The attribute of a new job."""
    overrides = asdict(new.overrides) | {"prompts": [*new.overrides.prompts]}
    return _present(
        {
            "title": new.title,
            "labels": labels_of(new.metadata),
            "forked_from": _present(asdict(new.forked_from)) if new.forked_from else None,
            "overrides": _present(overrides),
        }
    )


def overrides_of(meta: Item) -> Overrides:
    """What the job of this META sets."""
    found = meta.get("about", {}).get("overrides")
    if not found:
        return NO_OVERRIDES
    unknown = sorted({*found} - {"model", "effort", "prompts"})
    return Overrides(found.get("model"), found.get("effort"), tuple(found.get("prompts", ())), tuple(unknown))


def forked_from_of(meta: Item) -> ForkedFrom | None:
    """What the job of this META was forked from. What a later version has stored besides is left out."""
    found = meta.get("about", {}).get("forked_from")
    return ForkedFrom(found["event_id"], found.get("from_step"), found.get("replay")) if found else None


def prompts_of(job: StoredJob) -> Mapping[str, str]:
    """The job's own prompts by their steps, of a job that was read with its item INPUT."""
    stored = [item["prompts"] for item in job.of_kind("INPUT") if "prompts" in item]
    prompts: Mapping[str, str] = json.loads(unpacked(stored[0])) if stored else {}
    return prompts


def _present(values: Mapping[str, object]) -> Item:
    return {name: value for name, value in values.items() if value}
