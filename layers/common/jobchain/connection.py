"""Checks the settings of a connection: URLs, keys, proxies, certificate files.

The worker, the local stack and the command line check the same settings, each before it connects: afterwards, a wrong
setting would look like an outage. Imports only the standard library, and little of it.
"""

import os
import re
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

_LONGEST_SHOWN = 120

# Paths of single calls, which are not a part of a base URL.
_CALLS = ("/chat/completions", "/completions", "/responses", "/models", "/embeddings")

_SCHEMES = ("http", "https")
_SOCKS = ("socks5", "socks5h")

# Names that no public DNS has: https://www.iana.org/assignments/special-use-domain-names
_PRIVATE_SUFFIXES = (".local", ".localhost", ".internal", ".lan", ".home", ".corp", ".test", ".home.arpa")

_QUOTES = "\"'`"
_CURLY = "\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u00ab\u00bb"
_INVISIBLE = "\u00ad\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\ufeff"
_SPACES = " \t\u00a0\u2007\u202f\u3000"

# As botocore and httpx2 read them; each uses the first one that is set.
_HTTP = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_AWS = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE")


class UnusableSetting(ValueError):
    """A setting with which no connection can be made: names it, what is wrong, and the fix. It never contains a key."""


# --- keys ------------------------------------------------------------------------------------------------------------


def checked_key(name: str, key: str) -> str:
    """The API key in the setting `name`, trimmed. Raises UnusableSetting if it can't be sent in a header.

    The error names the kind and the position of a wrong character, and no part of the key.
    """
    key = key.strip()
    if not key:
        raise UnusableSetting(f"{name} holds no API key: put the key there as plain text")
    if key.startswith("{"):
        raise UnusableSetting(f"{name} holds JSON, not an API key: put the key alone there, as plain text")
    if found := _odd_character(key):
        raise UnusableSetting(f"{name} can't be an API key: it holds {found}; copy the key again, as plain text")
    if key[0] in _QUOTES or key[-1] in _QUOTES:
        raise UnusableSetting(f"{name} has quotation marks around the API key: remove them")
    if assigned := re.match(r"(export)?[A-Z][A-Z0-9_]*=", key):
        raise UnusableSetting(f"{name} begins with {assigned[0]!r}: put the API key alone there")
    return key


def checked_name(name: str, value: str) -> str:
    """The model's name, or another identifier, in the setting `name`, trimmed. Raises UnusableSetting.

    No server has a model of another name, and no header could carry it.
    """
    value = value.strip()
    if not value:
        raise UnusableSetting(f"{name} is empty: set it")
    if found := _odd_character(value):
        raise UnusableSetting(f"{name} can't be used: it holds {found}; type it again, as plain text")
    if value[0] in _QUOTES or value[-1] in _QUOTES:
        raise UnusableSetting(f"{name} has quotation marks around it: remove them")
    return value


def _odd_character(text: str) -> str | None:
    """The first character that is not visible ASCII, in words; None where there is none."""
    for place, character in enumerate(text, start=1):
        if not "!" <= character <= "~":
            return f"{_named(character)} as character {place}"
    return None


def _named(character: str) -> str:
    code = f"U+{ord(character):04X}"
    if character in "\r\n\u2028\u2029":
        return "a line break"
    if character in _SPACES:
        return f"a space ({code})"
    if character in _CURLY:
        return f"a curly quotation mark ({code})"
    if character in _INVISIBLE:
        return f"an invisible character ({code})"
    return f"a control character ({code})" if ord(character) < 160 else f"a character outside ASCII ({code})"


# --- URLs ------------------------------------------------------------------------------------------------------------


def checked_url(name: str, url: str, example: str = "https://example.com/v1") -> str:
    """The URL in the setting `name`, trimmed: http or https, a host, no query. Raises UnusableSetting."""
    url = url.strip()

    def refuse(why: str, fix: str = f"set it to a URL such as {example}") -> UnusableSetting:
        return UnusableSetting(f"{name} is {shown(url)}, which can't be used: {why}; {fix}")

    if found := _odd_character(url):
        raise refuse(f"it holds {found}")
    if not url or url[0] in _QUOTES or url[-1] in _QUOTES:
        raise refuse("it has quotation marks around it" if url else "it is empty")
    if "://" not in url and not url.startswith(("http:", "https:")):
        scheme = "http" if is_private(f"http://{url}") else "https"
        raise refuse("it has no scheme", f"set it to {shown(f'{scheme}://{url}', quoted=False)}")
    parts = _split(url)
    if parts is None or "://" not in url:
        raise refuse("it is malformed")
    if parts.scheme not in _SCHEMES:
        raise refuse(f"its scheme is {parts.scheme!r}, not http or https")
    if not parts.hostname:
        raise refuse("it has no host")
    if "?" in url or "#" in url:
        raise refuse("it has a query or a fragment", "leave that out")
    return url


def checked_model_url(name: str, url: str) -> str:
    """The base URL of a model's server, trimmed; the paths of calls are appended to it. Raises UnusableSetting."""
    url = checked_url(name, url, "https://models.example.com/v1")
    base = url.rstrip("/")
    if base.endswith("/v1/v1"):
        fix = shown(base.removesuffix("/v1"), quoted=False)
        raise UnusableSetting(f"{name} is {shown(url)}, which has /v1 twice: set it to {fix}")
    for call in _CALLS:
        if base.endswith(call):
            raise UnusableSetting(
                f"{name} is {shown(url)}, the address of a single call: set it to the part before {call}, "
                f"{shown(base.removesuffix(call), quoted=False)}"
            )
    return url


def shown(url: str, *, quoted: bool = True) -> str:
    """A URL as a message shows it: in ASCII, shortened, and without credentials and query."""
    url = re.split(r"[?#]", url, maxsplit=1)[0] + ("?…" if "?" in url else "")
    scheme, slashes, rest = url.partition("//")
    if not slashes:
        scheme, rest = "", url
    if "@" in rest:
        rest = f"***@{rest.rpartition('@')[2]}"
    text = f"{scheme}{slashes}{rest}"
    escaped = "".join(c if c.isprintable() and (c.isascii() or c == "…") else ascii(c)[1:-1] for c in text)
    short = escaped if len(escaped) <= _LONGEST_SHOWN else f"{escaped[:_LONGEST_SHOWN]}…"
    return f"'{short}'" if quoted else short


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine, so that no proxy and no certificate is needed."""
    host = _host(url)
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def hides_keys(url: str) -> bool:
    """Whether no other machine can read what is sent to a URL: by TLS, or because it leads to this one."""
    return url.lower().startswith("https:") or is_loopback(url)


def is_private(url: str) -> bool:
    """Whether a URL leads to this machine, or to an address or a name of a private network."""
    host = _host(url)
    try:
        return not ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith(_PRIVATE_SUFFIXES)


def _host(url: str) -> str:
    parts = _split(url)
    return (parts.hostname or "").rstrip(".") if parts else ""


def _split(url: str) -> SplitResult | None:
    """The parts of a URL whose host and port can be read; None for one that is malformed."""
    try:
        parts = urlsplit(url)
        if parts.port == 0 or not re.fullmatch(r"[A-Za-z0-9._~%:-]*", parts.hostname or ""):
            return None
    except ValueError:
        return None
    return parts


# --- the environment of a process -------------------------------------------------------------------------------------


def check_http_environment(environment: Mapping[str, str]) -> None:
    """Checks what httpx2 reads from the environment for each of its clients. Raises UnusableSetting.

    It reads all proxies, whichever of them a request would use, and the certificates, even for plain http.
    """
    for variable, proxy in _proxies(environment, ("http", "https", "all")):
        _check_proxy(variable, proxy, socks=True)
    _check_certificates(environment, _HTTP)


def check_aws_environment(environment: Mapping[str, str]) -> None:
    """Checks what botocore reads from the environment for calls to AWS. Raises UnusableSetting."""
    for variable, proxy in _proxies(environment, ("https",)):
        _check_proxy(variable, proxy, socks=False)
    _check_certificates(environment, _AWS)


def _proxies(environment: Mapping[str, str], kinds: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """The variables that name a proxy. The lowercase one takes precedence, and an empty one turns the proxy off."""
    if "*" in [host.strip() for host in (environment.get("no_proxy") or environment.get("NO_PROXY") or "").split(",")]:
        return
    for kind in kinds:
        names = (f"{kind}_proxy", f"{kind}_proxy".upper())
        variable = next((name for name in names if name in environment), None)
        if variable and environment[variable]:
            yield variable, environment[variable]


def _check_proxy(variable: str, proxy: str, *, socks: bool) -> None:
    fix = f"set {variable} to an HTTP proxy, such as http://127.0.0.1:3128, or unset it"

    def refuse(why: str) -> UnusableSetting:
        return UnusableSetting(f"the proxy {variable} is {shown(proxy)}, which can't be used: {why}; {fix}")

    if found := _odd_character(proxy):
        raise refuse(f"it holds {found}")
    parts = _split(proxy if "://" in proxy else f"http://{proxy}")
    if parts is None or not parts.hostname:
        raise refuse("it is malformed" if parts is None else "it has no host")
    if parts.scheme in _SOCKS and socks:
        if find_spec("socksio") is None:
            raise refuse("SOCKS needs the Python package socksio, which is not installed")
    elif parts.scheme not in _SCHEMES:
        raise refuse(f"proxies of the kind {parts.scheme}:// are not supported")


def _check_certificates(environment: Mapping[str, str], variables: tuple[str, ...]) -> None:
    variable = next((name for name in variables if environment.get(name)), None)
    if variable is None:
        return
    value = environment[variable]
    try:
        why = _folder_fault(value) if variable == "SSL_CERT_DIR" else _file_fault(value, or_folder=variable in _AWS)
    except OSError as error:
        why = str(error.strerror)
    if why:
        raise UnusableSetting(
            f"{variable} is {shown(value)}, which can't be used: {why}; set it to certificates in PEM format, "
            "or unset it"
        )


def _folder_fault(value: str) -> str | None:
    folders = [folder for folder in map(Path, value.split(os.pathsep)) if folder.is_dir()]
    return None if any(any(folder.iterdir()) for folder in folders) else "there is no such folder, or it is empty"


def _file_fault(value: str, *, or_folder: bool) -> str | None:
    # Imported only where the variable is set: it makes a start slower.
    import ssl  # noqa: PLC0415

    if Path(value).is_dir():
        return _folder_fault(value) if or_folder else "it is a folder, not a file"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(value)
    except FileNotFoundError:
        return "there is no such file"
    except ssl.SSLError:
        return "the file holds no certificate in PEM format"
    return None
