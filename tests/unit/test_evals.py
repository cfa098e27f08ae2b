"""The measures of the evaluations: what is good counts as good, and what is bad does not."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from evals import expectations, mermaid_check, report
from evals.chromium import MISSING
from evals.drawing import Drawing, DrawingError, NoBrowserError, draw, fault
from evals.expectations import Case
from evals.measures import Share, coverage, covers, is_backed, obligations, words
from evals.report import CaseRun, Run
from evals.subjects import SUBJECTS, Document, NoDocuments, documents
from jobchain.chains import CHAINS
from jobchain.mermaid import flowchart
from tests.conftest import ROOT
from tests.jobs import raw_job

RULES = "# Doors\n\nDoors must be locked at night. Keys should be changed every 90 days. The house is old.\n"


def test_obligations_are_the_sentences_that_oblige() -> None:
    text = (
        f"# You must read this\n\n{RULES}\n- Never lend keys.\n- Windows are closed.\n\nMust they? Mustard is yellow.\n"
    )

    assert obligations(text) == [
        "Doors must be locked at night.",
        "Keys should be changed every 90 days.",
        "Never lend keys.",
    ]


@pytest.mark.parametrize(
    "item",
    [
        "Doors must be locked at night.",
        "Lock every door at night",
        "At night, the locked doors are checked.",
    ],
)
def test_an_item_covers_a_sentence_that_it_shares_enough_words_with(item: str) -> None:
    assert covers(item, "Doors must be locked at night.")


@pytest.mark.parametrize(
    ("item", "why"),
    [
        ("Keys must be changed.", "it says something else"),
        ("You must make sure that they should always be there.", "it has only words that are in every text"),
        ("Doors should be painted once a year in the spring.", "one word is not enough"),
        ("", "it says nothing"),
        (
            "Doors, windows, cellars, roofs, garages, gardens, fences, bicycles, machines and computers must be"
            " locked, painted, cleaned, counted, insured and inspected at night.",
            "it says a bit of everything",
        ),
    ],
)
def test_an_item_does_not_cover_a_sentence_if(item: str, why: str) -> None:
    assert not covers(item, "Doors must be locked at night."), why


@pytest.mark.parametrize(
    ("one", "other"),
    [("Encryption keys", "encrypted key"), ("Changing classes", "changes a class"), ("API", "the APIs of 2")],
)
def test_forms_of_a_word_are_the_same_word(one: str, other: str) -> None:
    assert words(one) <= words(other)


def test_other_words_are_not() -> None:
    assert not words("authentication, password") & words("authorization, passport")


def test_an_item_with_another_number_covers_nothing() -> None:
    assert covers("Change keys every 90 days", "Keys should be changed every 90 days.")
    assert not covers("Change keys every 30 days", "Keys should be changed every 90 days.")
    assert not covers("Change keys every few days", "Keys should be changed every 90 days.")


def test_coverage_counts_obligations_and_not_items() -> None:
    assert coverage(RULES, ["Lock the doors at night", "Lock doors at night, please", "The house is old"]) == Share(
        1, 2
    )
    assert coverage(RULES, ["Lock the doors at night", "Keys are changed every 90 days"]) == Share(2, 2)
    assert coverage(RULES, []) == Share(0, 2)
    assert coverage("The house is old.", ["The house is old."]) == Share(0, 0)


def test_an_item_out_of_thin_air_is_not_backed() -> None:
    assert is_backed("Lock the doors at night", [RULES])
    assert not is_backed("Encrypt the database with a strong cipher", [RULES])
    assert not is_backed("Change keys every 30 days", [RULES])
    assert not is_backed("", [RULES])


def test_what_two_documents_have_in_common_is_backed_by_both() -> None:
    assert is_backed("Lock the doors at night", [RULES, "Each night the doors get locked."])
    assert not is_backed("Lock the doors at night", [RULES, "Windows must be closed."])


CHECKLIST: dict[str, Any] = {
    "checklist": ["Lock the doors.", "Change keys."],
    "checklist_items": [
        {"text": "Lock the doors.", "priority": "must", "source_found": True},
        {"text": "Change keys.", "priority": "should", "source_found": False},
    ],
}
ACTIONS: dict[str, Any] = {
    "actions": [
        {"action": "Write the report", "owner": "Alice Day", "due": "12 May", "source_found": True},
        {"action": "Call the vendor", "owner": None, "due": None, "source_found": True},
    ]
}
COMPARISON: dict[str, Any] = {
    "comparison": {
        "both": ["Lock the doors."],
        "only_first": ["Close windows."],
        "only_second": [],
        "contradictions": [{"first": "12 letters", "second": "8 letters", "explanation": "12 ≠ 8"}],
    }
}


def unmet(chain: str, result: dict[str, Any], expect: dict[str, Any]) -> list[str]:
    return Case(chain, "case", {}, expect).unmet(result)


@pytest.mark.parametrize(
    ("chain", "result", "expect"),
    [
        (
            "guideline_checklist",
            CHECKLIST,
            {
                "items": [["doors"], ["keys", "CHANGE"]],
                "priorities": {"doors": "must"},
                "at_most": 2,
                "absent": ["cat"],
            },
        ),
        (
            "extract_actions",
            ACTIONS,
            {
                "actions": [
                    {"action": ["vendor"], "owner": None},
                    {"action": ["report"], "owner": "alice", "due": "May"},
                ],
                "absent": ["cat"],
            },
        ),
        ("extract_actions", {"actions": []}, {"actions": []}),
        (
            "compare_guidelines",
            COMPARISON,
            {"both": [["door"]], "only_first": [["window"]], "only_second": [], "contradictions": [["12", "8"]]},
        ),
    ],
)
def test_a_result_that_is_as_expected_passes(chain: str, result: dict[str, Any], expect: dict[str, Any]) -> None:
    assert unmet(chain, result, expect) == []


@pytest.mark.parametrize(
    ("chain", "result", "expect", "complaint"),
    [
        ("guideline_checklist", CHECKLIST, {"items": [["doors", "keys"]]}, "no item has “doors” and “keys”"),
        (
            "guideline_checklist",
            CHECKLIST,
            {"priorities": {"keys": "must"}},
            "an item with “keys” is a “should”, not a “must”",
        ),
        ("guideline_checklist", CHECKLIST, {"at_most": 1}, "its items are 2, not at most 1"),
        ("guideline_checklist", CHECKLIST, {"absent": ["DOORS"]}, "an entry has “DOORS”"),
        ("extract_actions", ACTIONS, {"actions": [{"action": ["vendor"]}]}, "its actions are 2, not 1"),
        (
            "extract_actions",
            ACTIONS,
            {"actions": [{"action": ["vendor"], "owner": "Bob"}, {"action": ["report"]}]},
            "“vendor”: the owner is null, not “Bob”",
        ),
        (
            "extract_actions",
            ACTIONS,
            {"actions": [{"action": ["vendor"]}, {"action": ["report"], "due": None}]},
            "“report”: the due is “12 May”, not null",
        ),
        ("compare_guidelines", COMPARISON, {"only_first": []}, "“only first” has entries: 1"),
        ("compare_guidelines", COMPARISON, {"both": [["windows"]]}, "no entry of “both” has “windows”"),
        ("compare_guidelines", COMPARISON, {"contradictions": []}, "it has contradictions: 1"),
        ("compare_guidelines", COMPARISON, {"contradictions": [["8", "12"]]}, "no contradiction of “8” and “12”"),
    ],
)
def test_a_result_that_is_not_as_expected_is_told(
    chain: str, result: dict[str, Any], expect: dict[str, Any], complaint: str
) -> None:
    assert unmet(chain, result, expect) == [complaint]


def test_every_chain_is_evaluated_and_all_of_its_cases_are_understood() -> None:
    assert set(SUBJECTS) == set(CHAINS)
    assert all(expectations.read(chain) for chain in CHAINS)


@pytest.mark.parametrize("content", ["[]", "{", '{"name": "x", "payload": {}, "expect": {"itmes": []}}'])
def test_a_case_that_can_not_be_read_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "extract_actions" / "broken.json"
    path.parent.mkdir()
    path.write_text(content)

    with pytest.raises(expectations.CaseError, match=r"broken\.json"):
        expectations.read("extract_actions", tmp_path)


def test_a_folder_without_documents_is_named(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("It is no document.")

    with pytest.raises(NoDocuments, match=str(tmp_path)):
        documents(tmp_path)


def job(result: dict[str, Any], **more: Any) -> dict[str, Any]:
    ended: dict[str, Any] = {
        "started_at": "2026-11-22T10:00:00.000Z",
        "finished_at": "2026-11-22T10:00:02.500Z",
        "steps": [{"name": "checklist", "status": "completed", "model": "a-model"}],
        "calls": 3,
        "usage": {"input_tokens": 1234, "output_tokens": 56},
        "cost_usd": None,
        "result": result,
    }
    return raw_job(**(ended | more))


def test_the_page_tells_what_came_of_each_document_and_of_all() -> None:
    # given a document that went well, one that failed, and a case that did not pass
    runs = [
        Run("guideline_checklist", (Document("doors", RULES),), job(CHECKLIST), "yes"),
        Run(
            "guideline_checklist",
            (Document("empty", "Nothing."),),
            job({}, status="failed", error={"type": "model_unavailable", "message": "it is gone", "step": "summary"}),
        ),
    ]

    # when they are written down
    page = report.page(runs, [CaseRun("guideline_checklist", "visitors", ("no item has “x”",))], "", date(2026, 11, 22))

    # then the numbers are there, an unknown cost is no cost of 0, and nothing is left to be filled in
    numbers = "2 | 1 of 2 (50%) | 1 of 2 (50%) | 2 of 2 (100%) | {} | 3 | 1,234 | 56 | unknown | 2.5 |"
    assert f"| doors | {numbers.format('yes')}\n" in page
    assert f"| all | {numbers.format('1 of 1 (100%)')}\n" in page
    assert "| empty | the job failed in step summary&#58; model&#95;unavailable&#58; it is gone |" in page
    assert "| visitors | no item has “x” |" in page
    assert "2026-11-22" in page
    assert "`a-model`" in page
    assert "no GPT" not in page
    assert "$" not in page


def test_the_page_says_so_when_the_offline_model_answered() -> None:
    offline = job(CHECKLIST, steps=[{"name": "checklist", "model": "offline-extract-1-not-a-gpt"}])

    page = report.page([Run("guideline_checklist", (Document("doors", RULES),), offline)], [], "", date(2026, 11, 22))

    assert "The offline model is no GPT" in page


DIAGRAM = flowchart(
    [("a", 'say "no"'), ("b", "end")], [("a", "b", "so"), ("b", "a", "")], {"a": "topic", "b": "decision"}
)
NODES = (("n1", 'say "no"'), ("n2", "end"))
EDGES = (("n1", "so", "n2"), ("n2", "", "n1"))


def test_a_diagram_that_is_drawn_as_it_was_written_has_no_fault() -> None:
    assert fault(DIAGRAM, Drawing(nodes=NODES, edges=EDGES)) == ""


@pytest.mark.parametrize(
    ("drawing", "complaint"),
    [
        (Drawing(error="Parse error on line 2"), "Parse error"),
        (Drawing(nodes=(("n1", "n1"), ("n2", "end")), edges=EDGES), "of its nodes"),
        (Drawing(nodes=(("n1", "say &quot;no&quot;"), ("n2", "end")), edges=EDGES), "of its nodes"),
        (Drawing(nodes=(*NODES, ("x", "y")), edges=EDGES), "of its nodes"),
        (Drawing(nodes=NODES, edges=EDGES[:1]), "of its edges"),
    ],
)
def test_a_diagram_that_is_drawn_as_another_has_a_fault(drawing: Drawing, complaint: str) -> None:
    assert complaint in fault(DIAGRAM, drawing)


@pytest.fixture
def without_browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.delenv("REQUIRE_BROWSER", raising=False)


@pytest.mark.usefixtures("without_browser")
def test_without_a_browser_the_check_of_diagrams_says_that_it_drew_none(tmp_path: Path) -> None:
    said: list[str] = []

    mermaid_check.check(tmp_path, said.append)

    assert said == [f"mermaid-check: SKIPPED, no diagram was drawn: {MISSING}"]


@pytest.mark.usefixtures("without_browser")
def test_without_a_browser_the_check_of_diagrams_fails_where_one_is_required(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUIRE_BROWSER", "1")

    with pytest.raises(NoBrowserError, match="Chromium"):
        mermaid_check.check(tmp_path, print)


@pytest.mark.slow
def test_a_browser_that_does_not_start_is_an_error_that_names_it(tmp_path: Path) -> None:
    broken = tmp_path / "chromium"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)

    with pytest.raises(DrawingError, match=str(broken)):
        draw(str(broken), [DIAGRAM])


def test_the_jobs_of_the_check_are_a_hundred_of_all_chains_that_draw_and_the_same_each_time() -> None:
    plain = documents(ROOT / "examples")
    jobs = mermaid_check.requests(plain)

    assert len(jobs) == 100
    assert jobs == mermaid_check.requests(plain)
    assert {one.job_name for one in jobs} == {"guideline_checklist", "compare_guidelines"}
    for one in jobs:
        CHAINS[one.job_name].payload.model_validate(one.payload)
