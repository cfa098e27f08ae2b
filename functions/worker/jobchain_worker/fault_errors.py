"""The errors for what providers say: which of them pass by waiting, and what to do about the others."""

from datetime import timedelta

from jobchain.errors import CallReport, ModelError, ModelSettingsError, PermanentModelError, TransientModelError
from jobchain_worker.provider_faults import Fault

FILTERED = ("content_filtered", "the provider's content filter stopped the text or the answer")

UNREADABLE = "unreadable_answer"
"""The `TransientModelError.type` of an answer that can't be read."""

TOO_LONG = "text_too_long"
"""The `PermanentModelError.type` of a text that the model has no room for."""

_PERMANENT = {
    Fault.NO_MONEY: ("model_quota_exceeded", "the account at the model's provider has no quota left"),
    Fault.NO_KEY: ("model_unauthorized", "the model's server does not accept the API key or the signature"),
    Fault.NO_RIGHT: ("model_forbidden", "the API key or the worker's role may not use the model"),
    Fault.FILTERED: FILTERED,
    Fault.TEXT_TOO_LONG: (
        TOO_LONG,
        "the text is too long for the model: shorten it, lower MaxInputTokens so that it is split into smaller parts, "
        "or choose a model with a larger context window",
    ),
    Fault.OVER_TOKEN_RATE: (
        TOO_LONG,
        "the request alone has more tokens than the model's account may use at a time: lower MaxInputTokens or "
        "MaxOutputTokens, or ask the provider for a higher limit",
    ),
    Fault.UNKNOWN_MODEL: ("model_not_found", "the model's server knows no such model"),
}

_TRANSIENT = {
    Fault.OVERLOADED: "overloaded",
    Fault.RATE_LIMITED: "rate_limited",
    Fault.SERVER_FAILED: "server_error",
}
"""The `TransientModelError.type`s."""

_WRONG_PATH = (
    "the model's server has no API at this path: correct OPENAI_BASE_URL, which usually ends in /v1, or OPENAI_API"
)


def fault_error(fault: Fault, answered: str, report: CallReport, retry_after: timedelta | None = None) -> ModelError:
    """The error for a fault; `answered` says in what the server told it, such as a status."""
    if fault in _TRANSIENT:
        return TransientModelError(f"the model's server {answered}", retry_after, report, _TRANSIENT[fault])
    if fault is Fault.WRONG_PATH:
        return ModelSettingsError(f"{_WRONG_PATH} (it {answered})", report)
    type_, message = _PERMANENT[fault]
    return PermanentModelError(type_, f"{message} (it {answered})", report)
