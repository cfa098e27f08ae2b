"""Documents that are no plain text: which kind each is, and its text, which a process of its own reads within bounds.

The libraries that read them come with the extra `jobchain[documents]`. They see only the bytes of the document: the
process has none of the command's environment, so none of its keys, and ends when its memory or time is used up.
"""

import io
import json
import os
import re
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import PurePath
from urllib.parse import urlsplit

MAX_BYTES = 50_000_000
"""The largest document. A text of 100,000 characters needs a small part of that; pictures take the rest."""

SECONDS = 60.0
"""How long the reading of one document may take."""

MAX_PARTS = 5_000
"""The most files in a Word document."""

MAX_CHARACTERS = 100_000
"""The longest text that the API takes: docs/reference/http-api.md."""

PACKAGES = ("bs4", "mammoth", "markdownify", "pypdfium2", "striprtf")

MEDIA_TYPES = {
    "application/pdf": "pdf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/rtf": "rtf",
    "text/rtf": "rtf",
    "text/html": "html",
    "application/xhtml+xml": "html",
}
"""What a server calls the documents that are read."""

_ENDINGS = {".docx": "docx", ".htm": "html", ".html": "html", ".pdf": "pdf", ".rtf": "rtf", ".xhtml": "html"}
_KINDS = {"pdf": "a PDF", "docx": "a Word document", "html": "a web page", "rtf": "an RTF document"}

# A comment or a declaration may be in front of the first element.
_HTML = re.compile(
    rb"(?:\s++|<!--(?:(?!-->).){0,2000}+-->|<\?xml(?:(?!\?>).){0,200}+\?>)*+<(?:!doctype\s+html|html[\s>])",
    re.IGNORECASE | re.DOTALL,
)
_BOM = b"\xef\xbb\xbf"

_PICTURE = "a picture, and holds no text that can be read: recognize it first (OCR)"
_ARCHIVE = "an archive: unpack it first"
_REFUSED = {
    b"\x89PNG": _PICTURE,
    b"\xff\xd8\xff": _PICTURE,
    b"GIF8": _PICTURE,
    b"II*\x00": _PICTURE,
    b"MM\x00*": _PICTURE,
    b"\x1f\x8b": _ARCHIVE,
    b"7z\xbc\xaf": _ARCHIVE,
    b"Rar!": _ARCHIVE,
}
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ZIP = b"PK\x03\x04"
_OTHER_ZIPS = {
    "xl/workbook": "a spreadsheet: save the part that is a text as .txt or .pdf",
    "ppt/presentation": "a presentation: export it as .pdf",
    "META-INF/container.xml": "an EPUB file: convert it to .html or .pdf first",
    "content.xml": "an OpenDocument file: save it as .docx or .pdf",
}


class DocumentError(Exception):
    """A document can't be read; says why, and what to do, without the document's name."""


def kind_of(name: str, content: bytes, media_type: str = "") -> str | None:
    """Which document this is: `pdf`, `docx`, `html` or `rtf`; None for what may be a plain text.

    The content decides, then what the server calls it, then the ending of its name. Raises DocumentError for a document
    of a kind that is not read.
    """
    start = content.removeprefix(_BOM)[:4096]
    if found := _kind_inside(start, content):
        return found
    for mark, why in _REFUSED.items():
        if start.startswith(mark):
            raise DocumentError(why)
    named = MEDIA_TYPES.get(media_type) or _ENDINGS.get(PurePath(_path(name)).suffix.lower())
    if named and named != "html" and content.strip():
        raise DocumentError(f"named as {_KINDS[named]}, but it is none: is it damaged, or renamed?")
    return "html" if named == "html" else None


def _kind_inside(start: bytes, content: bytes) -> str | None:
    if b"%PDF-" in start[:1024]:
        return "pdf"
    if start.startswith(b"{\\rtf"):
        return "rtf"
    if start.startswith(_ZIP):
        return _kind_of_zip(content)
    if start.startswith(_OLE):
        if "EncryptedPackage".encode("utf-16-le") in content:
            raise DocumentError("encrypted with a password: save it without one")
        raise DocumentError("a document of Office before 2007: save it as .docx or .pdf")
    return "html" if _HTML.match(start) else None


def text_of(kind: str, content: bytes, charset: str | None = None) -> tuple[str, list[str]]:
    """The text of a document, and what a reader should know of it, such as pages without text.

    `charset` is that of a web page, as its server says. Raises DocumentError if it has none that can be read, or if the
    extra is missing.
    """
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise DocumentError(
            f"{_KINDS[kind]}, and the command needs the package {missing[0]} to read it: install jobchain[documents], "
            "or save the text as .txt or .md"
        )
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "jobchain_cli.converting", kind, charset or ""],
            input=content,
            capture_output=True,
            timeout=SECONDS,
            check=False,
            env=_environment(),
        )
    except subprocess.TimeoutExpired as error:
        raise DocumentError(f"its text could not be read within {SECONDS:g} s: save its text as .txt") from error
    try:
        answer = json.loads(done.stdout)
        if "fault" in answer:
            raise DocumentError(str(answer["fault"]))
        return str(answer["text"]), [str(note) for note in answer["notes"]]
    except (ValueError, KeyError, TypeError) as error:
        # It was ended by the system, or by a fault of the library.
        raise DocumentError(
            f"damaged, or too large to read in the memory that is allowed (exit code {done.returncode}): open it and "
            "save it again, or save its text as .txt"
        ) from error


def _environment() -> dict[str, str]:
    """What a Python of this installation needs, and nothing else."""
    kept = {
        name: os.environ[name] for name in ("LD_LIBRARY_PATH", "PATH", "SYSTEMROOT", "TMPDIR") if name in os.environ
    }
    return {**kept, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "PYTHONIOENCODING": "utf-8"}


def _kind_of_zip(content: bytes) -> str:
    # Each entry of the directory becomes an object, here and not in the process with a limit.
    if content.count(b"PK\x01\x02") > MAX_PARTS:
        raise DocumentError(f"over {MAX_PARTS:,} files in it: {_ARCHIVE.removeprefix('an archive: ')}")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        raise DocumentError("a damaged ZIP archive or Word document: open it and save it again") from error
    if any(name.startswith("word/document") for name in names):
        return "docx"
    raise DocumentError(
        next((why for start, why in _OTHER_ZIPS.items() if any(name.startswith(start) for name in names)), _ARCHIVE)
    )


def _path(name: str) -> str:
    try:
        return urlsplit(name).path if "://" in name else name
    except ValueError:
        return ""
