"""Tells whether a quote stands in a text, however the two are marked up.

What does not count: white space, case, Markdown's marks, links' addresses, HTML tags, the shape of quotation marks and
dashes, and characters that can't be seen. Everything else does, such as numbers, signs and word order. The time that
it takes is linear in the text's length.

A letter with more than `MOST_MARKS` combining marks, as no language has, is compared in pieces of as many: a quote that
begins in the midst of its marks may not be found.
"""

import html
import re
import unicodedata
from functools import lru_cache

from jobchain.chains.normalizing import BREAK, nfkc

# No markup goes on after one: https://spec.commonmark.org/0.31.2/#blank-lines
_BLANK_LINES = re.compile(r"\n(?:[ \t\r]*\n)+")
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,200}>")
_IMAGE = re.compile(r"!\[[^\[\]]{0,500}\]\([^()]{0,2000}\)")
_LINK = re.compile(r"\[([^\[\]]{1,500})\](?:\((?:[^()]|\([^()]{0,500}\)){0,2000}+\)|\[[^\[\]]{0,200}\])")
# Not those with thousands of digits, which Python refuses to read.
_REFERENCE = re.compile(r"&(?:#[0-9]{1,20}|#[xX][0-9a-fA-F]{1,20}|[a-zA-Z][a-zA-Z0-9]{1,31});?")
# What begins a line: of a heading, a quote, or a list.
_LINE_MARK = re.compile(r"^[ \t]*(?:#{1,6}[ \t]|(?:>[ \t]?)+)[ \t]*", re.MULTILINE)
_LIST_MARK = re.compile(r"^\s*(?:[-*+•]|\d{1,9}[.)])\s+(?:\[[ xX]\]\s)?")
_MARKS = re.compile(rf"[*_`~|\\{BREAK}]")
_ENDS = " .!?…。！？:;,\"'()"

# Words of a name or a date that are looked up each by itself: each may cost a look through the whole text.
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
    """The text, ready to be looked into. A long one is asked for by each of its parts, and takes a while to read."""
    return Original(text)


class Original:
    """A text that quotes are looked up in."""

    def __init__(self, text: str) -> None:
        self._plain = _plain(text)

    def holds(self, quote: str) -> bool:
        """Whether the quote stands in the text; how it begins and ends may differ in marks and punctuation."""
        plain = _plain(_LIST_MARK.sub("", quote)).strip(_ENDS)
        return bool(plain) and plain in self._plain

    def has_words_of(self, phrase: str) -> bool:
        """Whether every word of a name or a date is somewhere in the text; a long phrase has to be there as a whole."""
        words = set(re.findall(r"\w+", phrase))
        if len(words) > _MOST_WORDS:
            return self.holds(phrase)
        return bool(words) and all(_plain(word) in self._plain for word in words)


def _plain(text: str) -> str:
    blocks = _BLANK_LINES.split(_LINE_MARK.sub("", text))
    text = _MARKS.sub("", "\n".join(map(_without_markup, blocks)))
    text = nfkc(text.translate(_SAME)).casefold()
    # Not folded but left out: between scripts without spaces, a line's end means nothing.
    return "".join(c for c in text if not c.isspace() and c != BREAK and unicodedata.category(c) != "Cf")


def _without_markup(block: str) -> str:
    """A paragraph without links' addresses, images, tags, and with the characters that entities stand for."""
    return _unescaped(_TAG.sub("", _LINK.sub(r"\1", _IMAGE.sub("", block))))


def _unescaped(text: str) -> str:
    return _REFERENCE.sub(lambda found: html.unescape(found[0]), text)
