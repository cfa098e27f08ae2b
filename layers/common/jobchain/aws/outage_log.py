"""Logs calls of AWS that failed. Apart from `refusals`, which runs where there is no logger of functions too."""

from jobchain.errors import Misconfigured, Unavailable
from jobchain.observability import Logger, describe


def log_unavailable(logger: Logger, message: str, error: Unavailable, **keys: object) -> None:
    """Logs that a service did not do its part: as an error where an operator must repair it, else as a warning."""
    log = logger.error if isinstance(error, Misconfigured) else logger.warning
    log(message, extra={**keys, **describe(error)})
