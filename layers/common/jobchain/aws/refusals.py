"""Tells what fails for now from what an operator must repair, for every service of AWS that functions call."""

from collections.abc import Set

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from jobchain.errors import Misconfigured, Unavailable

# Each service has its own words for the same, and SQS two spellings for most of them.
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html#API_SendMessage_Errors
# https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html#API_GetSecretValue_Errors
# https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html
_PERMISSION = {
    "AccessDenied",
    "AccessDeniedException",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "InvalidAddress",
    "InvalidClientTokenId",
    "InvalidSecurity",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "NotAuthorized",
    "OptInRequired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_ENCRYPTION_KEY = {"decryptionfailure"} | {
    f"kms{fault}"
    for fault in ("accessdenied", "disabled", "invalidkeyusage", "invalidstate", "notfound", "optinrequired")
}
_MISSING = {
    "AWS.SimpleQueueService.NonExistentQueue",
    "QueueDoesNotExist",
    "ResourceNotFoundException",
    "TableNotFoundException",
}
# An answer of Secrets Manager for a secret that is about to be deleted.
_DELETED = {"InvalidRequestException"}

_LASTING = frozenset(_PERMISSION | _MISSING | _DELETED)
_NO_CREDENTIALS = (NoCredentialsError, PartialCredentialsError)


def unavailable(
    what: str, fault: str, error: BotoCoreError | ClientError, reasons: Set[str | None] = frozenset()
) -> Unavailable:
    """The error for a call that AWS did not carry out: Misconfigured where waiting does not help, else Unavailable.

    `what` is the part of the deployment in words, such as "the table", and `fault` what Unavailable says of it.
    `reasons` are further codes of the answer. AWS's code is not in the message, which callers read:
    `observability.describe` has it for the log.
    """
    codes = {code for code in {_code(error), *reasons} if code}
    if isinstance(error, _NO_CREDENTIALS) or any(map(_is_lasting, codes)):
        return Misconfigured(f"{what} refuses this deployment: tell its operator")
    return Unavailable(f"{what} {fault}")


def _code(error: BotoCoreError | ClientError) -> str | None:
    return error.response["Error"]["Code"] if isinstance(error, ClientError) else None


def _is_lasting(code: str) -> bool:
    # SQS writes KMS.DisabledException and KmsDisabled, DynamoDB KMSDisabledException.
    spelled = code.lower().replace(".", "").removesuffix("exception")
    return code in _LASTING or spelled in _ENCRYPTION_KEY
