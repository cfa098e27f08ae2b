"""The page of batches has what the simulation comes to, and the template has what it says is best."""

from typing import Any

import pytest

from benchmarks import batches, costs, parts
from benchmarks.simulate import WORKERS, Simulator
from benchmarks.simulation.inputs import Inputs


@pytest.fixture(scope="module")
def simulator() -> Simulator:
    return Simulator(Inputs.load())


def test_the_workers_have_the_memory_that_the_simulation_reckons_with(
    simulator: Simulator, template: dict[str, Any]
) -> None:
    workers = ("WorkerFunction", "FlexWorkerFunction")

    sizes = {template["Resources"][name]["Properties"]["MemorySize"] for name in workers}

    assert sizes == {simulator.inputs["function.worker_memory"]}
    api = template["Resources"]["ApiFunction"]["Properties"]["MemorySize"]
    assert api == simulator.inputs["function.api_memory"]


def test_a_queue_has_no_batching_window_and_the_defaults_that_the_simulation_reckons_with(
    simulator: Simulator, template: dict[str, Any]
) -> None:
    """With a window AWS may wait for 20 seconds, however short it is."""
    for name in ("WorkerFunction", "FlexWorkerFunction"):
        source = template["Resources"][name]["Properties"]["Events"]["Jobs"]["Properties"]
        assert "MaximumBatchingWindowInSeconds" not in source, name
    parameters = template["Parameters"]
    assert parameters["WorkerConcurrency"]["Default"] == WORKERS
    assert parameters["BatchSize"]["Default"] == simulator.base.batch_size
    assert simulator.base.window == 0


@pytest.mark.slow
def test_what_was_chosen_delays_a_usual_job_by_a_second_at_most(simulator: Simulator) -> None:
    results = batches.memories(simulator)
    memory = simulator.inputs["function.worker_memory"]

    (chosen,) = (one for one in results if one.case.memory == memory)

    assert chosen.latency - results[-1].latency <= batches.MOST_DELAY
    assert chosen.waited <= batches.MOST_DELAY
    assert chosen.dollars <= costs.GOALS["functions"]


@pytest.mark.slow
def test_the_page_has_what_the_simulation_comes_to(simulator: Simulator) -> None:
    written = parts.read(batches.PAGE)

    assert written == batches.tables(simulator), "run: .venv/bin/python -m benchmarks.batches"
