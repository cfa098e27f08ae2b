"""The costs in the documentation are what the formula comes to; the formula itself is tested in test_simulation.py."""

import json
import math
import re
from decimal import Decimal

import pytest

from benchmarks import costs, parts
from benchmarks.costs import Cost
from benchmarks.simulate import Simulator
from benchmarks.simulation.cost import MODEL, bill, fixed
from benchmarks.simulation.inputs import Inputs
from jobchain.metrics import count_outcome, count_spending
from jobchain.outcomes import COMPLETED
from jobchain.spending import Spending, Usage
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def simulator() -> Simulator:
    return Simulator(Inputs.load())


@pytest.fixture(scope="module")
def found(simulator: Simulator) -> list[Cost]:
    return [costs.cost(simulator, load) for load in costs.loads(simulator)]


@pytest.fixture(scope="module")
def before(simulator: Simulator) -> list[Cost]:
    earlier = Simulator(simulator.inputs.before)
    return [costs.cost(earlier, load) for load in costs.loads(simulator)]


@pytest.mark.slow
def test_the_page_of_costs_has_what_the_formula_comes_to(simulator: Simulator, found: list[Cost]) -> None:
    written = parts.read(costs.PAGE)[costs.PART]

    assert written == costs.costs_table(simulator, found), "run: .venv/bin/python -m benchmarks.costs"


@pytest.mark.slow
def test_the_page_of_costs_has_those_of_before(found: list[Cost], before: list[Cost]) -> None:
    written = parts.read(costs.PAGE)[costs.CHANGE]

    assert written == costs.change_table(before, found), "run: .venv/bin/python -m benchmarks.costs"


@pytest.mark.slow
def test_a_million_jobs_a_day_cost_what_was_to_be_reached(found: list[Cost], before: list[Cost]) -> None:
    (now,) = (cost for cost in found if cost.load.name == costs.GOAL_LOAD)
    (then,) = (cost for cost in before if cost.load.name == costs.GOAL_LOAD)

    # Both have as many workers as this version needs, which moves the sum of before by some dollars.
    assert then.per_million == pytest.approx(120, rel=0.04)
    assert now.per_million <= costs.GOAL
    for name, goal in costs.GOALS.items():
        assert round(now.part(name), 2) <= goal, name
    assert sum(now.part(name) for name in costs.PARTS) == pytest.approx(now.per_million), "no service is left out"


@pytest.mark.slow
def test_the_page_of_benchmarks_has_the_same_costs_for_a_million_jobs_a_day(found: list[Cost]) -> None:
    page = (ROOT / "docs" / "explanation" / "benchmarks.md").read_text()
    (day,) = (cost for cost in found if cost.load.name == "a million a day")

    (aws,) = re.findall(r"^\| AWS together \| \$([\d.,]+) \|", page, re.MULTILINE)

    # The one simulates a day, the other two hours of it.
    assert float(aws) == pytest.approx(day.per_million, rel=0.01)


@pytest.mark.slow
def test_a_month_costs_what_the_stack_costs_anyway_and_its_jobs(simulator: Simulator, found: list[Cost]) -> None:
    thousand, month, day, burst = found
    jobs = [30_000, 1_000_000, 30_000_000, 100_000]

    for cost, count in zip(found, jobs, strict=True):
        standing = 0 if cost is burst else fixed(simulator.inputs).aws
        assert cost.aws == pytest.approx(standing + cost.per_million * count / 1_000_000), cost.load.name
        assert cost.by_service[MODEL] == pytest.approx(count * (7200 * 0.1e-6 + 1600 * 0.5e-6)), cost.load.name
    assert thousand.per_million > month.per_million > day.per_million > burst.per_million


@pytest.mark.slow
def test_a_job_of_a_quiet_stack_pays_for_a_whole_worker(simulator: Simulator, found: list[Cost]) -> None:
    """A job is not cheaper than its share of the batches that come about at its rate."""
    _, month, _, _ = found
    outcome = month.case.outcome
    workers = outcome.billed * simulator.inputs["price.lambda_gb_second"] * month.case.per_million
    share = month.case.memory / 1024

    inputs = simulator.inputs
    seconds = inputs["work.steps"] * inputs["work.call_seconds"] * math.exp(inputs["work.call_spread"] ** 2 / 2)
    alone = seconds * inputs["price.lambda_gb_second"] * 1_000_000

    assert 1 < outcome.batch < 2
    assert alone / 2 < workers < alone
    of_functions = bill(outcome, simulator.inputs, memory_mb=month.case.memory).by_service["Lambda"]
    assert of_functions * month.case.per_million > workers * share


def test_the_first_chain_pays_for_the_metrics_that_a_completed_job_sends(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "a stack's")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "worker")
    count_spending("a chain", "a model", Spending(Usage(input_tokens=1), known_cost_usd=Decimal(1), calls=1))
    count_outcome(COMPLETED)

    sent = {
        (metric["Name"], *sorted(line[name] for name in dimensions))
        for line in map(json.loads, capsys.readouterr().out.splitlines())
        for written in line["_aws"]["CloudWatchMetrics"]
        for metric in written["Metrics"]
        for dimensions in written["Dimensions"]
    }

    billed = fixed(simulator.inputs, chains=1).aws - fixed(simulator.inputs, chains=0).aws
    assert billed == pytest.approx(len(sent) * simulator.inputs["price.metric_month"])


def test_the_page_of_costs_names_the_prices_that_the_formula_uses(simulator: Simulator) -> None:
    page = " ".join((ROOT / costs.PAGE).read_text().split())
    texts = {
        "lambda_gb_second": ("Lambda ${} a GB-second", 1),
        "lambda_request": ("${} a million requests, API Gateway", 1e6),
        "gateway_request": ("(REST) ${} a million", 1e6),
        "table_write": ("DynamoDB ${} a million writes", 1e6),
        "table_read": ("${} reads", 1e6),
        "table_gb_month": ("${} a GB and", 1),
        "backup_gb_month": ("${} for its backup", 1),
        "sqs_request": ("SQS ${} a million", 1e6),
        "alarm_month": ("CloudWatch ${} an alarm", 1),
        "metric_month": ("${} a metric", 1),
        "logs_gb": ("${} a GB of logs", 1),
        "trace": ("X-Ray ${} a million traces", 1e6),
        "secret_month": ("Secrets Manager ${} a secret", 1),
    }

    for name, (text, unit) in texts.items():
        (written,) = re.findall(re.escape(text).replace(r"\{\}", r"([\d.]+\d|\d)"), page)
        assert float(written) == pytest.approx(simulator.inputs[f"price.{name}"] * unit), name


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0.00"), (9.996, "10.0"), (14.82, "14.8"), (215.4, "215"), (2733.2, "2,733")]
)
def test_an_amount_has_three_digits_that_count(value: float, text: str) -> None:
    assert costs.dollars(value) == text


def test_a_part_of_a_page_is_replaced_and_nothing_else() -> None:
    text = "Before.\n\n<!-- one: written by a program -->\nold\n<!-- end of one -->\n\nAfter.\n"

    filled = parts.filled(text, {"one": "| new |\n"})

    assert filled == "Before.\n\n<!-- one: written by a program -->\n\n| new |\n\n<!-- end of one -->\n\nAfter.\n"
    assert parts.filled(filled, {"one": "| new |"}) == filled
    with pytest.raises(KeyError, match="two"):
        parts.filled(text, {"one": "", "two": ""})
