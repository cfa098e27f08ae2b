"""The benchmarks' arithmetic and their page; what they measure is tested in tests/integration/test_benchmarks.py."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks import goals, model_server, processes, report
from benchmarks.report import Fragment
from benchmarks.sides import BASELINE, OURS
from benchmarks.spread import Spread, number, percentile
from jobchain.chains.chain import StepContext, fence
from jobchain.chains.guideline_checklist import GUIDELINE_CHECKLIST, GuidelinePayload

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


def test_the_page_says_which_goals_are_missed() -> None:
    fragments = {
        "20-throughput": Fragment("", "", data={"0.5": {OURS: [24.0, 26.0, 25.0], BASELINE: [1.0, 1.25, 1.5]}}),
        "40-cpu": Fragment("", "", data={OURS: [50.0], BASELINE: [25.0]}),
    }

    summary = goals.summary(fragments)

    assert summary is not None
    rows = summary.body.splitlines()[2:]
    assert [row.split("|")[-2].strip() for row in rows] == ["reached", "missed"]
    assert "20.0 " in rows[0]


def test_there_are_no_goals_without_both_sides() -> None:
    assert goals.summary({"40-cpu": Fragment("", "", data={OURS: [50.0]})}) is None


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
    for step in GUIDELINE_CHECKLIST.steps:
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
