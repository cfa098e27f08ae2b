"""Texts that are made to take long: of any size, and as the API takes them."""

MOST_CHARACTERS = 100_000
MOST_BYTES = 256 * 1024 - 1_000
"""What a payload may have, but for its braces and names."""

PIECES = {
    "marks that are two": "\u0f75",
    "marks that come apart": "\u0344",
    "a mark of music": "\U0001d165",
    "a note that comes apart": "\U0001d15e",
    "marks in the wrong order": "\u0345\u0300\u0323\u0f71\u05b0",
    "a sign that becomes a sentence": "\ufdfa",
    "syllables": "\u1100\u1161\u11a8",
    "letters that fold to three": "\u0390",
    "scripts in turn": "aж守ا",
    "one word": "x",
    "words": "a ",
    "sentences": "It must be so. ",
    "sentence ends": "?!.",
    "sentence ends of another script": "。」",
    "conditions": "If a, ",
    "names": "@a ",
    "emoji": "\U0001f468\u200d",
    "marks of direction": "\u200f\u202e",
    "lines": "A\n",
    "lines of Windows": "\r\n",
    "lines of spaces": " \t\n",
    "spaces": " ",
    "no lines to Markdown": "\u2028",
    "opening brackets": "[",
    "closing brackets": "]",
    "brackets": "[]",
    "parentheses": "(",
    "links without an end": "[a](b",
    "links in links": "[a](()",
    "links by name": "[a][",
    "images without an end": "![](",
    "pictures": "![",
    "tags without an end": "<a ",
    "tags in tags": "<a<b<c",
    "entities": "&",
    "entities without an end": "&#1",
    "names of entities": "&a",
    "headings": "#",
    "headings of nothing": "# \n",
    "headings of something": "# a\n",
    "list marks": "- ",
    "lists": "- a\n",
    "numbered lists": "1. a\n",
    "quotes": "> ",
    "quotes in quotes": ">",
    "tables": "|",
    "rows": "|a\n",
    "emphasis": "**a*",
    "underscores": "_a ",
    "code": "`a``",
    "blocks of code": "```a\n",
    "backslashes": "\\",
    "escapes that are none": "\\ud800",
    "quotation marks": "\"'",
    "fences": "<<<end 000000000000>>>",
    "addresses": "www.",
    "form feeds": "\f",
    "pages": "a\n\nPage 1\n\n",
    "pages of one word": "a\f",
    "numbers in lines": "1\n\n2\n\n",
    "columns": "a   b   c   Page 2\n",
    "words divided": "ab-\n",
    "dashes": "- ",
    "comments without an end": "<!--",
    "footnotes": "[^a]",
    "attributes": "<a x=1 ",
    "negations": "not a ",
    "soft hyphens": "a\u00ad",
    "superscripts": "²",
    "statements of diagrams": "direction TB ",
}


def _halves(first: str, second: str, size: int) -> str:
    return first * (size // 2) + second * (size // 2)


def hostile_texts(size: int = MOST_CHARACTERS) -> dict[str, str]:
    """The texts by what they are made of, each with about `size` characters, or as many as fit into a payload."""
    texts = {name: f"x{piece * (size // len(piece))}"[: size - 1] + "x" for name, piece in PIECES.items()}
    texts |= {
        "marks in two rows": "x" + _halves("\u0301", "\u0323", size - 2),
        "brackets in brackets": _halves("[", "]", size),
        "parentheses in parentheses": _halves("(", ")", size),
        "an entity without an end": "&#" + "1" * (size - 3) + ";",
        "a number without an end": "&#x" + "f" * (size - 4) + ";",
        "different words": " ".join(f"W{number:x}abc." for number in range(size // 10)),
        "different rules": "\n".join(f"- Rule {number:x} must hold" for number in range(size // 24)),
        "sections": "\n".join(f"# H{number:x}\n\nRule {number:x} must be kept.\n" for number in range(size // 36)),
    }
    return {name: _that_fits(text) for name, text in texts.items()}


def _that_fits(text: str) -> str:
    return text.encode()[:MOST_BYTES].decode(errors="ignore").strip()
