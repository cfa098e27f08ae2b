"""What a reader sees of a text with Markdown and HTML in it: words without addresses, tags and the marks of lines.

What only looks like markup stays: `<Vmax`, `<A>`, `<security@acme.example>`, and all that is between backticks.
It works on one block at a time, as no markup goes on after a blank line, in time linear in the block's length.
"""

import html
import re
from collections.abc import Iterator

CELL = "\0"
"""What divides list items, cells and headings."""

CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1b]")
"""What no text has in a place that matters: these stand for others while a text is worked on."""

_OF_LINES = (
    "a abbr acronym b bdi bdo big cite code data del dfn em font i ins kbd label mark q s samp small span strike strong"
    " time tt u var wbr"
)
_OF_BLOCKS = (
    "address article aside audio blockquote body br button canvas caption center col colgroup dd details dialog div dl"
    " dt fieldset figcaption figure footer form h1 h2 h3 h4 h5 h6 head header hr html iframe img input legend li link"
    " main meta nav noscript ol optgroup option p picture pre script section select source style sub summary sup svg"
    " table tbody td template textarea tfoot th thead title tr ul video"
)
_INLINE = frozenset(_OF_LINES.split())
_ELEMENTS = _INLINE | frozenset(_OF_BLOCKS.split())
# Without attributes these are markup by themselves; any other needs its counterpart.
_ALONE = frozenset(("br", "hr", "wbr", "p", "li", "dt", "dd", "tr", "td", "th"))
_FLAGS = "async autofocus autoplay checked controls defer disabled hidden loop multiple muted open"
_BOOLEAN = frozenset(_FLAGS.split())

_VALUE = r"""\s*=\s*(?:"[^"<>]{0,500}"|'[^'<>]{0,500}'|[^\s"'<>=]{1,300})"""
_TAG = re.compile(rf"<(/?)([a-zA-Z][a-zA-Z0-9]{{0,12}})((?:\s++[a-zA-Z:@][\w:.@-]{{0,60}}+(?:{_VALUE})?)*+)\s*+/?>")
_ATTRIBUTE = re.compile(rf"([a-zA-Z:@][\w:.@-]{{0,60}}+)({_VALUE})?")
_IMAGE = re.compile(r"!\[[^\[\]]{0,500}\]\([^()]{0,2000}\)")
_LINK = re.compile(r"\[([^\[\]]{1,500})\](?:\((?:[^()]|\([^()]{0,500}\)){0,2000}+\)|\[[^\[\]]{0,200}\])")
_FOOTNOTE = re.compile(r"\[\^[^\[\]\s]{1,60}\](?!:)")
_BACKTICKS = re.compile(r"`+")
# Fewer than thousands of digits, as Python refuses to convert those.
_REFERENCE = re.compile(r"&(?:#[0-9]{1,20}|#[xX][0-9a-fA-F]{1,20}|[a-zA-Z][a-zA-Z0-9]{1,31});?")
_FENCE = re.compile(r"[ \t>]*(```|~~~)")

_QUOTED = re.compile(r"[ \t]*(?:>[ \t]?)+")
_SIGN = re.compile(r"[ \t]*>[ \t]?[-+]?\d")
_HEADING = re.compile(r"[ \t]*#{1,6}[ \t]+")
_BULLET = re.compile(r"[ \t]*[-*+•▪◦‣●○■□·][ \t]+(?:\[[ xX]\][ \t])?")
_ORDINAL = re.compile(r"[ \t]*\d{1,9}[.)][ \t]+(?:\[[ xX]\][ \t])?")
_NUMBER = re.compile(CELL + _ORDINAL.pattern)
_FIRST = frozenset("#>-*+•▪◦‣●○■□·0123456789=~^_|:")
"""What a mark, a number or a rule begins with."""
_RULE_MARKS = "-=~^*_"

# In code, what would be markup elsewhere is text: it is hidden from the patterns above.
_HIDDEN = {ord(character): chr(1 + number) for number, character in enumerate("<>[]()!")}
_SHOWN = {ord(hidden): chr(shown) for shown, hidden in _HIDDEN.items()}


def without_line_marks(block: str) -> str:
    """The block without the marks of its lines: of headings, quotes and lists, but for numbers, and without rules.

    A `CELL` is in the place of each mark, and before the number of an item.
    """
    lines = block.split("\n")
    after_quoted = True
    for place, line in enumerate(lines):
        first = line.lstrip()[:1]
        if first in _FIRST:
            lines[place] = _without_mark(line, after_quoted or _is_quoted(lines[place + 1 : place + 2]))
        after_quoted = first == ">"
    return "\n".join(lines)


def without_list_numbers(text: str) -> str:
    """A text from `without_line_marks` without the numbers of its lists' items."""
    return _NUMBER.sub(CELL, text)


def _is_quoted(lines: list[str]) -> bool:
    return any(line.lstrip()[:1] == ">" for line in lines)


def _without_mark(line: str, may_be_quoted: bool) -> str:
    # One line alone may begin with a sign: "must be\n> 12".
    if quoted := _QUOTED.match(line):
        if not may_be_quoted and _SIGN.match(line):
            return line
        line = line[quoted.end() :]
    if _is_rule(line):
        return CELL
    for mark in (_HEADING, _BULLET):
        if found := mark.match(line):
            return CELL + line[found.end() :]
    return CELL + line if _ORDINAL.match(line) else line


def _is_rule(line: str) -> bool:
    """Whether the line only underlines, or divides what is above and below it."""
    marks = "".join(line.split())
    return any(mark * 3 in marks for mark in _RULE_MARKS) and not marks.strip(f"{_RULE_MARKS}|:+")


def rendered(block: str, pairs: frozenset[str]) -> str:
    """The block without links' addresses, images, tags and references to footnotes.

    `pairs` are the elements that the whole text opens and closes (`paired_elements`).
    """
    if _FENCE.match(block):
        return block
    has_code = "`" in block
    if has_code:
        block = "".join(_with_code_hidden(block))
    if "<" in block:
        block = _TAG.sub(lambda tag: _replacement(tag, pairs), _without_comments(block))
    if "]" in block:
        block = _FOOTNOTE.sub("", _LINK.sub(r"\1", _IMAGE.sub("", block)))
    return block.translate(_SHOWN) if has_code else block


def paired_elements(blocks: list[str]) -> frozenset[str]:
    """The names of elements that have both a start tag and an end tag somewhere in the text."""
    opened: set[str] = set()
    closed: set[str] = set()
    for block in blocks:
        if "<" in block:
            for tag in _TAG.finditer(block):
                (closed if tag[1] else opened).add(tag[2].lower())
    return frozenset(opened & closed & _ELEMENTS)


def unescaped(text: str) -> str:
    """The text with characters in place of HTML's entities."""
    return _REFERENCE.sub(lambda found: html.unescape(found[0]), text) if "&" in text else text


def _with_code_hidden(block: str) -> Iterator[str]:
    """The block, with the characters of markup hidden where they are in code: between equal rows of backticks."""
    rows = [*_BACKTICKS.finditer(block)]
    nearest: dict[int, int] = {}
    closing = [0] * len(rows)
    for number in reversed(range(len(rows))):
        length = len(rows[number][0])
        closing[number] = nearest.get(length, 0)
        nearest[length] = number
    place = number = 0
    while number < len(rows):
        if end := closing[number]:
            yield block[place : rows[number].end()]
            yield block[rows[number].end() : rows[end].start()].translate(_HIDDEN)
            place, number = rows[end].start(), end
        number += 1
    yield block[place:]


def _without_comments(block: str) -> str:
    first, *others = block.split("<!--")
    return first + "".join(each.partition("-->")[2] if "-->" in each else f"<!--{each}" for each in others)


def _replacement(tag: re.Match[str], pairs: frozenset[str]) -> str:
    name = tag[2].lower()
    if name not in _ELEMENTS:
        return tag[0]
    attributes = _ATTRIBUTE.findall(tag[3])
    if not (
        all(value or attribute.lower() in _BOOLEAN for attribute, value in attributes)
        if attributes
        else name in pairs | _ALONE
    ):
        return tag[0]
    return "" if name in _INLINE else " "
