"""What a step does with a text that is too long for one call."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from jobchain.chains.chain import merge_lists

Merge = Callable[[list[Any]], Any]
"""Makes one output of the outputs of a text's parts: a pure function of what is stored of them."""


class Long(NamedTuple):
    """One call for each part of a text, and then one output of the parts' outputs.

    `merge` makes it: a function, the name of a file with a prompt, or None for the step's own prompt once more. `part`
    is the name of a file with the prompt for one part, None for the step's own. `of` is the parameter whose text is
    split, where the step has several texts. `shared` are the parameters that each of these calls reads besides, None
    for all others. `max_output_tokens` is the room for the answer of a part.
    """

    merge: Merge | str | None = None
    part: str | None = None
    of: str | None = None
    shared: tuple[str, ...] | None = None
    max_output_tokens: int | None = None


def concatenate(parts: list[Any]) -> Any:
    """The entries of the parts' lists in order, each once; of texts, one paragraph after the other."""
    if all(isinstance(part, list) for part in parts):
        return merge_lists(parts, lambda entry: json.dumps(entry, sort_keys=True, ensure_ascii=False))
    return "\n\n".join(parts)


ask_again = Long()
"""The step's own prompt once more, for the outputs of the parts: one call, or several where they are too long."""
