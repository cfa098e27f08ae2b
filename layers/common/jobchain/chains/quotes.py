"""Finds out whether a text contains a quote, whatever markup either of them has.

The comparison ignores white space, case, Markdown's marks, links' addresses, HTML tags, the shape of quotation marks
and dashes, and invisible characters. Everything else counts, such as numbers, signs and word order. It takes time
linear in the text's length.

A letter with more than `MOST_MARKS` combining marks, which no language has, is compared in pieces of that many marks: a
quote that begins between its marks may not be found.
"""

import html
import re
import unicodedata
from functools import lru_cache

from jobchain.chains.normalizing import BREAK, nfkc

# No markup continues after one: https://spec.commonmark.org/0.31.2/#blank-lines
_BLANK_LINES = re.compile(r"\n(?:[ \t\r]*\n)+")
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,200}>")
_IMAGE = re.compile(r"!\[[^\[\]]{0,500}\]\([^()]{0,2000}\)")
_LINK = re.compile(r"\[([^\[\]]{1,500})\](?:\((?:[^()]|\([^()]{0,500}\)){0,2000}+\)|\[[^\[\]]{0,200}\])")
# Fewer than thousands of digits, as Python refuses to convert those.
_REFERENCE = re.compile(r"&(?:#[0-9]{1,20}|#[xX][0-9a-fA-F]{1,20}|[a-zA-Z][a-zA-Z0-9]{1,31});?")
# The start of a line: of a heading, a quote, or a list.
_LINE_MARK = re.compile(r"^[ \t]*(?:#{1,6}[ \t]|(?:>[ \t]?)+)[ \t]*", re.MULTILINE)
_LIST_MARK = re.compile(r"^\s*(?:[-*+•]|\d{1,9}[.)])\s+(?:\[[ xX]\]\s)?")
_MARKS = re.compile(rf"[*_`~|\\{BREAK}]")
_ENDS = " .!?…。！？:;,\"'()"

# Words of a name or a date that are searched for one by one: each search may read the whole text.
_MOST_WORDS = 10

_SAME = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′`´", "'"),
        **dict.fromkeys("“”„‟″«»‹›「」『』", '"'),
        **dict.fromkeys("‐‑‒–—―−", "-"),
    }
)


@lru_cache(maxsize=10)
def original(text: str) -> "Original":
    """The text, ready for searches. Cached, as it takes a while to make, and each part of a long text needs it."""
    return Original(text)


class Original:
    """A text in which quotes are searched for."""

    def __init__(self, text: str) -> None:
        self._plain = _plain(text)

    def holds(self, quote: str) -> bool:
        """Whether the text contains the quote; marks and punctuation at its start and end may differ."""
        plain = _plain(_LIST_MARK.sub("", quote)).strip(_ENDS)
        return bool(plain) and plain in self._plain

    def has_words_of(self, phrase: str) -> bool:
        """Whether the text contains every word of a name or a date. It must contain a long phrase as a whole."""
        words = set(re.findall(r"\w+", phrase))
        if len(words) > _MOST_WORDS:
            return self.holds(phrase)
        return bool(words) and all(_plain(word) in self._plain for word in words)


def _plain(text: str) -> str:
    blocks = _BLANK_LINES.split(_LINE_MARK.sub("", text))
    text = _MARKS.sub("", "\n".join(map(_without_markup, blocks)))
    text = nfkc(text.translate(_SAME)).casefold()
    # White space is removed, not folded: in scripts without spaces, the end of a line means nothing.
    return "".join(c for c in text if not c.isspace() and c != BREAK and unicodedata.category(c) != "Cf")


def _without_markup(block: str) -> str:
    """A paragraph without links' addresses, images and tags, and with characters in place of entities."""
    return _unescaped(_TAG.sub("", _LINK.sub(r"\1", _IMAGE.sub("", block))))


def _unescaped(text: str) -> str:
    return _REFERENCE.sub(lambda found: html.unescape(found[0]), text)
