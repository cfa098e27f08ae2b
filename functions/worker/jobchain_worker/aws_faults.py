"""Classifies what AWS itself says about a call of Bedrock: by the name of its exception, in a header or in the body.

The models behind it answer in OpenAI's form, which `provider_faults` reads.
https://docs.aws.amazon.com/bedrock/latest/userguide/troubleshooting-api-error-codes.html
"""

import re
from collections.abc import Mapping, Sequence

from jobchain_worker.explanations import error_of
from jobchain_worker.provider_faults import Fault, fault_of, has_words

_FAULTS = {
    Fault.NO_KEY: {
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    },
    Fault.NO_RIGHT: {"AccessDenied", "AccessDeniedException", "OptInRequired", "UnauthorizedException"},
    Fault.RATE_LIMITED: {
        "LimitExceededException",
        "RequestLimitExceeded",
        "ServiceQuotaExceededException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    },
    Fault.OVERLOADED: {"ModelNotReadyException", "ServiceUnavailable", "ServiceUnavailableException"},
    Fault.UNKNOWN_MODEL: {"ResourceNotFoundException"},
    Fault.WRONG_PATH: {"UnknownOperationException"},
    Fault.SERVER_FAILED: {
        "InternalFailure",
        "InternalServerException",
        "ModelErrorException",
        "ModelStreamErrorException",
        "ModelTimeoutException",
    },
}
_BY_NAME = {name: fault for fault, names in _FAULTS.items() for name in names}

_INVALID = "ValidationException"
_WORDS = {
    400: (
        (
            Fault.UNKNOWN_MODEL,
            re.compile(
                r"model identifier is invalid|on-demand throughput isn.t supported|supported on this route"
                r"|does not support the '/.{1,60}api|reached the end of its life"
            ),
        ),
    ),
    401: ((Fault.NO_RIGHT, re.compile(r"is not authorized to perform")),),
    403: (
        (Fault.NO_RIGHT, re.compile(r"is not authorized to perform")),
        (Fault.NO_KEY, re.compile(r"security token included in the request is|signature (has )?expired")),
    ),
}
"""In lower case, by status. A ValidationException can mean anything, and IAM's refusals have a name at times only."""

_CLOSED_ACCOUNT = re.compile(r"operation not allowed")


def exception_of(headers: Mapping[str, str], body: object) -> str | None:
    """The name of AWS's exception, without the namespace that it may have; None where there is none."""
    error = error_of(body)
    told = [headers.get("x-amzn-errortype")]
    if isinstance(error, dict):
        told += [error.get(name) for name in ("__type", "type", "code")]
    for value in told:
        name = value.partition(":")[0].rpartition("#")[2] if isinstance(value, str) else ""
        if name in _BY_NAME or name == _INVALID:
            return name
    return None


def fault_of_answer(
    status: int | None, headers: Mapping[str, str], body: object, texts: Sequence[str] = ()
) -> Fault | None:
    """The fault that an error is, whether AWS tells it or the model's server; None for any other.

    Words count only where the request's `texts` do not hold them.
    """
    name = exception_of(headers, body)
    for fault, words in _WORDS.get(status or 0, ()):
        if has_words(words, body, texts):
            return fault
    if name == _INVALID and has_words(_CLOSED_ACCOUNT, body, texts):
        return Fault.NO_RIGHT
    return _BY_NAME.get(name or "") or fault_of(status, body, texts)
