"""Reads what a provider says about a failed call, in whichever form its server has for errors."""

import re

_TAG = re.compile(r"<[^<>]*>")
_HTML_START = re.compile(r"\s*<")
_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
# A gateway may answer with a whole page.
_MAX_READ = 10_000


def explanation(body: object) -> str | None:
    """The explanation in an answer's JSON or text, with the error's code, type and param; None where there is none.

    It is as the provider sent it, and may quote the request.
    """
    error = error_of(body)
    if isinstance(error, str):
        text = error[:_MAX_READ]
        return " ".join((_TAG.sub(" ", text) if _HTML_START.match(text) else text).split()) or None
    if not isinstance(error, dict):
        return None
    said = (_message(error.get(name)) for name in ("message", "detail", "msg", "Message"))
    message = next(filter(None, said), None)
    facts = [f"{name}: {value}" for name in ("code", "type", "param") if (value := _scalar(error.get(name)))]
    if not facts:
        return message
    return f"{message} ({', '.join(facts)})" if message else ", ".join(facts)


def code_of(body: object) -> str | None:
    """The error's `code`, where it is a name or a number."""
    return _name(body, "code")


def kind_of(body: object) -> str | None:
    """The error's `type`, where it is a name."""
    return _name(body, "type")


def error_of(body: object) -> object:
    """OpenAI's form has the error under that name, Google's in a list; vLLM's and FastAPI's is the whole body.

    Cloudflare's has a list of errors under a name. AWS's is the whole body, at times with a `Message`.
    """
    if isinstance(body, list) and body:
        body = body[0]
    if not isinstance(body, dict):
        return body
    errors = body.get("errors")
    return errors[0] if isinstance(errors, list) and errors and "error" not in body else body.get("error", body)


def _message(value: object) -> str | None:
    """A text, or the texts of FastAPI's list of faults."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, list):
        faults = [fault["msg"] for fault in value if isinstance(fault, dict) and isinstance(fault.get("msg"), str)]
        return "; ".join(faults) or None
    return None


def _scalar(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value)[:_MAX_READ] or None


def _name(body: object, field: str) -> str | None:
    error = error_of(body)
    value = _scalar(error.get(field)) if isinstance(error, dict) else None
    return value if value and _NAME.fullmatch(value) else None
