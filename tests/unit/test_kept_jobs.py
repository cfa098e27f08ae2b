"""What `make dev` keeps of its jobs from one run to the next."""

import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from jobchain.aws.items import Due
from jobchain.domain import NewJob
from local.kept_jobs import KeptJobs, NotKept
from tests.conftest import TABLE, Items
from tests.stores import Stores

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

EVENT_ID = "0b6c2f4e-0000-4000-8000-000000000001"
LONG = "Doors must be locked. " * 200  # stored in bytes, as it is compressed


@dataclass(frozen=True)
class Owner:
    table: str
    sweeper: str = ""

    def client(self, service: str) -> Any:
        return boto3.client(service)  # type: ignore[call-overload]  # any service


@pytest.fixture
def owner(dynamodb: "DynamoDBClient") -> Owner:
    return Owner(TABLE)


@pytest.fixture
def kept(tmp_path: Path) -> KeptJobs:
    return KeptJobs(tmp_path / ".local")


def create(stores: Stores, event_id: str = EVENT_ID) -> None:
    new = NewJob(event_id, "local", "extract_actions", {"text": LONG}, "f")
    stores.admission.create(new, timedelta(days=30))


def empty(client: "DynamoDBClient") -> None:
    for item in client.scan(TableName=TABLE)["Items"]:
        client.delete_item(TableName=TABLE, Key={"pk": item["pk"], "sk": item["sk"]})


def everything(client: "DynamoDBClient") -> list[dict[str, Any]]:
    return sorted(client.scan(TableName=TABLE)["Items"], key=lambda item: (item["pk"]["S"], item["sk"]["S"]))


def test_the_table_is_the_same_after_a_save_and_a_restore(
    kept: KeptJobs, owner: Owner, stores: Stores, dynamodb: "DynamoDBClient"
) -> None:
    for number in range(30):
        create(stores, f"0b6c2f4e-0000-4000-8000-0000000000{number:02}")
    for event_id in (f"0b6c2f4e-0000-4000-8000-0000000000{number:02}" for number in range(30)):
        stores.cancel("local", event_id)
    before = everything(dynamodb)

    saved = kept.save(owner)
    empty(dynamodb)
    restored = kept.restore(owner)

    assert (saved, restored) == (30, 30)
    assert any(isinstance(value.get("B"), bytes) for item in before for value in item.values())
    assert everything(dynamodb) == before


def test_an_unfinished_job_is_due_at_once_when_it_is_back(
    kept: KeptJobs, owner: Owner, stores: Stores, dynamodb: "DynamoDBClient", items: Items
) -> None:
    create(stores)
    kept.save(owner)
    empty(dynamodb)

    kept.restore(owner)

    meta = items.meta(EVENT_ID)
    assert meta["status"] == {"S": "pending"}
    assert meta["due_shard"] == {"N": str(Due.UNSENT.shard(EVENT_ID))}


def test_what_a_deployment_writes_about_itself_is_left_out(
    kept: KeptJobs, owner: Owner, dynamodb: "DynamoDBClient"
) -> None:
    dynamodb.put_item(TableName=TABLE, Item={"pk": {"S": "SWEEP"}, "sk": {"S": "SWEEP"}})

    assert kept.save(owner) == 0
    assert not kept.file.exists()


def test_a_table_without_items_removes_the_file_of_before(
    kept: KeptJobs, owner: Owner, stores: Stores, dynamodb: "DynamoDBClient"
) -> None:
    create(stores)
    kept.save(owner)
    empty(dynamodb)

    assert (kept.save(owner), kept.file.exists(), kept.restore(owner)) == (0, False, 0)


def test_only_the_user_can_read_the_file(kept: KeptJobs, owner: Owner, stores: Stores) -> None:
    create(stores)

    kept.save(owner)

    assert kept.file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in kept.file.parent.iterdir()] == [kept.file.name]


@pytest.mark.parametrize(
    "content", ["", "no JSON\n", json.dumps({"format": 0, "key": ["pk", "sk"]}), '{"format": 1, "key": ["id"]}\n']
)
def test_a_file_that_can_not_be_used_is_named_and_moved_out_of_the_way(
    kept: KeptJobs, owner: Owner, dynamodb: "DynamoDBClient", content: str
) -> None:
    kept.file.parent.mkdir()
    kept.file.write_text(content)

    with pytest.raises(NotKept, match=r"can't be put back: .*They are in .*jobs\.unusable"):
        kept.restore(owner)

    assert not kept.file.exists()
    assert everything(dynamodb) == []


def test_jobs_that_can_not_be_read_leave_the_file_of_before(kept: KeptJobs, owner: Owner, stores: Stores) -> None:
    create(stores)
    kept.save(owner)
    before = kept.file.read_bytes()

    with pytest.raises(NotKept, match="the jobs of this run are not kept: "):
        kept.save(Owner("no-such-table"))

    assert kept.file.read_bytes() == before
