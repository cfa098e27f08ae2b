"""What counts as a text, and how a value is written as one. Only the standard library is imported."""

import json
import re

# White space and controls, and what Unicode calls "default ignorable" (DerivedCoreProperties.txt) of the basic plane.
INVISIBLE = (
    r"\s\u0000-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    r"\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb"
)
"""The characters that show nothing, as the inside of a regular expression's brackets, in Python and in JSON Schema."""

_VISIBLE = re.compile(f"[^{INVISIBLE}]")


def is_blank(text: str) -> bool:
    """Whether a reader sees nothing of the text: it has only white space, controls and zero-width characters."""
    return _VISIBLE.search(text) is None


def dump(value: object) -> str:
    """Compact JSON, in which other scripts are not escaped: six times smaller."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
