"""Writes texts as Markdown that shows them as they are: no text can break a table, or become markup.

The grammar: https://github.github.com/gfm/#tables-extension-
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence

# The ASCII punctuation without a meaning in a table's cell. No colon: it turns addresses into links.
_PLAIN = frozenset(" .,;'\"?%=/+-()")
# The start of an address without a colon: https://github.github.com/gfm/#autolinks-extension-
_WWW = re.compile(r"(www)\.", re.IGNORECASE)
# Joiners that scripts and emoji need; the other characters of their category only hide or reorder text.
_JOINERS = frozenset("\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with one line for each row. All texts are escaped, the header's too."""
    lines = [_line(header), "|" + " --- |" * len(header), *map(_line, rows)]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """`text` with its lines, of which none holds links, images or HTML."""
    lines = (_escape(line) for line in text.splitlines())
    # No address has a colon before a space, and a sentence is read better without its code.
    return "\n".join(re.sub(r"&#58;(?= |$)", ":", line) for line in lines)


def _line(cells: Sequence[str]) -> str:
    return "".join(f"| {_escape(cell)} " for cell in cells) + "|"


def _escape(text: str) -> str:
    """`text` on one line, with what Markdown or HTML could read as markup as decimal entity codes."""
    return _WWW.sub(r"\1&#46;", "".join(map(_character, " ".join(text.split()))))


def _character(c: str) -> str:
    if c.isascii() and c.isprintable():
        return c if c.isalnum() or c in _PLAIN else f"&#{ord(c)};"
    hidden = unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    return "" if hidden and c not in _JOINERS else c
