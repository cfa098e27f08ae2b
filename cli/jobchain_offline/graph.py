"""A checklist as a graph: its categories, its items in order, and the conditions under which they apply.

Nothing is invented: each label is a piece of the text, but for "yes" and "no".
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from jobchain_offline.extract import Passage, cut, steps, strength

Kind = Literal["topic", "step", "decision"]

MAX_LABEL = 60  # characters
MAX_COLUMNS = 4  # of categories side by side; more are too wide to be read

_STARTS = re.compile(r"(?P<word>If|When|Unless)\s(?P<condition>[^,;:]+),\s(?:then\s)?(?P<rest>.+)", re.DOTALL)
_ENDS = re.compile(r"(?P<rest>.+?),?\s(?P<word>if|when|unless)\s(?P<condition>[^,;:]{1,60}?)[.!]?", re.DOTALL)
_FEWEST_WORDS = 3  # of the text before a condition
_OTHERWISE = re.compile(r"[,;.]\s(?:otherwise|if not|else),?\s", re.IGNORECASE)
# "only if", "even when", "asks if": what follows such a word is no condition of the whole item.
_NO_CONDITION = re.compile(
    r"\b(?:only|even|except|as|and|or|but|(?:ask|check|know|decide|document|record|log)s?)$", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Node:
    """A node; `number` counts from 1 in the graph."""

    number: int
    label: str
    kind: Kind = "step"


@dataclass(frozen=True, slots=True)
class Edge:
    """An edge between nodes, by their numbers."""

    source: int
    target: int
    label: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """An item: what to do, under which condition, and what to do otherwise; empty for none.

    With `unless` it applies where the condition does not hold.
    """

    action: str
    condition: str = ""
    unless: bool = False
    otherwise: str = ""


def rule(item: str) -> Rule:
    """The item with its condition told apart, where it begins or ends with one."""
    match = _STARTS.fullmatch(item) or _ENDS.fullmatch(item)
    if match is None or (match.re is _ENDS and not _is_whole(match["rest"])):
        return Rule(item)
    action, *others = _OTHERWISE.split(match["rest"], maxsplit=1)
    unless = match["word"].lower() == "unless"
    actions = [_ended(_sentence(one)) for one in (action, *others)]
    return Rule(actions[0], f"{_sentence(match['condition'])}?", unless, *actions[1:])


def _is_whole(action: str) -> bool:
    """Whether the text before a condition is an obligation without it."""
    return len(action.split()) >= _FEWEST_WORDS and strength(action) > 0 and not _NO_CONDITION.search(action)


def _sentence(words: str) -> str:
    """The words with a capital letter at their start."""
    return words[:1].upper() + words[1:]


def _ended(words: str) -> str:
    """The words with a full stop at their end, where they have no other end."""
    return words if words.endswith((".", "!", "?")) else f"{words}."


@dataclass(frozen=True, slots=True)
class Group:
    """Items of one category; the name is empty where there is nothing to tell apart."""

    name: str
    items: tuple[str, ...]


@lru_cache(maxsize=4)
def draw(text: str, most: int) -> "Graph":
    """The graph of a checklist in Markdown, of at most `most` nodes.

    Categories are its headings. They are drawn where there are several, with their items below, in up to `MAX_COLUMNS`
    columns. Where conditions or categories would make too many nodes, they are left out.
    """
    passages = steps(text, most)
    groups = _groups(passages)
    plain = [Group("", tuple(one.text for one in passages))]
    graph = Graph()
    for columns, conditions in ((_columns(groups), True), (_columns(groups), False), ([plain], False)):
        graph = Graph()
        for column in columns:
            graph.add(column, conditions=conditions)
        if len(graph.nodes) <= most:
            break
    return graph


@dataclass(slots=True)
class Graph:
    """What is drawn of a checklist."""

    nodes: list[Node] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)

    def add(self, column: Sequence[Group], *, conditions: bool) -> None:
        """Draws groups one below the other; their items' conditions as decisions, if wanted."""
        loose: list[tuple[int, str]] = []  # ends that lead to the next node: its number and the edge's label
        for group in column:
            if group.name:
                loose = [(self._add(group.name, "topic", loose), "")]
            for item in group.items:
                loose = self._item(rule(item) if conditions else Rule(item), loose)

    def _item(self, item: Rule, loose: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
        """Draws an item below the loose ends; gives those that it leaves."""
        if not item.condition:
            return [(self._add(item.action, "step", loose), "")]
        holds, fails = ("no", "yes") if item.unless else ("yes", "no")
        decision = self._add(item.condition, "decision", loose)
        ends = [(self._add(item.action, "step", [(decision, holds)]), "")]
        if item.otherwise:
            return [*ends, (self._add(item.otherwise, "step", [(decision, fails)]), "")]
        return [*ends, (decision, fails)]

    def _add(self, label: str, kind: Kind, above: Sequence[tuple[int, str]]) -> int:
        """Adds a node with an edge from each of the ends above; gives its number."""
        node = Node(len(self.nodes) + 1, _label(label), kind)
        self.nodes.append(node)
        self.edges += [Edge(source, node.number, word) for source, word in above]
        return node.number


def _groups(passages: Sequence[Passage]) -> list[Group]:
    """The items by category, in the order in which these first appear."""
    found: dict[str, list[str]] = {}
    for one in passages:
        found.setdefault(one.heading, []).append(one.text)
    return [Group(name if len(found) > 1 else "", tuple(items)) for name, items in found.items()]


def _columns(groups: Sequence[Group]) -> list[list[Group]]:
    """The groups in order, in columns of about as many items each."""
    total = sum(len(group.items) for group in groups)
    columns: list[list[Group]] = [[] for _ in range(min(MAX_COLUMNS, len(groups)))]
    before = 0
    for group in groups:
        middle = before + len(group.items) / 2
        columns[int(middle * len(columns) / total)].append(group)
        before += len(group.items)
    return [column for column in columns if column]


def _label(text: str) -> str:
    return text if len(text) <= MAX_LABEL else cut(text, MAX_LABEL - 1) + "…"
