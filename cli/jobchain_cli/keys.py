"""API keys as an operator asks for them and reads of them: options checked, keys in words."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from jobchain.aws.api_keys import ApiKey
from jobchain.limits import MAX_COUNTED, Limits

MAX_NAME = 100
"""The most characters of a key's name."""

MAX_VALID_DAYS = 36_500
"""The longest validity of a key that expires: a hundred years."""

MAX_LIMIT = 1_000_000_000_000
"""The highest limit, far more than anybody reaches: one that can't be stored is worse than none."""

_TENANT = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_KEY_ID = re.compile(r"[0-9a-f]{12}")
_WHOLE = re.compile(r"[0-9]{1,30}")
_DECIMAL = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?")


class OptionError(ValueError):
    """An option can't be used; the message names it, and says what to give instead."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """What a key is to be. Without `valid_for` it holds until it is revoked."""

    tenant: str
    name: str
    limits: Limits
    operator: bool
    valid_for: timedelta | None
    webhook_urls: bool = False


def new_key(
    tenant: str,
    name: str | None = None,
    *,
    operator: bool = False,
    webhook_urls: bool = False,
    valid_days: str | None = None,
    jobs_per_minute: str | None = None,
    unfinished_jobs: str | None = None,
    tokens_per_day: str | None = None,
    cost_usd_per_day: str | None = None,
    requests_per_minute: str | None = None,
) -> NewKey:
    """The key that options, as they were typed, ask for; its name is the tenant's if there is none.

    Raises OptionError.
    """
    days = _whole("--valid-days", valid_days, MAX_VALID_DAYS)
    return NewKey(
        tenant=checked_tenant(tenant),
        name=_checked_name(tenant if name is None else name),
        limits=Limits(
            jobs_per_minute=_whole("--jobs-per-minute", jobs_per_minute),
            # More than that are not counted.
            unfinished_jobs=_whole("--unfinished-jobs", unfinished_jobs, MAX_COUNTED),
            tokens_per_day=_whole("--tokens-per-day", tokens_per_day),
            cost_usd_per_day=_dollars("--cost-usd-per-day", cost_usd_per_day),
            requests_per_minute=_whole("--requests-per-minute", requests_per_minute),
        ),
        operator=operator,
        valid_for=None if days is None else timedelta(days=days),
        webhook_urls=webhook_urls,
    )


def checked_tenant(tenant: str) -> str:
    """The tenant, if it can be one. Raises OptionError."""
    if not _TENANT.fullmatch(tenant):
        raise OptionError(f"--tenant {tenant!r}: use 1 to 63 of a-z, 0-9 and -, not - first, such as --tenant my-team")
    return tenant


def checked_key_id(key_id: str) -> str:
    """The key's id, if it can be one. Raises OptionError, which does not repeat it: it may be a key."""
    if not _KEY_ID.fullmatch(key_id):
        raise OptionError("KEY_ID: use the 12 characters of 0-9 and a-f that `keys list` shows, not the key itself")
    return key_id


def _checked_name(name: str) -> str:
    name = name.strip()
    if not (1 <= len(name) <= MAX_NAME and name.isprintable()):
        raise OptionError(f"--name {name[: MAX_NAME + 1]!r}: use 1 to {MAX_NAME} printable characters")
    return name


def _whole(option: str, text: str | None, most: int = MAX_LIMIT) -> int | None:
    if text is None:
        return None
    if not _WHOLE.fullmatch(text) or not 1 <= int(text) <= most:
        raise OptionError(f"{option} {text!r}: use a whole number from 1 to {most:,}, in digits only")
    return int(text)


def _dollars(option: str, text: str | None) -> Decimal | None:
    if text is None:
        return None
    if not _DECIMAL.fullmatch(text) or not Decimal(text):
        raise OptionError(
            f"{option} {text!r}: use US dollars above 0 with at most 6 decimals, below a billion, such as 2.50"
        )
    return Decimal(text)


# --- in words --------------------------------------------------------------------------------------------------------


def limits_in_words(limits: Limits) -> str:
    """Such as `10 jobs a minute, 0.5 USD a day`."""
    words = [
        _counted(limits.jobs_per_minute, "job", "a minute"),
        _counted(limits.unfinished_jobs, "unfinished job", ""),
        _counted(limits.tokens_per_day, "token", "a day"),
        f"{limits.cost_usd_per_day:f} USD a day" if limits.cost_usd_per_day is not None else "",
        _counted(limits.requests_per_minute, "request", "a minute"),
    ]
    return ", ".join(filter(None, words)) or "no limits"


def _counted(count: int | None, noun: str, span: str) -> str:
    return "" if count is None else f"{count:,} {noun}{'' if count == 1 else 's'} {span}".rstrip()


def state_in_words(api_key: ApiKey, now: datetime) -> str:
    """Such as `active`, or `revoked 2026-11-22`."""
    if api_key.revoked_at:
        return f"revoked {_day(api_key.revoked_at)}"
    if api_key.valid_until is None:
        return "active"
    return f"{'expired' if api_key.is_over(now) else 'active until'} {_day(api_key.valid_until)}"


def described(api_key: ApiKey) -> Iterator[str]:
    """What an operator has to know of a key that was just made, line by line; not the key."""
    yield f"Key {api_key.key_id} of tenant {api_key.tenant}, named {api_key.name!r}."
    yield f"Limits: {limits_in_words(api_key.limits)}."
    yield f"Valid until {api_key.valid_until}." if api_key.valid_until else "Valid until it is revoked."
    if api_key.operator:
        yield "An operator's key: it also sees the depth of the queues, which all tenants share."
    if api_key.webhook_urls:
        yield "Its jobs may name a webhook_url."
    yield "The key is shown this once and never again: store it safely."


def table(api_keys: Sequence[ApiKey], now: datetime) -> Iterator[str]:
    """The lines of a table of keys, with aligned columns."""
    rows = [("KEY ID", "TENANT", "NAME", "CREATED", "STATE", "OPERATOR", "LIMITS")]
    rows += [
        (
            api_key.key_id,
            api_key.tenant,
            api_key.name,
            _day(api_key.created_at),
            state_in_words(api_key, now),
            "yes" if api_key.operator else "no",
            limits_in_words(api_key.limits),
        )
        for api_key in api_keys
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _day(moment: str) -> str:
    return moment.partition("T")[0]
