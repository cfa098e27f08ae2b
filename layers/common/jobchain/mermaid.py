"""Writes Mermaid text from nodes and edges, so that no model's answer can break a diagram.

The grammar: https://mermaid.js.org/syntax/flowchart.html
"""

import re
from collections.abc import Iterable

# Left as they are inside a quoted label; all else but letters and digits becomes an entity code. No colon:
# after the word "style" on the same line Mermaid takes what follows it for CSS.
_PLAIN = frozenset(" .,!?-+*/=()'…–—‘’“”")
# What Mermaid takes for a Markdown list, which it does not draw.
_LIST_MARKER = re.compile(r"^(\d*)([-+*.)])")


def flowchart(nodes: Iterable[tuple[str, str]], edges: Iterable[tuple[str, str, str]]) -> str:
    """A top-down flowchart.

    `nodes` are (id, label), `edges` are (from id, to id, label; empty for none). Ids may be any text: the
    diagram gets ids of its own. Of nodes that share an id, edges mean the first. An edge to or from a node that
    is not there is left out.
    """
    ids: dict[str, str] = {}
    lines = ["flowchart TD"]
    for number, (key, label) in enumerate(nodes, start=1):
        ids.setdefault(key, f"n{number}")
        lines.append(f'    n{number}["{_escape(label)}"]')
    for source, target, label in edges:
        if source in ids and target in ids:
            arrow = f'-->|"{_escape(label)}"|' if label.strip() else "-->"
            lines.append(f"    {ids[source]} {arrow} {ids[target]}")
    return "\n".join(lines) + "\n"


def _escape(label: str) -> str:
    """`label` on one line, with whatever Mermaid or HTML could read as markup as decimal entity codes."""
    folded = " ".join(label.split()) or " "
    escaped = "".join(c if c.isalnum() or c in _PLAIN else _entity(c) for c in folded)
    return _LIST_MARKER.sub(lambda marker: marker[1] + _entity(marker[2]), escaped)


def _entity(character: str) -> str:
    return f"#{ord(character)};"
