"""Writes Mermaid text from nodes and edges, so that no model's answer can break a diagram.

The grammar: https://mermaid.js.org/syntax/flowchart.html
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Literal

# The ASCII punctuation that is left as it is inside a quoted label. No colon: after the word "style" on the same line
# Mermaid takes what follows it for CSS.
_PLAIN = frozenset(" .,!?-+*/=()'")
# What begins and ends an entity in Mermaid's own workings: a text that has it would be read as one.
_INNER_MARKS = frozenset("ﬂ¶")
# Mermaid draws no more than 50,000 characters: a node's label and an edge's label, before they are escaped.
_LONGEST_NODE = 80
_LONGEST_EDGE = 30
# What Mermaid takes for a Markdown list, which it does not draw.
_LIST_MARKER = re.compile(r"^(\d*)([-+*.)])")
# What Mermaid takes for a statement wherever it stands, so that the whole line is lost without an error.
_DIRECTION = re.compile(r"direction (?=TB|BT|RL|LR|TD)")

Shape = Literal["topic", "step", "decision"]
# What encloses a label: round ends, a box, a diamond.
_BRACKETS: Mapping[Shape, tuple[str, str]] = {"topic": ("([", "])"), "step": ("[", "]"), "decision": ("{", "}")}


def flowchart(
    nodes: Iterable[tuple[str, str]],
    edges: Iterable[tuple[str, str, str]],
    shapes: Mapping[str, Shape] | None = None,
) -> str:
    """A top-down flowchart.

    `nodes` are (id, label), `edges` are (from id, to id, label; empty for none). Ids may be any text: the
    diagram gets ids of its own. Of nodes that share an id, edges mean the first. An edge to or from a node that
    is not there is left out. `shapes` are the shapes by node id; a node without one is a step.
    """
    ids: dict[str, str] = {}
    lines = ["flowchart TD"]
    for number, (key, label) in enumerate(nodes, start=1):
        ids.setdefault(key, f"n{number}")
        start, end = _BRACKETS[(shapes or {}).get(key, "step")]
        lines.append(f'    n{number}{start}"{_escape(label, _LONGEST_NODE)}"{end}')
    for source, target, label in edges:
        if source in ids and target in ids:
            arrow = f'-->|"{_escape(label, _LONGEST_EDGE)}"|' if label.strip() else "-->"
            lines.append(f"    {ids[source]} {arrow} {ids[target]}")
    return "\n".join(lines) + "\n"


def _escape(label: str, longest: int) -> str:
    """`label` on one line, cut at a word, with what Mermaid or HTML could read as markup as decimal entity codes."""
    short = " ".join(label.split()) or " "
    if len(short) > longest:
        cut = short[: longest - 1]
        short = (cut.rpartition(" ")[0] or cut) + "…"
    escaped = "".join(c if _is_plain(c) else _entity(c) for c in short)
    escaped = _DIRECTION.sub(f"direction{_entity(' ')}", escaped)
    return _LIST_MARKER.sub(lambda marker: marker[1] + _entity(marker[2]), escaped)


def _is_plain(character: str) -> bool:
    if character.isascii():
        return character.isalnum() or character in _PLAIN
    return character not in _INNER_MARKS and not unicodedata.category(character).startswith(("C", "Z"))


def _entity(character: str) -> str:
    return f"#{ord(character)};"
