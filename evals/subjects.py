"""Each chain as the evaluations see it: what it is run over, and what its result says of which document."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.demo import read_text
from local.errors import LocalError

Result = Mapping[str, Any]


class NoDocuments(LocalError):
    """There is nothing to run the chains over; says where it was looked for."""


@dataclass(frozen=True, slots=True)
class Document:
    """A text, by its file's name."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Item:
    """An entry of a result, and which of the job's documents it speaks for.

    `quote_found` tells whether the document has the quote that it came with; None where the chain gives none.
    """

    text: str
    speaks_for: tuple[int, ...] = (0,)
    quote_found: bool | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """How to run a chain over neighbouring documents, a few at a time, and how to read its result."""

    documents: int
    payload: Callable[[Sequence[Document]], dict[str, Any]]
    items: Callable[[Result], list[Item]]
    draws: bool


def _checklist_items(result: Result) -> list[Item]:
    return [Item(item["text"], quote_found=item["source_found"]) for item in result["checklist_items"]]


def _actions(result: Result) -> list[Item]:
    return [Item(action["action"], quote_found=action["source_found"]) for action in result["actions"]]


def _compared(result: Result) -> list[Item]:
    comparison = result["comparison"]
    return [
        *(Item(text, (0, 1)) for text in comparison["both"]),
        *(Item(text, (0,)) for text in comparison["only_first"]),
        *(Item(text, (1,)) for text in comparison["only_second"]),
        *(Item(pair["first"], (0,)) for pair in comparison["contradictions"]),
        *(Item(pair["second"], (1,)) for pair in comparison["contradictions"]),
    ]


def _compare_payload(documents: Sequence[Document]) -> dict[str, Any]:
    first, second = documents
    return {
        "first": first.text,
        "second": second.text,
        "first_name": first.name[:80],
        "second_name": second.name[:80],
    }


SUBJECTS: dict[str, Subject] = {
    "guideline_checklist": Subject(1, lambda one: {"guidelines": one[0].text}, _checklist_items, draws=True),
    "extract_actions": Subject(1, lambda one: {"text": one[0].text}, _actions, draws=False),
    "compare_guidelines": Subject(2, _compare_payload, _compared, draws=True),
}
"""By the chain's name: every chain is here."""


def documents(folder: Path) -> list[Document]:
    """The Markdown files of a folder, but for its README. Raises NoDocuments, TextError."""
    paths = [path for path in sorted(folder.glob("*.md")) if path.stem.upper() != "README"]
    if not paths:
        raise NoDocuments(f"{folder}: no Markdown file. Name a folder that has some, as in `make evals DOCUMENTS=docs`")
    return [Document(path.stem, read_text(path)) for path in paths]


def default_folder(root: Path) -> Path:
    """Guidelines that are at hand but not the project's own, else its examples."""
    shared = root.parent / "shared" / "guidelines"
    return shared if shared.is_dir() else root / "examples"
