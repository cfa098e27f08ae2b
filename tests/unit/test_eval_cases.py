"""The cases of the evaluations: that they can be run, and ask for nothing that their texts do not say."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobchain.chains import CHAINS
from tests.conftest import ROOT

CASES = ROOT / "evals" / "cases"
FIELDS = {
    "guideline_checklist": {"items", "priorities", "at_most", "absent"},
    "extract_actions": {"actions", "absent"},
    "compare_guidelines": {"both", "only_first", "only_second", "contradictions", "absent"},
}
FILES = sorted(CASES.glob("*/*.json"))


def words(expect: Any) -> Iterator[str]:
    """All words that a case asks for, or that it forbids."""
    if isinstance(expect, str):
        yield expect
    elif isinstance(expect, list):
        for inner in expect:
            yield from words(inner)
    elif isinstance(expect, dict):
        for name, inner in expect.items():
            if name == "priorities":
                yield from inner
            else:
                yield from words(inner)


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_case_can_be_run_and_asks_only_for_what_its_text_says(file: Path) -> None:
    case = json.loads(file.read_text(encoding="utf-8"))

    assert case.keys() == {"name", "payload", "expect"}
    assert case["name"] == file.stem
    assert case["expect"].keys() <= FIELDS[file.parent.name]
    payload = CHAINS[file.parent.name].payload.model_validate(case["payload"])
    text = " ".join(map(str, payload.model_dump().values())).casefold()
    assert not [
        word for word in words(case["expect"]) if " ".join(word.split()).casefold() not in " ".join(text.split())
    ]


@pytest.mark.parametrize("chain", CHAINS)
def test_each_chain_has_cases_in_three_languages(chain: str) -> None:
    names = [file.stem for file in FILES if file.parent.name == chain]

    assert len(names) >= 6
    assert {"german", "japanese"} <= {name.partition("_")[0] for name in names}
