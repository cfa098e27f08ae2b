"""The texts that are to be submitted: of files, of standard input, of the web."""

import sys
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import BinaryIO
from urllib.parse import urlsplit

from jobchain.connection import shown
from jobchain.text import is_blank
from jobchain_cli.slow import told_when_slow

MAX_CHARACTERS = 100_000
"""The longest text that the API takes: docs/reference/http-api.md."""

MAX_BYTES = 4 * MAX_CHARACTERS + 3
"""What a text of that length can take in UTF-8, with a byte order mark."""

MAX_TITLE = 200
"""The longest title that the API takes: docs/reference/http-api.md."""

FETCH_SECONDS = 30.0
_REDIRECTS = 5


class SourceError(Exception):
    """A text can't be had, or can't be submitted; says which, why, and what to do."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text, and the name of where it is from."""

    source: str
    content: str

    @property
    def title(self) -> str | None:
        """The name of its file, as far as the API takes one; None for standard input, or a name that is no text."""
        path = urlsplit(self.source).path if "://" in self.source else self.source
        name = " ".join(PurePath(path).name.split())[:MAX_TITLE]
        if self.source == "-" or is_blank(name):
            return None
        # A name that is not UTF-8 has halves of characters.
        return name.encode("utf-8", "replace").decode()


def read(source: str) -> Text:
    """The text of a file, of standard input (`-`), or of an http(s) URL. Raises SourceError."""
    if source == "-":
        return Text("-", _checked("standard input", _limited("standard input", sys.stdin.buffer)))
    scheme, separator, _ = source.partition("://")
    if not separator:
        return Text(source, read_file(Path(source)))
    if scheme.lower() not in ("http", "https"):
        raise SourceError(f"{source}: only http and https are fetched; name a file by its path")
    return Text(source, _fetch(source))


def read_file(path: Path) -> str:
    """A file's text, fit to be submitted. Raises SourceError."""
    try:
        with path.open("rb") as file:
            return _checked(str(path), _limited(str(path), file))
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        # A NUL in the name.
        raise SourceError(f"{str(path)!r}: {error}") from error


def _limited(name: str, file: BinaryIO) -> bytes:
    content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise SourceError(f"{name}: over {MAX_BYTES:,} bytes. The API takes at most {MAX_CHARACTERS:,} characters")
    return content


def _checked(name: str, content: bytes, encoding: str = "utf-8-sig") -> str:
    try:
        text = content.decode(encoding)
    except UnicodeError as error:
        said = "UTF-8" if encoding == "utf-8-sig" else encoding
        where = f" (byte {error.start})" if isinstance(error, UnicodeDecodeError) else ""
        raise SourceError(f"{name}: not {said}{where}. Convert it first, for instance with iconv") from error
    if "\0" in text:
        raise SourceError(f"{name}: holds a NUL character: it is no text")
    if is_blank(text):
        raise SourceError(f"{name}: empty. The API takes texts of 1 to {MAX_CHARACTERS:,} characters")
    if (length := len(text.strip())) > MAX_CHARACTERS:
        raise SourceError(f"{name}: {length:,} characters. The API takes at most {MAX_CHARACTERS:,}")
    return text


def _fetch(url: str) -> str:
    # Only those who fetch pay for the import.
    import time

    import httpx2

    from jobchain_client import BadArgument
    from jobchain_client.transport import trusts_environment

    deadline = time.monotonic() + FETCH_SECONDS
    content = bytearray()
    try:
        trust_env = trusts_environment(url)
        with (
            told_when_slow(f"the text at {shown(url)}"),
            httpx2.Client(
                follow_redirects=True, max_redirects=_REDIRECTS, timeout=FETCH_SECONDS, trust_env=trust_env
            ) as http,
            http.stream("GET", url, headers={"Accept": "text/plain, text/markdown, text/*;q=0.5"}) as response,
        ):
            if response.status_code != 200:
                raise SourceError(f"{url}: the server answered {response.status_code}")
            encoding = _checked_type(url, response.headers.get("Content-Type", ""), response.charset_encoding)
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) > MAX_BYTES:
                    raise SourceError(
                        f"{url}: over {MAX_BYTES:,} bytes. The API takes at most {MAX_CHARACTERS:,} characters"
                    )
                if time.monotonic() > deadline:
                    raise SourceError(f"{url}: not all of it came within {FETCH_SECONDS:g} s")
    except (httpx2.HTTPError, httpx2.InvalidURL, BadArgument, UnicodeError) as error:
        raise SourceError(f"{url}: {str(error) or type(error).__name__}") from error
    return _checked(url, bytes(content), encoding)


def _checked_type(url: str, header: str, charset: str | None) -> str:
    """The encoding of what is text. Raises SourceError for anything else."""
    media_type = header.partition(";")[0].strip().lower()
    if media_type in ("text/html", "application/xhtml+xml"):
        raise SourceError(
            f"{url}: a web page, with menus and markup. Submit its text: `lynx -dump -nolist URL | jobchain submit -`, "
            "or look for a plain-text or Markdown form of it"
        )
    if not media_type.startswith("text/"):
        raise SourceError(f"{url}: {media_type or 'of no type that the server names'}, not text")
    if charset is None or charset.lower() in ("utf-8", "utf8", "us-ascii"):
        return "utf-8-sig"
    try:
        "".encode(charset)
    except (LookupError, UnicodeError):
        raise SourceError(f"{url}: in an unknown encoding, {charset!r}") from None
    return charset
