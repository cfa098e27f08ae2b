"""The benchmarks' arithmetic and their page; what they measure is tested in tests/integration/test_benchmarks.py."""

import json
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError

from benchmarks import model_server, processes, report
from benchmarks.capacity import Index, Meter, Units, size
from benchmarks.report import Fragment
from benchmarks.spread import Spread, number, percentile
from jobchain.chains import CHAINS
from jobchain.chains.chain import StepContext, fence
from tests.conftest import TABLE
from tests.shipped import GuidelinePayload

GUIDELINE_CHECKLIST = CHAINS["guideline_checklist"]

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

RULES = "# Doors\n\nDoors must be locked at night. Keys must be changed\nevery 90 days. The house is old.\n"


def test_a_spread_is_the_median_with_the_least_and_the_most() -> None:
    assert str(Spread.of([3.0, 1.0, 2.5])) == "2.50 (1.00 to 3.00)"
    assert str(Spread.of([1234.5])) == "1234"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.1234, "0.123"), (1.0, "1.00"), (26.84, "26.8"), (99.96, "100"), (100.4, "100"), (0.0, "0.00")],
)
def test_a_number_has_three_digits_that_count(value: float, text: str) -> None:
    assert number(value) == text


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(value) for value in range(100, 0, -1)]

    assert [percentile(values, share) for share in (0.5, 0.95, 0.99)] == [50, 95, 99]
    assert percentile([7.0], 0.99) == 7
    assert percentile([1.0, 2.0, 3.0], 0.99) == 3


def test_the_page_has_each_fragment_in_the_order_of_names(tmp_path: Path) -> None:
    Fragment("Second", "More.\n", ("benchmarks/two.svg",), {"a": [1]}).write("20-second", tmp_path)
    (tmp_path / "10-first.json").write_text(json.dumps({"title": "First", "body": "Text."}), encoding="utf-8")

    page = report.render(report.read(tmp_path))

    assert page.startswith("# Benchmarks\n")
    assert page.endswith("## First\n\nText.\n\n## Second\n\nMore.\n\n![Second](benchmarks/two.svg)\n")


def test_sections_that_were_not_measured_again_stay_in_the_page() -> None:
    page = report.render(
        {"a": Fragment("First", "Old.", ("benchmarks/one.svg",)), "b": Fragment("Second", "Kept.\n\n### Part")}
    )

    updated = report.updated(page, {"a": Fragment("First", "New."), "c": Fragment("Third", "More.")})

    assert updated.startswith("# Benchmarks\n")
    assert updated.endswith("## First\n\nNew.\n\n## Second\n\nKept.\n\n### Part\n\n## Third\n\nMore.\n")
    assert report.updated(updated, {}) == updated


@pytest.mark.slow
def test_time_of_a_child_that_has_ended_counts() -> None:
    burn = "import time\nwhile time.process_time() < 0.4: pass"
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}]); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()

        below, tree = processes.cpu_seconds_below(parent.pid), processes.cpu_seconds_of_tree(parent.pid)
        held = processes.memory(parent.pid)
        parent.communicate(b"\n")

    assert 0.3 <= below <= tree
    assert held > 1_000_000


@pytest.mark.slow
def test_a_process_that_is_gone_holds_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass

    assert processes.memory(gone.pid) == 0


@pytest.mark.slow
def test_descendants_are_found_at_any_depth() -> None:
    inner = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(flush=True); input()'])"
    with subprocess.Popen([sys.executable, "-c", inner], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as outer:
        assert outer.stdout is not None
        outer.stdout.readline()

        found = processes.descendants(outer.pid)
        outer.communicate(b"\n")

    assert len(found) == 1


def test_the_model_answers_every_step_so_that_it_fits() -> None:
    payload = GuidelinePayload(guidelines=RULES)
    outputs: dict[str, Any] = {}
    for step in GUIDELINE_CHECKLIST.calls:
        context = StepContext(payload, outputs)
        said = model_server.answer(step.answer.__name__, step.request(context).input)
        outputs[step.name] = step.read_answer(step.answer.model_validate(said), context)

    assert [item["text"] for item in outputs["checklist"]] == [
        "Doors must be locked at night.",
        "Keys must be changed every 90 days.",
    ]
    assert all(item["source_found"] for item in outputs["checklist"])


@pytest.mark.slow
def test_the_model_counts_its_calls_and_takes_its_time() -> None:
    with model_server.running(delay=0.2) as model:
        started = time.perf_counter()
        model_server.ask_many(model, 4, 2)
        slow = time.perf_counter() - started
        model.set_delay(0)
        model_server.ask_many(model, 3, 1)

        assert model.answered() == 7
    assert slow >= 0.4


def test_the_model_finds_the_text_between_fences() -> None:
    said = model_server.answer("SummaryAnswer", f"{fence('document', RULES)}\n\n{fence('summary', 'Cats must sleep.')}")

    assert said == {"summary": "Doors must be locked at night. Keys must be changed every 90 days."}


# --- what calls of the table cost ------------------------------------------------------------------

KEYS = Index("due", frozenset({"due_shard", "due_at"}), frozenset({"pk", "sk", "due_shard", "due_at"}), "due_shard")
SOME = Index(
    "unfinished", frozenset({"tenant", "due_at"}), frozenset({"pk", "sk", "tenant", "due_at", "status"}), "tenant"
)


def item(sk: str = "META", **texts: str) -> dict[str, Any]:
    return {"pk": {"S": "JOB#1"}, "sk": {"S": sk}, **{name: {"S": text} for name, text in texts.items()}}


def due(at: int, **texts: str) -> dict[str, Any]:
    """An item in both indexes."""
    return {**item(tenant="t", **texts), "due_shard": {"N": "1"}, "due_at": {"N": str(at)}}


@pytest.fixture
def meter(dynamodb: "DynamoDBClient") -> Meter:
    return Meter(dynamodb, boto3.client("dynamodb"), TABLE, [KEYS, SOME])


def test_an_items_size_is_that_of_its_names_and_values() -> None:
    assert size({"a": {"S": "ü"}}) == 1 + 2
    assert size({"a": {"B": b"123"}}) == 1 + 3
    assert size({"a": {"N": "-12.50"}, "b": {"BOOL": True}}) == 1 + 3 + 1 + 1
    assert size({"a": {"M": {"b": {"L": [{"S": "c"}]}}}}) == 1 + 3 + (1 + 1) + 3 + (1 + 1)


def test_a_write_costs_a_unit_for_each_kilobyte_of_the_larger_image(dynamodb: "DynamoDBClient", meter: Meter) -> None:
    long = {**item("STEP#1"), "output": {"B": b"x" * 3000}}
    with meter.counting() as cost:
        dynamodb.put_item(TableName=TABLE, Item=long)
        dynamodb.put_item(TableName=TABLE, Item=item("STEP#1"))
        dynamodb.delete_item(TableName=TABLE, Key=item("STEP#1"))
        dynamodb.delete_item(TableName=TABLE, Key=item("STEP#1"))

    assert cost == Units(Counter(STEP=3 + 3 + 1 + 1), calls=4)


def test_a_write_that_changes_nothing_costs_all_the_same(dynamodb: "DynamoDBClient", meter: Meter) -> None:
    dynamodb.put_item(TableName=TABLE, Item=due(1))
    with meter.counting() as cost:
        dynamodb.put_item(TableName=TABLE, Item=due(1))

    assert cost == Units(Counter(META=1), calls=1)


def test_each_write_of_a_batch_costs_by_itself(dynamodb: "DynamoDBClient", meter: Meter) -> None:
    dynamodb.put_item(TableName=TABLE, Item=item("INPUT#1"))
    requests: Any = [{"PutRequest": {"Item": due(1)}}, {"DeleteRequest": {"Key": item("INPUT#1")}}]
    with meter.counting() as cost:
        dynamodb.batch_write_item(RequestItems={TABLE: requests})

    assert cost == Units(Counter(META=1, INPUT=1, due=1, unfinished=1), calls=1)


def test_an_index_costs_where_what_it_holds_changes(dynamodb: "DynamoDBClient", meter: Meter) -> None:
    with meter.counting() as new:
        dynamodb.put_item(TableName=TABLE, Item=due(1))
    with meter.counting() as other:
        dynamodb.put_item(TableName=TABLE, Item=due(1, error="e"))
    with meter.counting() as held:
        dynamodb.put_item(TableName=TABLE, Item=due(1, status="s"))
    with meter.counting() as moved:
        dynamodb.put_item(TableName=TABLE, Item=due(2, status="s"))
    with meter.counting() as gone:
        dynamodb.put_item(TableName=TABLE, Item=item())

    assert [dict(cost.by_item) for cost in (new, other, held, moved, gone)] == [
        {"META": 1, "due": 1, "unfinished": 1},
        {"META": 1},
        {"META": 1, "unfinished": 1},
        {"META": 1, "due": 2, "unfinished": 2},
        {"META": 1, "due": 1, "unfinished": 1},
    ]
    assert moved.partitions == Counter({("", "JOB#1"): 1, ("due", "1"): 2, ("unfinished", "t"): 2})


def test_a_write_whose_condition_is_false_costs_what_it_would_have(dynamodb: "DynamoDBClient", meter: Meter) -> None:
    dynamodb.put_item(TableName=TABLE, Item=due(1, error="e" * 2000))
    absent: Any = {"TableName": TABLE, "ConditionExpression": "attribute_not_exists(pk)"}
    put: Any = {"Put": {**absent, "Item": due(2)}}
    other: Any = {"Put": {"TableName": TABLE, "Item": item("STEP#1")}}
    with meter.counting() as alone, suppress(ClientError):
        dynamodb.put_item(**absent, Item=due(2))
    with meter.counting() as together, suppress(ClientError):
        dynamodb.transact_write_items(TransactItems=[put, other])

    assert alone == Units(Counter(META=2), calls=1)
    assert together == Units(Counter(META=2 * 2, STEP=2 * 1), calls=1)


def test_a_read_costs_by_what_is_looked_at(dynamodb: "DynamoDBClient", meter: Meter) -> None:
    for place in range(3):
        dynamodb.put_item(TableName=TABLE, Item=item(f"STEP#{place}", text="x" * 3000))
    found: Any = {"TableName": TABLE, "KeyConditionExpression": "pk = :pk"}
    values = {":pk": {"S": "JOB#1"}}
    with meter.counting() as whole:
        dynamodb.query(**found, ExpressionAttributeValues=values, ConsistentRead=True)
    with meter.counting() as filtered:
        only: Any = {"FilterExpression": "sk = :sk", "ExpressionAttributeValues": {**values, ":sk": {"S": "STEP#1"}}}
        dynamodb.query(**found, **only, Select="COUNT")
    with meter.counting() as each:
        keys: Any = {"Keys": [item("STEP#0"), item("none")], "ConsistentRead": True}
        dynamodb.batch_get_item(RequestItems={TABLE: keys})
    with meter.counting() as part:
        dynamodb.get_item(TableName=TABLE, Key=item("STEP#0"), ProjectionExpression="sk")

    # 9 KB are three units, half of that without consistency; two items of a batch are two.
    assert [cost.reads for cost in (whole, filtered, each, part)] == [3, 1.5, 2, 0.5]
