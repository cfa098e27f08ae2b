"""The rules of a webhook's URL: https, a public name, a known port. Its addresses are checked when it is called.

The URL is parsed here alone, by one strict pattern: two parsers that differ about a host are a way past a check.
"""

import re
from dataclasses import dataclass
from ipaddress import ip_address

MOST_CHARACTERS = 1024
"""The longest URL."""

PORTS = (443, 8443)
"""The ports that a URL may name."""

_EXAMPLE = "https://hooks.example.com/jobchain"
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")

_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<path>/[^?#]*)?(?P<query>\?[^#]*)?(?P<fragment>#.*)?"
)
# https://www.rfc-editor.org/rfc/rfc3986#appendix-A
_CHARACTER = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]")
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HOST_AND_PORT = re.compile(r"(?P<host>\[[^\[\]]*:[^\[\]]*\]|[^:\[\]]*)(:(?P<port>.*))?")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
# So no name is a number, which some resolvers take for an address: 2130706433, 0x7f.1, 127.1.
_LAST_LABEL = re.compile(r"[a-z]{2,63}|xn--[a-z0-9-]{1,59}")
_LONGEST_NAME = 253

# Names that no public DNS has: https://www.iana.org/assignments/special-use-domain-names, and what networks use.
_PRIVATE = (
    *("alt", "arpa", "corp", "example", "home", "internal", "intranet", "invalid", "lan", "local", "localdomain"),
    *("localhost", "onion", "private", "test"),
)


class UnusableUrl(ValueError):
    """A URL that no event is sent to: names the field, what is wrong, and the fix. It does not contain the URL.

    `reason` is the message without the field.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field} can't be used: {reason}")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Target:
    """Where a webhook is sent: a URL in its parts. `path` has the query too."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def is_secure(self) -> bool:
        return self.scheme == "https"

    @property
    def authority(self) -> str:
        """The value of the header `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _default_port(self.scheme) else f"{host}:{self.port}"


def webhook_target(field: str, url: str, *, local: bool = False) -> Target:
    """The parts of the URL in `field`. Raises UnusableUrl where no event may be sent to it.

    `local` for a stack on the caller's own machine: http and https to that machine, at any port, are allowed too.
    """
    try:
        target = _parsed(url)
        if not (local and target.host in _THIS_MACHINE):
            _check_public(target)
    except _Unusable as found:
        raise UnusableUrl(field, f"{found.why}; {found.fix}") from None
    return target


class _Unusable(Exception):
    def __init__(self, why: str, fix: str = f"set it to a URL such as {_EXAMPLE}") -> None:
        super().__init__(why)
        self.why = why
        self.fix = fix


def _parsed(url: str) -> Target:
    """The parts of a URL. Raises _Unusable where it is malformed, or has what no webhook needs."""
    if len(url) > MOST_CHARACTERS:
        raise _Unusable(f"it has {len(url)} characters, more than {MOST_CHARACTERS}", "use a shorter URL")
    if fault := _character_fault(url):
        raise _Unusable(*fault)
    found = _URL.fullmatch(url)
    if found is None:
        raise _Unusable("it is no URL with a scheme and a host" if url else "it is empty")
    if "@" in found["authority"]:
        raise _Unusable("it has a user or a password", "leave that out: each request is signed")
    if found["fragment"] is not None:
        raise _Unusable("it has a fragment", "leave out the # and what follows it")
    scheme = found["scheme"].lower()
    if scheme not in ("https", "http"):
        raise _Unusable("its scheme is not https")
    parts = _HOST_AND_PORT.fullmatch(found["authority"])
    if parts is None:
        raise _Unusable("its host is malformed")
    path = (found["path"] or "/") + (found["query"] or "")
    return Target(scheme, parts["host"].strip("[]").lower(), _port(parts["port"], scheme), path)


def _check_public(target: Target) -> None:
    """Raises _Unusable where the target is not encrypted, or its host or port is not one of a public server."""
    if not target.is_secure:
        raise _Unusable("it is not encrypted", "use https")
    if why := _host_fault(target.host):
        raise _Unusable(why)
    if target.port not in PORTS:
        raise _Unusable(f"its port is {target.port}", f"use port {' or '.join(map(str, PORTS))}")


def _character_fault(url: str) -> tuple[str, str] | None:
    """What is wrong with the characters of a URL, and the fix; None if nothing is."""
    for place, character in enumerate(url, start=1):
        if _CHARACTER.match(character):
            continue
        code = f"U+{ord(character):04X}"
        if not character.isascii():
            fix = "write a host in its ASCII form (xn--…), and escape the rest (%C3%A4)"
            return f"it has a character outside ASCII ({code}) as character {place}", fix
        return f"it has a character that no URL has ({code}) as character {place}", "escape it, or remove it"
    if escape := _ESCAPE.search(url):
        return (
            f"its character {escape.start() + 1} is a % without two hexadecimal digits",
            "write %25 for a percent sign",
        )
    return None


def _host_fault(host: str) -> str | None:
    """Why a host is no public name; None if it may be one."""
    if not host:
        return "it has no host"
    if _is_address(host):
        return "its host is an address, not a name"
    if host.endswith("."):
        return "its host ends with a dot"
    labels = host.split(".")
    if len(host) > _LONGEST_NAME or not all(_LABEL.fullmatch(label) for label in labels):
        return "its host is no valid name"
    if len(labels) < 2 or labels[-1] in _PRIVATE:
        return "its host is a name of a private network, not a public one"
    if not _LAST_LABEL.fullmatch(labels[-1]):
        return "its host ends in a number, as an address does"
    return None


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return ":" in host
    return True


def _port(text: str | None, scheme: str) -> int:
    if text is None:
        return _default_port(scheme)
    if not re.fullmatch(r"[1-9][0-9]{0,4}", text, re.ASCII) or int(text) > 65535:
        raise _Unusable("its port is not a number of 1 to 65535", "leave the port out: it is 443 then")
    return int(text)


def _default_port(scheme: str) -> int:
    return 443 if scheme == "https" else 80
