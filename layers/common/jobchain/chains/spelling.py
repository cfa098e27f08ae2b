"""The words of a text in one spelling: what looks the same or means the same is written the same."""

import re
import unicodedata

from jobchain.chains.markup import CELL
from jobchain.chains.normalizing import BREAK, nfkc

_SAME = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′´", "'"),
        **dict.fromkeys("“”„‟″«»‹›「」『』", '"'),
        **dict.fromkeys("‐‑‒–−", "-"),
        "―": "—",
    }
)
# Not by NFKC, which makes 102 of 10².
_SUPERSCRIPT = re.compile("[⁰¹²³⁴-⁹]+")
_INVISIBLE = re.compile(f"\u00ad\\s*|[{BREAK}\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_BRACKETED = re.compile(r"<([^<>\s]{1,300})>")
# Each begins with the character that it is about, which makes the search fast.
_DASH = re.compile(r"-(?:-+|(?<!\S-)(?!\S))")
_HYPHEN = re.compile(r"-(?<=[^\W\d_]-)\s*+(?=[^\W\d_])")
_SIGN = re.compile(rf"-(?<![^\s({CELL}]-)(?=\d)")
_HYPHEN_IN_NUMBER = re.compile(r"-(?<=\d-)\s*+(?=\d)")
_IN_NUMBER = re.compile(r"[.,:/](?<=\d[.,:/])(?=\d)")
_APOSTROPHE = re.compile(r"'(?<=\w')(?=\w)")

# Characters that are part of a word where they are. Controls stand for them, as `CONTROLS` are in no text here.
_INNER = {character: chr(0x0E + number) for number, character in enumerate(".,:/-'")}
_MOST_KNOWN = 5_000


def spelled(text: str) -> str:
    """The text in one spelling, for `words`: of dashes, quotation marks, case, and words divided by hyphens."""
    if not text.isascii():
        text = _INVISIBLE.sub("", nfkc(_SUPERSCRIPT.sub(r"^\g<0>", text.translate(_SAME))))
    text = text.casefold().replace("|", CELL)
    for mark in ("*", "_", "`", "\\", "~~"):
        text = text.replace(mark, "")
    if "<" in text:
        text = _BRACKETED.sub(r" \1 ", text)
    if "-" in text:
        text = _HYPHEN.sub("", _DASH.sub("—", text))
        text = _SIGN.sub(_INNER["-"], _HYPHEN_IN_NUMBER.sub(_INNER["-"], text))
    return _APOSTROPHE.sub(_INNER["'"], _IN_NUMBER.sub(lambda found: _INNER[found[0]], text))


def words(text: str) -> list[str]:
    """The words, numbers, signs and punctuation of a `spelled` text; of a script without spaces, the characters."""
    return spaced(text).replace(CELL, " ").split()


def spaced(text: str) -> str:
    """A `spelled` text with spaces between what `words` tells apart, and with its `CELL`s."""
    return text.translate(_SPACED)


class _Spaced(dict[int, str]):
    """What each character becomes, so that words are divided by spaces."""

    def __missing__(self, code: int) -> str:
        spaced = _spaced(chr(code))
        if len(self) < _MOST_KNOWN:
            self[code] = spaced
        return spaced


def _spaced(character: str) -> str:
    if character in _INNER.values():
        return next(shown for shown, inner in _INNER.items() if inner == character)
    if character.isspace() or character in "[]":
        return " "
    if character == CELL:
        return CELL
    category = unicodedata.category(character)
    if category == "Cf" or character == BREAK:
        return ""
    return character if category[0] in "LMN" and not _has_no_spaces(ord(character)) else f" {character} "


def _has_no_spaces(code: int) -> bool:
    """Whether the character is of a script that does not divide its words, or joins their endings to them."""
    return (
        0x0E00 <= code < 0x0F00  # Thai, Lao
        or 0x1000 <= code < 0x1200  # Myanmar; Hangul
        or 0x1780 <= code < 0x1800  # Khmer
        or 0x1950 <= code < 0x1AB0
        or 0x2E80 <= code < 0xA4D0  # Chinese, Japanese
        or 0xA960 <= code < 0xA980
        or 0xAC00 <= code < 0xD800  # Hangul
        or 0xF900 <= code < 0xFB00
        or 0x1B000 <= code < 0x1B300
        or 0x20000 <= code < 0x40000
    )


_SPACED = _Spaced()
