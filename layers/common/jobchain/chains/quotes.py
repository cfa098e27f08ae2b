"""Tells whether a quote stands in a text, however the two are marked up.

What does not count: white space, case, Markdown's marks, links' addresses, HTML tags, the shape of quotation marks and
dashes, and characters that can't be seen. Everything else does, such as numbers, signs and word order. The time that
it takes is linear in the text's length.
"""

import html
import re
import unicodedata
from functools import lru_cache

_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,200}>")
_IMAGE = re.compile(r"!\[[^\[\]]{0,500}\]\([^()]{0,2000}\)")
_LINK = re.compile(r"\[([^\[\]]{1,500})\](?:\((?:[^()]|\([^()]{0,500}\)){0,2000}+\)|\[[^\[\]]{0,200}\])")
# What begins a line: of a heading, a quote, or a list.
_LINE_MARK = re.compile(r"^[ \t]*(?:#{1,6}[ \t]|(?:>[ \t]?)+)[ \t]*", re.MULTILINE)
_LIST_MARK = re.compile(r"^\s*(?:[-*+•]|\d{1,9}[.)])\s+(?:\[[ xX]\]\s)?")
_MARKS = re.compile(r"[*_`~|\\]")
_ENDS = " .!?…。！？:;,\"'()"

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
        """Whether every word of a name or a date stands somewhere in the text."""
        words = re.findall(r"\w+", phrase)
        return bool(words) and all(_plain(word) in self._plain for word in words)


def _plain(text: str) -> str:
    text = _LINE_MARK.sub("", text)
    text = _LINK.sub(r"\1", _IMAGE.sub("", text))
    text = html.unescape(_TAG.sub("", text))
    text = unicodedata.normalize("NFKC", _MARKS.sub("", text).translate(_SAME)).casefold()
    # Not folded but left out: between scripts without spaces, a line's end means nothing.
    return "".join(c for c in text if not c.isspace() and unicodedata.category(c) != "Cf")
