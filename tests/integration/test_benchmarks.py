"""A quick run of the benchmarks' measures of our side: that they work, not what they come to."""

from pathlib import Path

import pytest

from benchmarks import comparison
from benchmarks.load import load
from benchmarks.report import Fragment
from benchmarks.sides import OURS, Terms
from benchmarks.warm_post import BARE, warm_post


@pytest.fixture
def terms(tmp_path: Path) -> Terms:
    return Terms(
        quick=True, rounds=1, load_jobs=10, folder=tmp_path, page=tmp_path / "benchmarks.md", say=lambda text: None
    )


def test_jobs_are_measured(terms: Terms) -> None:
    fragments: dict[str, Fragment] = comparison.jobs(terms)

    assert set(fragments) == {"20-throughput", "40-cpu", "45-memory"}
    assert all(len(rates[OURS]) == 1 and rates[OURS][0] > 0 for rates in fragments["20-throughput"].data.values())
    assert fragments["40-cpu"].data[OURS][0] > 0
    assert fragments["45-memory"].data["idle"][OURS][0] > 10


def test_a_warm_post_is_measured_beside_a_bare_function(terms: Terms) -> None:
    fragment = warm_post(terms)["35-warm-post"]

    assert fragment.data["ratio"] == [fragment.data[OURS][0] / fragment.data[BARE][0]]
    assert fragment.data[BARE][0] > 0


def test_the_first_post_is_measured(terms: Terms) -> None:
    data = comparison.first_post(terms)["50-first-post"].data

    assert len(data[OURS]) == 1
    assert data[OURS][0] > 0


def test_a_load_is_shown_part_by_part(terms: Terms) -> None:
    fragment = load(terms)["60-load"]

    assert len(fragment.data["rates"]) == 10
    assert "All 10 completed, with exactly 3 calls of the model each" in " ".join(fragment.body.split())
