"""The cases of the shipped chains, and what of them a result does not meet; their README has the words for it."""

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.subjects import SUBJECTS
from local.errors import LocalError

FOLDER = Path(__file__).parent / "cases"

Result = Mapping[str, Any]
Check = Callable[[Result, Any, "Case"], Iterable[str]]
"""Tells in words what of a case's expectation a result does not meet."""


class CaseError(LocalError):
    """A case can't be read; says which and why."""


@dataclass(frozen=True, slots=True)
class Case:
    """What a chain is given, and what is expected of its result, by the names of `checks`."""

    chain: str
    name: str
    payload: Mapping[str, Any]
    expect: Mapping[str, Any]
    checks: "Mapping[str, Check]" = dataclasses.field(default_factory=lambda: _CHECKS)

    def unmet(self, result: Result) -> list[str]:
        """What was expected in vain, in words."""
        return [fault for key, wanted in self.expect.items() for fault in self.checks[key](result, wanted, self)]


def read(chain: str, folder: Path = FOLDER) -> list[Case]:
    """The cases of a chain. Raises CaseError."""
    return [_case(chain, path) for path in sorted((folder / chain).glob("*.json"))]


def _case(chain: str, path: Path) -> Case:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        case = Case(chain, found["name"], found["payload"], found["expect"])
    except (ValueError, KeyError, TypeError) as error:
        raise CaseError(f"{path}: not a case ({type(error).__name__}: {error}): see README.md in {FOLDER}") from error
    if unknown := set(case.expect) - set(_CHECKS):
        raise CaseError(f"{path}: unknown expectation: {', '.join(sorted(unknown))}: see README.md in {FOLDER}")
    return case


def _has(text: str, words: list[str]) -> bool:
    return all(word.casefold() in text.casefold() for word in words)


def _named(words: list[str]) -> str:
    return " and ".join(f"“{word}”" for word in words)


def _absent(result: Result, words: list[str], case: Case) -> Iterator[str]:
    texts = [item.text for item in SUBJECTS[case.chain].items(result)]
    yield from (f"an entry has {_named([word])}" for word in words if any(_has(text, [word]) for text in texts))


def _items(result: Result, wanted: list[list[str]], _case: Case) -> Iterator[str]:
    for words in wanted:
        if not any(_has(item["text"], words) for item in result["checklist_items"]):
            yield f"no item has {_named(words)}"


def _priorities(result: Result, wanted: Mapping[str, str], _case: Case) -> Iterator[str]:
    for words, priority in wanted.items():
        others = {item["priority"] for item in result["checklist_items"] if _has(item["text"], [words])} - {priority}
        if others:
            yield f"an item with {_named([words])} is a “{min(others)}”, not a “{priority}”"


def _at_most(result: Result, most: int, _case: Case) -> Iterator[str]:
    if (number := len(result["checklist_items"])) > most:
        yield f"its items are {number}, not at most {most}"


def _actions(result: Result, wanted: list[Mapping[str, Any]], _case: Case) -> Iterator[str]:
    actions = result["actions"]
    if len(actions) != len(wanted):
        yield f"its actions are {len(actions)}, not {len(wanted)}"
    for one in wanted:
        same = [action for action in actions if _has(action["action"], one["action"])]
        if not same:
            yield f"no action has {_named(one['action'])}"
        for field in ("owner", "due"):
            if same and field in one and not any(_is(action[field], one[field]) for action in same):
                yield f"{_named(one['action'])}: the {field} is {_said(same[0][field])}, not {_said(one[field])}"


def _said(field: str | None) -> str:
    return "null" if field is None else f"“{field}”"


def _is(found: str | None, wanted: str | None) -> bool:
    return found is None if wanted is None else _has(found or "", [wanted])


def _entries(name: str) -> Callable[[Result, list[list[str]], Case], Iterator[str]]:
    said = name.replace("_", " ")

    def check(result: Result, wanted: list[list[str]], _case: Case) -> Iterator[str]:
        texts = result["comparison"][name]
        if not wanted and texts:
            yield f"“{said}” has entries: {len(texts)}"
        yield from (
            f"no entry of “{said}” has {_named(words)}" for words in wanted if not any(_has(t, words) for t in texts)
        )

    return check


def _contradictions(result: Result, wanted: list[list[str]], _case: Case) -> Iterator[str]:
    pairs = result["comparison"]["contradictions"]
    if not wanted and pairs:
        yield f"it has contradictions: {len(pairs)}"
    for first, second in wanted:
        if not any(_has(pair["first"], [first]) and _has(pair["second"], [second]) for pair in pairs):
            yield f"no contradiction of {_named([first])} and {_named([second])}"


_CHECKS: Mapping[str, Check] = {
    "absent": _absent,
    "items": _items,
    "priorities": _priorities,
    "at_most": _at_most,
    "actions": _actions,
    "both": _entries("both"),
    "only_first": _entries("only_first"),
    "only_second": _entries("only_second"),
    "contradictions": _contradictions,
}
