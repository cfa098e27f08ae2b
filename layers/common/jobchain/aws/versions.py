"""Where the definitions of chains are stored, one for each version that jobs were run with.

An item holds what its key is the hash of: so all writes of it are the same but for its expiry.
"""

from collections.abc import Collection, Mapping
from datetime import timedelta
from threading import Lock
from typing import TYPE_CHECKING

from jobchain.aws.attributes import Item
from jobchain.aws.items import packed, unpacked
from jobchain.aws.table import Table
from jobchain.aws.writes import key
from jobchain.chains.chain import MAX_OUTPUT_BYTES
from jobchain.chains.definition import Definition

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEPT_LONGER = timedelta(days=7)
"""A definition is stored for so much longer than the job that it is stored for: it is written once in that time."""


class VersionStore:
    """Stores and reads definitions. Every method raises Unavailable where the table does not answer."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._table = Table(client, table)
        self._expiries: dict[str, int] = {}
        self._found: dict[str, Definition] = {}
        self._storing = Lock()

    def is_kept(self, definition: Definition, until: int) -> bool:
        """Whether this process knows that the definition is stored until then, in seconds since 1970."""
        return self._expiries.get(definition.version, 0) >= until

    def keep(self, definition: Definition, until: int) -> bool:
        """Has the definition stored until then at least. False where it is too large for an item of the table.

        It costs a read, and seldom a write; nothing where this process knows that it is stored.
        """
        text = packed(definition.text)
        if len(text) > MAX_OUTPUT_BYTES:
            return False
        with self._storing:
            if not self.is_kept(definition, until):
                where = _key(definition.version)
                item = self._table.get(where, ("expires_at",))
                expires_at = int(item["expires_at"]) if item else 0
                if expires_at < until:
                    expires_at = until + int(KEPT_LONGER.total_seconds())
                    self._table.put_unless_newer({**where, "text": text, "expires_at": expires_at}, "expires_at")
                self._expiries[definition.version] = expires_at
        return True

    def find(self, versions: Collection[str]) -> Mapping[str, Definition]:
        """The definitions of up to 100 versions that are stored."""
        missing = [version for version in versions if version not in self._found]
        self._found |= read_definitions(self._table, missing)
        return {version: self._found[version] for version in versions if version in self._found}


def read_definitions(table: Table, versions: Collection[str]) -> dict[str, Definition]:
    """The definitions of up to 100 versions that are stored. Raises Unavailable."""
    items = table.get_many([_key(version) for version in versions]) if versions else []
    found = (Definition(item["pk"].removeprefix("VERSION#"), unpacked(item["text"])) for item in items)
    return {definition.version: definition for definition in found}


def _key(version: str) -> Item:
    return key(f"VERSION#{version}", "META")
