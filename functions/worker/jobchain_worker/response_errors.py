"""The errors inside responses with a status of 200."""

from collections.abc import Sequence

from jobchain.errors import CallReport, ModelError, PermanentModelError, TransientModelError
from jobchain_worker.aws_faults import fault_of_answer
from jobchain_worker.explanations import code_of, explanation, kind_of
from jobchain_worker.fault_errors import UNREADABLE, fault_error
from jobchain_worker.provider_faults import Fault, embedded_status

# Faults that a server finds before the model works on the request.
_UNBILLED = {Fault.NO_MONEY, Fault.NO_KEY, Fault.NO_RIGHT, Fault.TEXT_TOO_LONG, Fault.RATE_LIMITED, Fault.UNKNOWN_MODEL}


def error_in(response: object, answer: str, texts: Sequence[str]) -> ModelError | None:
    """The error that a response is, which has none of the field `answer`; None for any other, and where it is unclear.

    What the provider quotes of the request's `texts` is no word of its own.
    """
    if not isinstance(response, dict) or response.get(answer):
        return None
    fault = _fault(response, texts)
    return None if fault is None else _error(fault, response, "", maybe_billed=fault not in _UNBILLED)


def failure(response: object, text: str, texts: Sequence[str]) -> ModelError:
    """The error of a response that says that it failed, in whose place the model may have written a text."""
    if fault := _fault(response, texts):
        return _error(fault, response, text, maybe_billed=False)
    report = CallReport(cause=explanation(response), answer=text or None, code=code_of(response))
    return PermanentModelError("model_failed", "the model's server gave the request up", report)


def stopped(reason: str, response: object, text: str, texts: Sequence[str]) -> ModelError:
    """The error of a completion that ended for this reason. OpenRouter says more in the choice, or beside it."""
    choice = response["choices"][0] if isinstance(response, dict) else {}
    body = next((part for part in (choice, response) if isinstance(part, dict) and part.get("error")), None)
    fault = (body and _fault(body, texts)) or Fault.SERVER_FAILED
    said = {"error": body["error"]} if body else {"message": f"the answer ended with finish_reason {reason}"}
    return _error(fault, said, text, maybe_billed=fault not in _UNBILLED)


def unknown_form(response: object) -> TransientModelError:
    """The error for a response that is neither an answer nor an error in a form that is known."""
    cause = explanation(response) or "the answer has another form"
    return TransientModelError(
        "the model's server did not answer in the form of the API that OPENAI_API names",
        report=CallReport(maybe_billed=True, cause=cause, code=code_of(response), kind=kind_of(response)),
        type_=UNREADABLE,
    )


def _fault(body: object, texts: Sequence[str]) -> Fault | None:
    """The fault that an error inside a 200 names by its code, type or status."""
    return fault_of_answer(embedded_status(body), {}, body, texts)


def _error(fault: Fault, body: object, text: str, *, maybe_billed: bool) -> ModelError:
    report = CallReport(
        maybe_billed=maybe_billed,
        cause=explanation(body),
        answer=text or None,
        code=code_of(body),
        kind=kind_of(body),
    )
    return fault_error(fault, "failed", report)
