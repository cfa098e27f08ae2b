"""Redacts and cuts the texts of a failed call: a provider's explanation may quote the request or the API key."""

import html
import re
from collections.abc import Callable, Sequence

from jobchain.text import INVISIBLE

MAX_CAUSE_CHARACTERS = 1_000
MAX_ANSWER_CHARACTERS = 20_000
MAX_ID_CHARACTERS = 200

# What is read of an explanation. Its end is dropped, as it may hold half of a key or of a quotation.
_MAX_READ = 4_000
_END = 200

# Runs that also occur in the request are quotations. An API key is recognized by fewer characters.
_QUOTED_CHARACTERS = 20
_QUOTED_LETTERS = 16
_KEY_LETTERS = 8
_SHORTEST_KEY = 4

_QUOTATION = "[…]"
_KEY = "[API key]"

_ESCAPE_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[@-~]")
# White space, and what a terminal obeys.
_UNSEEN = re.compile(f"[{INVISIBLE}]+")
# Half a character, which can't be stored.
_SURROGATE = re.compile("[\ud800-\udfff]")
_JSON_CHARACTER = re.compile(r"\\+u([0-9a-fA-F]{4})")
_JSON_SPACE = re.compile(r"\\+[nrt]")
_JSON_MARK = re.compile(r"\\+([\"'/\\])")
_KEYS = re.compile(
    r"\b(?:sk|rk|pk|gsk|xai|hf)[-_][\w*.…-]{4,}"
    r"|\bAIza[\w*.…-]{10,}"
    r"|\beyJ[\w*.…-]{10,}"
    # AWS's: a session token, which it quotes where a signature does not match, and an access key.
    r"|\b(?-i:IQoJ|FwoG|FQoG)[\w+/=]{20,}"
    r"|\bx-amz-security-token[\"']?\s*[:=]\s*[\"']?[^\s\"'<>,;[]{4,}"
    r"|\b(?-i:(?:AKIA|ASIA)[A-Z0-9]{12,})"
    r"|\bbearer\s+[^\s\"'<>,;[]{4,}"
    r"|\b(?:x-)?api[-_ ]?key[\"']?\s*[:=]\s*[\"']?(?=\S*\d)[^\s\"'<>,;[]{4,}",
    re.IGNORECASE,
)


def redacted(explanation: str, key: str, texts: Sequence[str] = ()) -> str:
    """A provider's explanation without API keys, control characters and quotations of the request's `texts`, cut."""
    text = explanation if len(explanation) <= _MAX_READ else explanation[: _MAX_READ - _END]
    text = without_keys(_flat(_unescaped(text)), key)
    if len(key) >= _KEY_LETTERS:
        text = _without_runs(text, key, _letters, _KEY_LETTERS, _KEY)
    for request in texts:
        text = _without_runs(text, request, _letters, _QUOTED_LETTERS, _QUOTATION)
        text = _without_runs(text, _flat(request), str.casefold, _QUOTED_CHARACTERS, _QUOTATION)
    text = text.strip()
    return text if len(text) <= MAX_CAUSE_CHARACTERS else f"{text[: MAX_CAUSE_CHARACTERS - 1]}…"


def without_keys(text: str, key: str) -> str:
    """The text without the key in use, and without whatever else has the form of an API key."""
    return _KEYS.sub(_KEY, _without_key(text, key))


def storable(text: str, key: str) -> str:
    """A model's text as it came, cut, without what can't be stored and without the key in use."""
    return _cut(_without_key(_begin(text), key))


def storable_body(body: str, key: str) -> str:
    """A body that could not be read, cut, without what can't be stored and without keys, as proxies may repeat them."""
    return _cut(without_keys(_begin(body), key))


def identifier(value: str | None, key: str) -> str | None:
    """A provider's id or code in visible ASCII, cut, so that it can be logged; None where it may hold a key."""
    visible = re.sub(r"[^!-~]+", "", value or "")
    return visible[:MAX_ID_CHARACTERS] if visible and without_keys(visible, key) == visible else None


def _without_key(text: str, key: str) -> str:
    return text.replace(key, _KEY) if len(key) >= _SHORTEST_KEY else text


def _begin(text: str) -> str:
    """What is read of a text to be cut: more than is kept, so that no key is cut in half unseen."""
    return text.replace("\0", "")[: MAX_ANSWER_CHARACTERS + _MAX_READ]


def _cut(text: str) -> str:
    return _SURROGATE.sub("\ufffd", text[:MAX_ANSWER_CHARACTERS])


def _unescaped(text: str) -> str:
    """The text without the escapes of JSON and HTML, behind which a quotation would not be recognized."""
    text = _JSON_CHARACTER.sub(lambda escape: chr(int(escape[1], 16)), html.unescape(text))
    # Two escapes make one character outside the basic plane.
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return _JSON_MARK.sub(r"\1", _JSON_SPACE.sub(" ", text))


def _flat(text: str) -> str:
    return _UNSEEN.sub(" ", _ESCAPE_SEQUENCE.sub("", text))


def _letters(text: str) -> str:
    """The letters and digits alone, so that line breaks and punctuation hide no quotation."""
    return "".join(filter(str.isalnum, text.casefold()))


def _without_runs(text: str, source: str, project: Callable[[str], str], least: int, mark: str) -> str:
    """The text with a mark for each run of `least` or more characters that also occurs in the source.

    Both are compared as `project` returns them, which it must do character by character.
    """
    characters = [(place, seen) for place, character in enumerate(text) for seen in project(character)]
    found = _common("".join(seen for _, seen in characters), project(source), least)
    parts, end = [], 0
    for start in found:
        first, last = characters[start][0], characters[start + least - 1][0]
        if first >= end:
            parts += [text[end:first], mark]
        end = last + 1
    return "".join([*parts, text[end:]])


def _common(text: str, source: str, least: int) -> list[int]:
    """Where runs of `least` characters begin in the text that also occur in the source."""
    # A common run holds a whole block of half its length. Few texts have one in common, and looking for it is fast.
    size = least // 2
    blocks = {source[place : place + size] for place in range(0, len(source), size)}
    if not any(text[place : place + size] in blocks for place in range(len(text) - size + 1)):
        return []
    runs = {text[place : place + least] for place in range(len(text) - least + 1)}
    common = runs & {source[place : place + least] for place in range(len(source) - least + 1)}
    return [place for place in range(len(text) - least + 1) if text[place : place + least] in common]
