"""Which of a tenant's jobs a list shows: the range of the index `recent`, and the filter of its entries."""

import hashlib
import json
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from jobchain.aws.attributes import Item
from jobchain.aws.table import Table
from jobchain.domain import Status, isoformat

# A hash of 48 bits is eight characters: of a million other entries one is taken for it with a probability of 1 in 280
# million.
_LABEL_BYTES = 6

NO_REPLAY = "attribute_not_exists(about.forked_from.replay)"
"""The condition on META, or on an entry of `recent`, that the job is not a part of a replay."""


def is_replay(meta: Item) -> bool:
    """Whether the job of this META is a part of a replay."""
    return "replay" in meta.get("about", {}).get("forked_from", {})


# Sort before and after every creation time.
_FIRST, _LAST = "0", "~"


def labels_of(metadata: Mapping[str, str]) -> str:
    """The metadata as META and the index have it: a short hash of each entry, by which lists are filtered."""
    return ",".join(_label(name, value) for name, value in metadata.items())


def _label(name: str, value: str) -> str:
    digest = hashlib.sha256(json.dumps([name, value]).encode()).digest()
    return urlsafe_b64encode(digest[:_LABEL_BYTES]).decode()


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs are wanted: all that fulfill each condition that is given, and are no replays unless `replays`.

    `title` is a part of the job's title, in any case. `metadata` are entries that the job has. A job is wanted that was
    created at `created_after` or later, and before `created_before`. `replay` is the one whose jobs are wanted, and no
    others; with `only_replays` the jobs of all replays are, and no others.
    """

    status: Status | None = None
    job_name: str | None = None
    title: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    created_after: datetime | None = None
    created_before: datetime | None = None
    replays: bool = False
    replay: str | None = None
    only_replays: bool = False

    @property
    def scope(self) -> tuple[str, ...]:
        """The filter as texts: a cursor counts for one filter alone."""
        given = (self.title, *(isoformat(at) if at else None for at in (self.created_after, self.created_before)))
        more = [
            *given,
            sorted(self.metadata.items()),
            *filter(None, (self.replays, self.replay, self.only_replays and "only")),
        ]
        return self.status or "", self.job_name or "", json.dumps(more) if any(more) else ""

    @property
    def chooses(self) -> bool:
        """Whether a page of the index may hold jobs that are not wanted."""
        return bool(self.status or self.job_name or self.title or self.metadata or self.replay or self.only_replays)

    def range_of(self, tenant: str, before: str | None) -> tuple[str, Item]:
        """The condition of a query of `recent`, and its values. `before` is the position where the last page ended."""
        lowest = isoformat(self.created_after) if self.created_after else _FIRST
        # A position is a time and an id, so that a time alone sorts before the jobs of that time.
        highest = isoformat(self.created_before) if self.created_before else _LAST
        if before:
            highest = min(highest, _just_before(before))
        highest = max(highest, lowest)
        condition = "tenant = :tenant AND created_at_id BETWEEN :lowest AND :highest"
        return condition, {":tenant": tenant, ":lowest": lowest, ":highest": highest}

    def options(self) -> tuple[dict[str, Any], Item]:
        """The options of a query of `recent` for such jobs, and the values of its filter, which are empty without one.

        The index does not tell the status of jobs that have not ended.
        """
        tests: list[str] = []
        values: Item = {}
        names: dict[str, str] = {}
        if self.job_name:
            tests.append("#job_name = :job_name")
            values[":job_name"], names["#job_name"] = self.job_name, "job_name"
        if self.status and self.status.final:
            tests.append("(attribute_not_exists(final_status) OR final_status = :status)")
            values[":status"] = self.status
        elif self.status:
            tests.append("attribute_not_exists(final_status)")
        if self.title:
            tests.append("attribute_exists(about.title)")
        if self.replay:
            values[":replay"] = self.replay
        tests += self._replay_tests
        for number, entry in enumerate(self.metadata.items()):
            tests.append(f"contains(about.labels, :label{number})")
            values[f":label{number}"] = _label(*entry)
        if not tests:
            return {}, {}
        options: dict[str, Any] = {"FilterExpression": " AND ".join(tests)}
        if names:
            options["ExpressionAttributeNames"] = names
        return options, values

    @property
    def _replay_tests(self) -> list[str]:
        if self.replay:
            return ["about.forked_from.replay = :replay"]
        if self.only_replays:
            return ["attribute_exists(about.forked_from.replay)"]
        return [] if self.replays else [NO_REPLAY]

    def names(self, entry: Item) -> bool:
        """Whether the title of an entry of `recent` is wanted: DynamoDB compares texts in one case alone."""
        return not self.title or self.title.casefold() in entry.get("about", {}).get("title", "").casefold()


ALL_JOBS = JobFilter()
"""The filter of a list of all jobs."""


def _just_before(position: str) -> str:
    """A text that sorts between the position and all positions before it, which have its length."""
    return f"{position[:-1]}{chr(ord(position[-1]) - 1)}{_LAST}"


def entry_pages(
    table: Table, tenant: str, before: str | None, wanted: JobFilter, limit: int, most: int
) -> Iterator[tuple[int, list[Item], Item | None]]:
    """The entries of a list of up to `limit` jobs, page by page: how many were read, those that pass, the last key.

    The first page is what is asked for, and one more, which tells whether there is a next page. Where it is not enough,
    the others may be behind many that do not pass, such as replays: with as small pages that would be hundreds of
    queries. So each further page is a quarter of the `most` that the caller reads.
    """
    options, filtered = wanted.options()
    size, position = most // 4 if wanted.chooses else limit + 1, before
    while True:
        condition, values = wanted.range_of(tenant, position)
        pages = table.index_pages("recent", condition, values | filtered, size, ScanIndexForward=False, **options)
        page, last = next(pages)
        yield size, page, last
        if last is None:
            return
        size, position = most // 4, last["created_at_id"]
