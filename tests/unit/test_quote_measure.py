"""What `python -m evals quotes` measures, and that it sees a checker that is wrong."""

from pathlib import Path
from random import Random

import pytest

from evals import quotes
from evals.quotes import ALTERATIONS, as_written, cuts, measure, on_pages, shown, without_pages
from local.errors import LocalError
from tests.conftest import ROOT

EXAMPLES = ROOT / "examples"


class Credulous:
    """A checker that finds everything."""

    def __init__(self, text: str) -> None:
        self.text = text

    def holds(self, _quote: str) -> bool:
        return True


class Blind(Credulous):
    """A checker that finds nothing."""

    def holds(self, _quote: str) -> bool:
        return False


def test_every_sentence_of_the_examples_is_found_and_no_altered_one() -> None:
    measured = measure(EXAMPLES, 100, seed=1)

    assert measured.missed == []
    assert measured.taken == []
    assert measured.sentences.keys() == {"read", "written", "page"}
    assert all(count >= 20 for count in measured.sentences.values())
    assert measured.altered.total() >= 40


def test_a_checker_that_is_wrong_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quotes, "Original", Credulous)
    credulous = measure(EXAMPLES, 100, seed=1)
    monkeypatch.setattr(quotes, "Original", Blind)
    blind = measure(EXAMPLES, 100, seed=1)

    assert (len(credulous.missed), len(credulous.taken)) == (0, credulous.altered.total())
    assert (len(blind.missed), len(blind.taken)) == (blind.sentences.total(), 0)
    assert f"not found: {len(blind.missed)}" in shown(blind, 1)


def test_an_altered_sentence_that_the_document_has_anyway_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ALTERATIONS, "word", (ALTERATIONS["word"][0], lambda sentence, _words, _chance: "Keys rust."))
    found = ["Doors must be locked.", "Keys rust."]

    def changed(text: str) -> list[str]:
        return [*quotes._changed(text, found[:1], ALTERATIONS["word"], Random(1))]

    assert changed("Doors must be locked. Keys rust.") == []
    assert changed("Doors must be locked.") == ["Keys rust."]


def test_the_pages_have_hyphens_at_the_ends_of_lines_and_footers() -> None:
    words = "all administrators regularly rotate their authentication credentials " * 60

    page = on_pages([words.strip()], Random(1))

    assert "-\n" in page
    assert max(map(len, page.splitlines())) <= 80
    assert "Page 1" in page or "\n1\n" in page or "- 1 -" in page


def test_sentences_are_cut_without_the_ends_of_pages() -> None:
    end = "\n\nLee        Standards       [Page 2]\n\nRFC 1     Rules     May 2026\n\n"
    text = f"All users must{end}change it. Then they go.\n"

    assert as_written(without_pages(text)) == ["All users must change it.", "Then they go."]
    assert [way for way, _, _ in cuts(text, Random(1))] == ["read", "written", "page"]


def test_a_folder_without_documents_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match=r"no \.md or \.txt file"):
        measure(tmp_path, 10, seed=1)
