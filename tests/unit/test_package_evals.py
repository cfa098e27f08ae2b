"""The eval cases of an author's own package: found, checked by its functions, and told on the page."""

import json
import sys
from datetime import date
from pathlib import Path

import pytest

from evals import packages, report
from evals.expectations import Case, CaseError
from evals.report import CaseRun
from jobchain.chains.loading import load
from jobchain.testing import run_chain
from jobchain_cli.new_chain import make
from tests.jobs import raw_job

RESULT = {"duties": ["Doors must be locked at night.", "Lost keys must be reported to the front desk."]}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """What `jobchain new` makes."""
    make("eval_rules", tmp_path)
    return tmp_path / "eval_rules"


def only(package: Path) -> Case:
    (case,) = packages.read({"eval_rules": package})["eval_rules"]
    return case


def write_case(package: Path, content: object) -> None:
    file = package / "evals" / "eval_rules" / "keys.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def test_a_new_package_has_a_case_that_its_checks_judge(package: Path) -> None:
    case = only(package)

    assert (case.chain, case.name) == ("eval_rules", "keys")
    assert case.unmet(RESULT) == []
    assert case.unmet({"duties": ["Wash.", "Lock the doors at night.", "Sing."]}) == [
        "no duty has keys and front desk",
        "its duties are 3, not 2 at most",
    ]


def test_the_case_of_a_new_package_is_a_payload_of_its_chain(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(package))
    chain = load("eval_rules:chain")
    del sys.modules["eval_rules"]

    run = run_chain(chain, only(package).payload, {"summary": "Locked.", "duties": RESULT["duties"]})

    assert only(package).unmet(run.result) == []


def test_checks_may_use_the_packages_own_code(package: Path) -> None:
    checks = package / "evals" / "eval_rules.py"
    checks.write_text("import eval_rules_words\n\ndef no(result, wanted):\n    return eval_rules_words.told(wanted)\n")
    (package / "src").mkdir()
    (package / "src" / "eval_rules_words.py").write_text("def told(wanted):\n    return [f'no {wanted}']\n")
    write_case(package, {"payload": {}, "expect": {"no": "rain"}})

    assert only(package).unmet({}) == ["no rain"]


def test_a_check_that_raises_is_told_and_stops_nothing(package: Path) -> None:
    assert only(package).unmet({}) == [
        "the check duties of eval_rules.py raised KeyError: 'duties'",
        "the check at_most of eval_rules.py raised KeyError: 'duties'",
    ]


def test_a_package_without_cases_has_none(package: Path, tmp_path: Path) -> None:
    (package / "evals" / "eval_rules" / "keys.json").unlink()

    assert packages.read({"eval_rules": package, "other": tmp_path}) == {}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "JSONDecodeError"),
        ({"payload": {}}, "KeyError: 'expect'"),
        ({"payload": [1], "expect": {}}, "TypeError"),
        ({"payload": {}, "expect": {"duty": []}}, r"no check duty: use one of .*eval_rules\.py \(at_most, duties\)"),
    ],
)
def test_a_case_that_can_not_be_read_names_its_file(package: Path, content: object, told: str) -> None:
    write_case(package, content)

    with pytest.raises(CaseError, match=rf"keys\.json: .*{told}"):
        packages.read({"eval_rules": package})


def test_checks_that_can_not_be_imported_name_their_file(package: Path) -> None:
    (package / "evals" / "eval_rules.py").write_text("import nothing_of_this_name\n")

    with pytest.raises(CaseError, match=r"eval_rules\.py can't be imported: ModuleNotFoundError"):
        packages.read({"eval_rules": package})


def test_the_page_tells_which_cases_passed_and_what_they_cost(package: Path) -> None:
    job = raw_job(
        started_at="2026-11-22T10:00:00.000Z",
        finished_at="2026-11-22T10:00:02.500Z",
        steps=[{"name": "summary", "status": "completed", "model": "a-model"}],
        calls=2,
        usage={"input_tokens": 1234, "output_tokens": 56},
        cost_usd=0.01,
        result=RESULT,
    )
    runs = [CaseRun("eval_rules", "keys", (), job), CaseRun("eval_rules", "doors", ("no duty has doors",), job)]

    page = report.page([], runs, "", date(2026, 11, 22))

    assert "## eval_rules\n\n| case | 1 of 2 (50%) passed |\n" in page
    assert "| keys | passed |\n| doors | no duty has doors |" in page
    assert "The jobs of these cases made 4 calls with 2,468 tokens in and 112 out, for 0.0200 USD." in page
    assert "`a-model`" in page
