"""Classifies what a provider says about a call that failed, by what can be done about it.

Providers say the same thing by different statuses, codes, types and words, and some of them inside a 200. Their pages:
https://platform.openai.com/docs/guides/error-codes, https://openrouter.ai/docs/api/reference/errors-and-debugging,
https://api-docs.deepseek.com/quick_start/error_codes, https://docs.claude.com/en/api/errors,
https://ai.google.dev/gemini-api/docs/troubleshooting, https://console.groq.com/docs/errors,
https://docs.x.ai/docs/key-information/debugging, https://platform.moonshot.ai/docs/api/chat.
"""

import re
from collections.abc import Sequence
from enum import Enum, auto

from jobchain_worker.explanations import error_of, explanation


class Fault(Enum):
    """What is wrong, whichever way the provider says it."""

    NO_MONEY = auto()
    NO_KEY = auto()
    NO_RIGHT = auto()
    FILTERED = auto()
    TEXT_TOO_LONG = auto()
    OVER_TOKEN_RATE = auto()
    """The one request has more tokens than the account may use in a minute: it does not pass by waiting."""
    WRONG_PATH = auto()
    UNKNOWN_MODEL = auto()
    OVERLOADED = auto()
    RATE_LIMITED = auto()
    SERVER_FAILED = auto()


_NAMES = {
    Fault.NO_MONEY: {
        "insufficient_quota",
        "insufficient_balance",
        "insufficient_balance_error",
        "insufficient_credits",
        "insufficient_funds",
        "insufficient_user_quota",
        "exceeded_current_quota_error",
        "billing_hard_limit_reached",
        "billing_not_active",
        "billing_error",
        "payment_required",
        "arrearage",
    },
    Fault.NO_KEY: {"invalid_api_key", "api_key_invalid", "authentication_error", "invalid_authentication_error"},
    Fault.FILTERED: {"content_filter", "content_policy_violation", "invalid_prompt", "responsibleaipolicyviolation"},
    Fault.TEXT_TOO_LONG: {
        "context_length_exceeded",
        "context_window_exceeded",
        "exceed_context_size_error",
        "request_too_large",
        "string_above_max_length",
        "string_too_long",
    },
    Fault.OVERLOADED: {
        "overloaded",
        "overloaded_error",
        "engine_overloaded_error",
        "server_overloaded",
        "capacity_exceeded",
    },
    Fault.UNKNOWN_MODEL: {"model_not_found", "deploymentnotfound"},
    Fault.RATE_LIMITED: {"rate_limit_exceeded", "rate_limit_error", "rate_limit_reached_error", "too_many_requests"},
    Fault.SERVER_FAILED: {"server_error", "internal_server_error"},
}
"""By the error's `code`, `type` or `status`. The first one that fits counts; the last one not with a status of 4xx."""

_WORDS = {
    Fault.NO_MONEY: re.compile(
        r"credit balance is too low"
        r"|insufficient (account )?(balance|credit|fund)"
        r"|(billing|spending|usage) (hard )?limit (has been |was |is )?(reached|exceeded)"
        r"|reached its (monthly )?spending limit|used all available credits"
    ),
    Fault.NO_KEY: re.compile(r"api key not valid|(invalid|incorrect) api key|no auth credentials"),
    Fault.OVER_TOKEN_RATE: re.compile(r"request too large for .{1,200}?tokens per (min|day)"),
    Fault.TEXT_TOO_LONG: re.compile(
        r"(maximum|available|model's|exceeds? the) context (length|size|window)"
        r"|context (length|size|window) (is|of|exceeded)"
        r"|exceeds? (the )?(model's )?(maximum )?(context|number of tokens)"
        r"|contextwindowexceeded|exceeds the max_model_len|longer than the maximum model length|too many tokens"
        r"|input length [^.]{0,40}exceeds the maximum"
        r"|(prompt|input|request) is too (long|large)"
        r"|input token count [^.]{0,40}exceeds"
        r"|input length and `?max_tokens`? exceed"
        r"|must be <= \d+\. given: \d+ `?inputs`? tokens"
    ),
}
"""In lower case, for what has no name of its own, and only with a status of 400 to 499."""

_BY_STATUS = {
    401: Fault.NO_KEY,
    402: Fault.NO_MONEY,
    403: Fault.NO_RIGHT,
    404: Fault.UNKNOWN_MODEL,
    405: Fault.WRONG_PATH,
    413: Fault.TEXT_TOO_LONG,
    # Of Hugging Face and Bedrock, Groq, and nginx.
    424: Fault.SERVER_FAILED,
    429: Fault.RATE_LIMITED,
    498: Fault.OVERLOADED,
    499: Fault.SERVER_FAILED,
    529: Fault.OVERLOADED,
}

_MOST_READ = 4_000

_PATH_WORDS = re.compile(
    r"invalid url|url (was )?not found|unknown request url|page not found|no route|resource not found"
)
_MODEL_WORDS = re.compile(r"model|deployment")
_FLAGGED_WORDS = re.compile(r"flagged|moderation")


def embedded_status(body: object) -> int | None:
    """The HTTP status that an error inside a 200 names as its code, as OpenRouter's do."""
    error = error_of(body)
    values = [error.get("code"), error.get("status")] if isinstance(error, dict) else []
    numbers = [int(value) for value in map(str, values) if re.fullmatch("[45][0-9]{2}", value)]
    return numbers[0] if numbers else None


def fault_of(status: int | None, body: object, texts: Sequence[str] = ()) -> Fault | None:
    """The fault that an error of this status and body is; None for any other.

    What the words of the body say counts only where the request's `texts` do not say it: a provider may quote them.
    """
    if status == 404:
        return _not_found(body)
    is_refusal = status is not None and status < 500
    named = _by_name(body)
    if named is Fault.RATE_LIMITED:
        return _by_words((Fault.OVER_TOKEN_RATE,), body, texts) or named
    if named and not (is_refusal and named is Fault.SERVER_FAILED):
        return named
    if status is None:
        return _by_words(tuple(_WORDS), body, texts)
    if not is_refusal:
        return _BY_STATUS.get(status, Fault.SERVER_FAILED)
    if status == 403 and has_words(_FLAGGED_WORDS, body, texts):
        return Fault.FILTERED
    worded = (Fault.NO_MONEY, Fault.OVER_TOKEN_RATE) if status == 429 else tuple(_WORDS)
    return _by_words(worded, body, texts) or _BY_STATUS.get(status)


def _by_name(body: object) -> Fault | None:
    names = _names(body)
    return next((fault for fault, known in _NAMES.items() if known & names), None)


def _not_found(body: object) -> Fault:
    """An API that does not know the model says so in its own form; whatever else answers is not the API."""
    said, error = (explanation(body) or "").lower(), error_of(body)
    if not isinstance(error, dict) or _PATH_WORDS.search(said):
        return Fault.WRONG_PATH
    is_its_own = "message" in error and ("code" in error or "type" in error)
    return Fault.UNKNOWN_MODEL if is_its_own or _MODEL_WORDS.search(said) else Fault.WRONG_PATH


def _names(body: object) -> set[str]:
    error = error_of(body)
    if not isinstance(error, dict):
        return set()
    inner = error.get("innererror")
    values = [error.get("code"), error.get("type"), error.get("status")]
    values += [inner.get("code")] if isinstance(inner, dict) else []
    return {value.lower() for value in values if isinstance(value, str)}


def _by_words(faults: Sequence[Fault], body: object, texts: Sequence[str]) -> Fault | None:
    return next((fault for fault in faults if has_words(_WORDS[fault], body, texts)), None)


def has_words(words: re.Pattern[str], body: object, texts: Sequence[str]) -> bool:
    """Whether the explanation in `body` has the words, in lower case, and no text of the request holds them too."""
    said = " ".join((explanation(body) or "")[:_MOST_READ].lower().split())
    return any(not _is_quoted(found[0], texts) for found in words.finditer(said))


def _is_quoted(words: str, texts: Sequence[str]) -> bool:
    return any(words in " ".join(text.lower().split()) for text in texts)
