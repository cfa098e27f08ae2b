"""Finds which parameter a server does not support, in what it says about a request that it refuses."""

import re

# In this order: the first one that a refusal names.
_NAMES = {
    "prompt_cache_breakpoint": re.compile(r"\bprompt_cache_breakpoint\b"),
    "prompt_cache_options": re.compile(r"\bprompt_cache_options\b"),
    "prompt_cache_key": re.compile(r"\bprompt_cache_key\b"),
    "safety_identifier": re.compile(r"\bsafety_identifier\b"),
    "max_tokens": re.compile(
        r"(unsupported|unknown|unrecognized) parameter:? ['\"`]?max_tokens\b|use ['\"`]?max_completion"
    ),
    "return_progress": re.compile(r"\breturn_progress\b"),
    "stream_options": re.compile(r"\bstream_options\b"),
    "reasoning_effort": re.compile(r"\breasoning_effort\b"),
    "reasoning": re.compile(r"\breasoning\b"),
    "thinking": re.compile(r"\bsupport thinking\b|\bthink value\b"),
    "temperature": re.compile(r"\btemperature\b"),
    "stream": re.compile(r"\bstream(ing|ed)?\b"),
}
_REFUSED = re.compile(
    r"support|permit|allow|recogni|unknown|unexpected|extra|additional|invalid|not (a )?valid|must be false|disabled"
)

_MOST_READ = 4_000


def unsupported_parameter(refusal: str, code: str | None, parameter: str | None, body: object) -> str | None:
    """The parameter that the server does not support by its refusal, None where it refuses something else.

    `refusal` is the explanation in the `body`, without quotations of the request.
    """
    # The name of a part of a message comes last: `input[0].content[0].prompt_cache_breakpoint`.
    if parameter and parameter.endswith(".prompt_cache_breakpoint"):
        return "prompt_cache_breakpoint"
    if code and parameter and re.search("unsupported|unknown", code):
        return parameter.partition(".")[0]
    said = refusal[:_MOST_READ].lower()
    if _NAMES["max_tokens"].search(said):
        return "max_tokens"
    if not _REFUSED.search(said):
        return None
    said = f"{said} {parameter} {_located(body)}"
    return next((name for name, words in _NAMES.items() if words.search(said)), None)


def _located(body: object) -> str:
    """The names of the fields at fault, in the form of FastAPI's validation errors."""
    faults = body.get("detail") if isinstance(body, dict) else None
    places = [fault.get("loc") for fault in faults if isinstance(fault, dict)] if isinstance(faults, list) else []
    return " ".join(str(place[-1]) for place in places if isinstance(place, list) and place)
