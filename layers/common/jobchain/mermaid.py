"""Writes Mermaid diagrams from nodes and edges, so that no model's answer can break a diagram.

The grammar: https://mermaid.js.org/syntax/flowchart.html

A diagram shows each label with its white space folded, and shortened where it is too long. Four more things change.
Characters that can't be drawn become U+FFFD: control characters, lone surrogates, noncharacters, annotation marks,
tags outside of a flag. A byte order mark is left out. So is a label without a visible character. A word joiner
separates "ﬂ°" and "¶ß", which Mermaid uses itself.

This is true for labels as HTML, which are Mermaid's default. With `htmlLabels: false` Mermaid 11 and 12 decode only the
codes of &, < and >, and show the others as codes.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Literal

# The ASCII punctuation that is not escaped inside a quoted label. No colon: after the word "style" on the same line
# Mermaid reads what follows it as CSS. No asterisk: older versions read it as Markdown.
_PLAIN = frozenset(" .,;!?-+/=()'")
_NAMED = {'"': "#quot;", "&": "#amp;", "<": "#lt;", ">": "#gt;"}
# Mermaid draws at most 50,000 characters. The longest labels of a node and of an edge, before they are escaped.
_LONGEST_NODE = 80
_LONGEST_EDGE = 30
# Mermaid's internal marks of the start and the end of an entity code: where both are next to each other, it reads one.
_INNER_MARK = re.compile("ﬂ(?=°)|¶(?=ß)")
_WORD_JOINER = "\u2060"
# What older versions read as a Markdown list, which they do not draw.
_LIST_MARKER = re.compile(r"^(\d*)([-+*.)])")
# What older versions read as a link, which they do not draw either.
_WEB_ADDRESS = re.compile(r"(www)\.", re.IGNORECASE)
# Mermaid reads this as a statement anywhere in a line, and drops the whole line without an error.
_DIRECTION = re.compile(r"direction (?=TB|BT|RL|LR|TD)")
# Tags are invisible. They spell the code of a region after a black flag, and may hide a text elsewhere.
_TAGS = re.compile("(\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f)|[\U000e0000-\U000e007f]")
_BYTE_ORDER_MARK = "\ufeff"  # white space in JavaScript, which trims labels
_REPLACEMENT = "\ufffd"
_ZERO_WIDTH_JOINER = "\u200d"
# Emoji and Persian need them, and a reader of the Mermaid text should see both as they are.
_JOINERS = frozenset("\u200c\u200d\u2060")
_FEW_DIGITS = 10_000

Shape = Literal["topic", "step", "decision"]
# The brackets of a label: round ends, a box, a diamond.
_BRACKETS: Mapping[Shape, tuple[str, str]] = {"topic": ("([", "])"), "step": ("[", "]"), "decision": ("{", "}")}


def flowchart(
    nodes: Iterable[tuple[str, str]],
    edges: Iterable[tuple[str, str, str]],
    shapes: Mapping[str, Shape] | None = None,
    direction: Literal["TD", "LR"] = "TD",
) -> str:
    """A flowchart, from the top down, or from left to right where many nodes share a level.

    `nodes` are (id, label), `edges` are (from id, to id, label; empty for none). Ids may be any text: the
    diagram has its own ids. Where nodes share an id, edges refer to the first. An edge to or from an unknown node
    is left out. A node's label is shortened to 80 characters, an edge's to 30. `shapes` are the shapes by
    node id; a node without one is a step.
    """
    ids: dict[str, str] = {}
    lines = [f"flowchart {direction}"]
    for number, (key, label) in enumerate(nodes, start=1):
        ids.setdefault(key, f"n{number}")
        start, end = _BRACKETS[(shapes or {}).get(key, "step")]
        lines.append(f'    n{number}{start}"{_escape(label, _LONGEST_NODE)}"{end}')
    for source, target, label in edges:
        if source in ids and target in ids:
            text = _escape(label, _LONGEST_EDGE)
            arrow = f'-->|"{text}"|' if text.strip() else "-->"
            lines.append(f"    {ids[source]} {arrow} {ids[target]}")
    return "\n".join(lines) + "\n"


def _escape(label: str, longest: int) -> str:
    """`label` shortened to `longest` characters, with entity codes for what Mermaid or HTML could read as markup."""
    known = _TAGS.sub(lambda tag: tag[1] or _REPLACEMENT, _shortened(label, longest))
    short = "".join(c if _can_be_drawn(c) else _REPLACEMENT for c in known)
    if not any(map(_is_visible, short)):
        return " "
    apart = _INNER_MARK.sub(rf"\g<0>{_WORD_JOINER}", short)
    escaped = "".join(c if _is_plain(c) else _entity(c) for c in apart)
    escaped = _WEB_ADDRESS.sub(rf"\1{_entity('.')}", escaped)
    escaped = _DIRECTION.sub(f"direction{_entity(' ')}", escaped)
    return _LIST_MARKER.sub(lambda marker: marker[1] + _entity(marker[2]), escaped)


def _shortened(label: str, longest: int) -> str:
    """`label` with its white space folded, and at most `longest` characters, the ellipsis included.

    It ends after a word if that keeps half of `longest`, else between two characters as a reader sees them.
    """
    folded = " ".join(label.replace(_BYTE_ORDER_MARK, "").split())
    if len(folded) <= longest:
        return folded
    last = longest - 1
    end = folded.rfind(" ", 0, last + 1)
    if end < longest / 2:
        end = next((place for place in range(last, longest // 2, -1) if not _continues(folded, place)), last)
    return folded[:end] + "…"


def _continues(text: str, place: int) -> bool:
    """Whether the character at `place` is drawn together with the one before it: an accent, or a part of an emoji."""
    before, here = text[place - 1], text[place]
    if _is_flag_letter(before) and _is_flag_letter(here):
        start = place
        while start and _is_flag_letter(text[start - 1]):
            start -= 1
        return (place - start) % 2 == 1  # a flag is two of them
    return (
        _ZERO_WIDTH_JOINER in (before, here)
        or unicodedata.category(here).startswith("M")
        or "\U0001f3fb" <= here <= "\U0001f3ff"  # skin tones
        or "\U000e0020" <= here <= "\U000e007f"  # tags, as in a flag of Wales
    )


def _is_flag_letter(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _can_be_drawn(character: str) -> bool:
    """Whether HTML and XML allow the character, and it has a meaning in plain text."""
    if unicodedata.category(character) in ("Cc", "Cs") or "\ufff9" <= character <= "\ufffb":
        return False
    return ord(character) & 0xFFFE != 0xFFFE and not 0xFDD0 <= ord(character) <= 0xFDEF


def _is_visible(character: str) -> bool:
    """Whether the character is drawn on its own. Mermaid can't place an edge's label of no width."""
    return character != " " and not unicodedata.category(character).startswith(("Cf", "M"))


def _is_plain(character: str) -> bool:
    if character.isascii():
        return character.isalnum() or character in _PLAIN
    # A reader of the Mermaid text should see characters that are invisible or reorder text. Codes of more digits
    # would make the longest diagram longer than Mermaid draws.
    return character in _JOINERS or unicodedata.category(character) != "Cf" or ord(character) >= _FEW_DIGITS


def _entity(character: str) -> str:
    return _NAMED.get(character, f"#{ord(character)};")
