"""The texts that are to be submitted: of files, of standard input, of the web; of documents, what is read of them."""

import sys
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import BinaryIO
from urllib.parse import urlsplit

from jobchain.connection import shown
from jobchain.text import is_blank
from jobchain_cli import documents
from jobchain_cli.charsets import is_text_encoding
from jobchain_cli.slow import told_when_slow
from jobchain_cli.words import in_one_line

MAX_CHARACTERS = 100_000
"""The longest text that the API takes: docs/reference/http-api.md."""

MAX_BYTES = 4 * MAX_CHARACTERS + 3
"""What a text of that length can take in UTF-8, with a byte order mark."""

MAX_TITLE = 200
"""The longest title that the API takes: docs/reference/http-api.md."""

FETCH_SECONDS = 30.0
_ACCEPTED = "text/plain, text/markdown, text/html;q=0.8, application/pdf;q=0.8, text/*;q=0.5, */*;q=0.1"
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
    """The text of a file, of standard input (`-`), or of an http(s) URL; of a document, what is read of it.

    Raises SourceError.
    """
    if source == "-":
        return Text("-", _text("standard input", _limited("standard input", sys.stdin.buffer)))
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
            return _text(str(path), _limited(str(path), file))
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        # A NUL in the name.
        raise SourceError(f"{str(path)!r}: {error}") from error


def _limited(name: str, file: BinaryIO) -> bytes:
    content = file.read(documents.MAX_BYTES + 1)
    _check_size(name, len(content))
    return content


def _check_size(name: str, size: int) -> None:
    if size > documents.MAX_BYTES:
        raise SourceError(f"{name}: over {documents.MAX_BYTES:,} bytes, the most that is read of a document")


def _text(name: str, content: bytes, media_type: str = "", charset: str | None = None) -> str:
    """The text of a source: that of a document, or all of it."""
    try:
        kind = documents.kind_of(name, content, media_type)
        if kind is None:
            return _decoded(name, content, charset or "utf-8-sig")
        with told_when_slow(f"the text of {shown(name)}"):
            text, notes = documents.text_of(kind, content, charset)
    except documents.DocumentError as error:
        raise SourceError(f"{name}: {error}") from error
    for note in notes:
        print(f"jobchain: {in_one_line(name)}: {in_one_line(note)}", file=sys.stderr)
    return _checked(name, text)


def _decoded(name: str, content: bytes, encoding: str) -> str:
    if len(content) > MAX_BYTES:
        raise SourceError(f"{name}: over {MAX_BYTES:,} bytes. The API takes at most {MAX_CHARACTERS:,} characters")
    try:
        return _checked(name, content.decode(encoding))
    except UnicodeError as error:
        raise SourceError(f"{name}: {_why_not(content, encoding, error)}") from error


def _why_not(content: bytes, encoding: str, error: UnicodeError) -> str:
    """Why the bytes are not in the encoding, in which they may be, and how to convert them."""
    said = "UTF-8" if encoding == "utf-8-sig" else encoding
    where = f" (byte {error.start})" if isinstance(error, UnicodeDecodeError) else ""
    marked = next((name for mark, name in _MARKS.items() if content.startswith(mark)), None)
    if marked:
        guess = f"its first bytes say {marked}"
    elif isinstance(error, UnicodeDecodeError) and said == "UTF-8":
        letter = content[error.start : error.start + 1].decode("cp1252", "replace")
        guess = f"in Windows-1252 this byte is {letter!r}" if letter.isprintable() else "it may be no text"
        marked = "WINDOWS-1252"
    else:
        return f"not {said}{where}. Save it as UTF-8"
    return f"not {said}{where}; {guess}. Save it as UTF-8, for instance with `iconv -f {marked} -t UTF-8`"


# The longer marks first: that of UTF-32 begins with that of UTF-16.
_MARKS = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}


def _checked(name: str, text: str) -> str:
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
            http.stream("GET", url, headers={"Accept": _ACCEPTED}) as response,
        ):
            if response.status_code != 200:
                raise SourceError(f"{url}: the server answered {response.status_code}")
            media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            charset = _charset(url, media_type, response.charset_encoding)
            is_text = media_type.startswith("text/") and media_type not in documents.MEDIA_TYPES
            for chunk in response.iter_bytes():
                content += chunk
                if is_text and len(content) > MAX_BYTES:
                    raise SourceError(
                        f"{url}: over {MAX_BYTES:,} bytes. The API takes at most {MAX_CHARACTERS:,} characters"
                    )
                _check_size(url, len(content))
                if time.monotonic() > deadline:
                    raise SourceError(f"{url}: not all of it came within {FETCH_SECONDS:g} s")
    except (httpx2.HTTPError, httpx2.InvalidURL, BadArgument, UnicodeError) as error:
        raise SourceError(f"{url}: {str(error) or type(error).__name__}") from error
    return _text(url, bytes(content), media_type, charset)


def _charset(url: str, media_type: str, charset: str | None) -> str | None:
    """The encoding that the server names, if it is not UTF-8. Raises SourceError for what is no text or document."""
    if media_type in documents.MEDIA_TYPES and media_type != "text/html":
        return None
    if not media_type.startswith("text/"):
        raise SourceError(f"{url}: {media_type or 'of no type that the server names'}, not a text or a document")
    if charset is None or charset.lower() in ("utf-8", "utf8", "us-ascii"):
        return None
    if not is_text_encoding(charset):
        raise SourceError(f"{url}: in an unknown encoding, {charset!r}")
    return charset
