"""The offline model's answer to a prompt: passages of the texts in it, in the form of a JSON Schema."""

import json
import re
from typing import Any

from jobchain_offline.extract import summarize
from jobchain_offline.schema_answer import fill

MODEL = "offline-extract-1-not-a-gpt"
"""Its name, which takes it for no GPT."""

_OPENING = re.compile(r"<<<(?!end )[^<>\n]{1,40} ([0-9a-f]{12})>>>")
_BYTES_PER_TOKEN = 4


def output(schema: dict[str, Any] | None, prompt: str) -> str:
    """The text of the answer: JSON of the schema, or without one a summary. Raises ValueError for another schema."""
    texts = material(prompt)
    if schema is None:
        return summarize("\n\n".join(texts))
    return json.dumps(fill(schema, texts), ensure_ascii=False)


def material(prompt: str) -> list[str]:
    """The texts between `<<<label mark>>>` and `<<<end mark>>>`, else the whole prompt as one."""
    found = []
    position = 0
    while opening := _OPENING.search(prompt, position):
        end = prompt.find(f"<<<end {opening[1]}>>>", opening.end())
        position = max(end, opening.end())
        if end >= 0:
            found.append(prompt[opening.end() : end].strip("\n"))
    return found or [prompt]


def estimated_tokens(text: str) -> int:
    """One token for every four bytes of UTF-8, rounded up."""
    return -(-len(text.encode(errors="replace")) // _BYTES_PER_TOKEN)
