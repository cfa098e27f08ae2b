"""Reads a document from standard input, and writes its text as JSON: the process that `documents.text_of` starts.

`python -m jobchain_cli.converting KIND CHARSET`. The output is `{"text", "notes"}`, or `{"fault"}`, which says why
there is no text, and what to do.
"""

import io
import json
import logging
import re
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, NoReturn
from xml.parsers import expat

from jobchain_cli.charsets import is_text_encoding
from jobchain_cli.documents import MAX_BYTES, MAX_CHARACTERS, MAX_PARTS, SECONDS
from jobchain_cli.html_text import html_text

MAX_MEMORY = 1_500_000_000
"""Bytes of address space that a process may take. Neither Windows nor macOS knows such a limit."""

MAX_PAGES = 1_000
"""The most pages of a PDF. 100,000 characters fill 30 to 60."""

MAX_UNPACKED = 200_000_000
"""Bytes of all files of a Word document together, unpacked: four times `documents.MAX_BYTES`."""

_FEWEST = 20
"""Characters that a page with a picture has at least if it is not a scan: a scan may have a number or a stamp."""

_MOST_UNREADABLE = 0.1
"""The share of characters without a meaning above which a text is useless."""

Result = tuple[str, list[str]]

_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\ufffe\uffff]")
_UNREADABLE = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\ufffd\ue000-\uf8ff]")
_LINE_ENDS = re.compile(r"\r\n?")
_BLANK_LINES = re.compile(r"\n{3,}")


class Unreadable(Exception):
    """A document has no text that can be had; says why, and what to do."""


def convert(kind: str, content: bytes, charset: str | None = None) -> Result:
    """The text of a document, and what a reader should know of it. Raises Unreadable."""
    if len(content) > MAX_BYTES:
        raise Unreadable(f"over {MAX_BYTES:,} bytes: save its text as .txt")
    try:
        text, notes = _READERS[kind](content, charset)
    except RecursionError as error:
        raise Unreadable("nested too deeply: save its text as .txt") from error
    except MemoryError as error:
        raise Unreadable("too large to read in the memory that is allowed: save its text as .txt") from error
    lines = _CONTROLS.sub("", _LINE_ENDS.sub("\n", text)).split("\n")
    return _BLANK_LINES.sub("\n\n", "\n".join(line.rstrip(" \t") for line in lines)).strip(" \t\n") + "\n", notes


# --- PDF -------------------------------------------------------------------------------------------------------------


def _pdf(content: bytes, _charset: str | None) -> Result:
    """Pages are divided by form feeds, by which a server finds quotes across them, whatever their footers."""
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError as error:
        raise Unreadable(_pdf_fault(error.err_code)) from error
    count = len(document)
    if count > MAX_PAGES:
        raise Unreadable(f"{count:,} pages, at most {MAX_PAGES:,} are read: submit the pages that matter")
    pages: list[str] = []
    scans: list[int] = []
    characters = 0
    for number in range(count):
        try:
            page = document[number]
            text = _page_text(page.get_textpage().get_text_range())
            if len(text.strip()) < _FEWEST and _has_picture(page):
                scans.append(number + 1)
        except pypdfium2.PdfiumError as error:
            raise Unreadable(f"page {number + 1} of {count} is damaged: open it and save it again") from error
        pages.append(text)
        characters += len(text)
        if characters > MAX_CHARACTERS:
            raise Unreadable(
                f"over {MAX_CHARACTERS:,} characters, the most that the API takes, at page {number + 1} of {count}: "
                "submit it in parts"
            )
        page.close()
    text = "\n\f".join(pages)
    _check_readable(text, count, scans)
    return text, _notes_of(scans, count)


def _pdf_fault(code: int | None) -> str:
    # https://pdfium.googlesource.com/pdfium/+/refs/heads/main/public/fpdfview.h: FPDF_ERR_PASSWORD, FPDF_ERR_SECURITY
    if code == 4:
        return "encrypted with a password: save it without one, for instance by printing it to a PDF"
    if code == 5:
        return "encrypted in a way that is not known: save it without that, for instance by printing it to a PDF"
    return "a damaged PDF: open it and save it again, or save its text as .txt"


def _page_text(text: str) -> str:
    # PDFium joins the parts of a word that a hyphen divides at the end of a line, with this in place of both. The
    # hyphen may belong to the word, so it stays.
    return text.replace("\r\n", "\n").replace("\x02\n", "-\n").replace("\x02", "-\n").replace("\ufffe", "-\n")


def _has_picture(page: Any) -> bool:
    import pypdfium2.raw

    return any(True for _ in page.get_objects(filter=[pypdfium2.raw.FPDF_PAGEOBJ_IMAGE], max_depth=3))


def _check_readable(text: str, count: int, scans: list[int]) -> None:
    """Raises Unreadable if the pages are scans, or if their fonts do not say which characters they show."""
    pages = "its page is" if count == 1 else f"its {count} pages are"
    if (scans and len(scans) * 2 > count) or not text.strip():
        raise Unreadable(
            f"without text: {pages} scanned, or drawn. Recognize the text first, for instance with "
            "`ocrmypdf in.pdf out.pdf`"
        )
    if len(_UNREADABLE.findall(text)) > _MOST_UNREADABLE * len(text):
        raise Unreadable(
            "its fonts do not say which characters they show. Recognize the text, for instance with "
            "`ocrmypdf --force-ocr in.pdf out.pdf`"
        )


def _notes_of(scans: list[int], count: int) -> list[str]:
    if not scans:
        return []
    which = ", ".join(map(str, scans[:10])) + (", …" if len(scans) > 10 else "")
    return [f"{len(scans)} of {count} pages are pictures without text, and are left out: {which}"]


# --- Word ------------------------------------------------------------------------------------------------------------


def _docx(content: bytes, _charset: str | None) -> Result:
    import mammoth

    _check_parts(content)
    try:
        done = mammoth.convert_to_html(
            io.BytesIO(content),
            include_embedded_style_map=False,
            external_file_access=False,
            # A picture has no text, and is not even unpacked.
            convert_image=lambda _image: [],
        )
    except (KeyError, ValueError, AttributeError, TypeError, IndexError, OSError, expat.ExpatError) as error:
        raise Unreadable(_DAMAGED_DOCX) from error
    text = html_text(done.value)
    if not text.strip():
        raise Unreadable("without text: if it shows pictures of text, recognize that first (OCR)")
    return text, []


_DAMAGED_DOCX = "a damaged Word document: open it and save it again, or save its text as .txt"


def _check_parts(content: bytes) -> None:
    """Refuses what would unpack to very much, and XML with entities. Raises Unreadable."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts = archive.infolist()
            if len(parts) > MAX_PARTS or sum(part.file_size for part in parts) > MAX_UNPACKED:
                raise Unreadable(
                    f"a ZIP bomb, or far too large: unpacked it is over {MAX_UNPACKED:,} bytes or {MAX_PARTS:,} files"
                )
            for part in parts:
                content = archive.read(part)
                if part.filename.lower().endswith((".xml", ".rels")):
                    _check_xml(content)
                elif b"<" in content[:200]:
                    # A document names its parts itself, and so its text may be in any. A picture may have a type.
                    with suppress(expat.ExpatError):
                        _check_xml(content, may_have_type=True)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError, OSError, ValueError) as error:
        # A RuntimeError is a part that is encrypted, or nested too deeply.
        raise Unreadable(_DAMAGED_DOCX) from error
    except expat.ExpatError as error:
        raise Unreadable(_DAMAGED_DOCX) from error


def _check_xml(content: bytes, *, may_have_type: bool = False) -> None:
    """No part of a Word document has a document type, in which entities are declared."""

    def refuse(*_given: Any) -> NoReturn:
        raise Unreadable("its XML declares a document type, which no Word document does: it may be an attack")

    parser = expat.ParserCreate()
    if not may_have_type:
        parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.Parse(content, True)


# --- HTML and RTF ----------------------------------------------------------------------------------------------------

_META = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
_BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
# https://encoding.spec.whatwg.org/#names-and-labels: what pages call so is this.
_LABELS = {"iso-8859-1": "windows-1252", "latin1": "windows-1252", "us-ascii": "windows-1252", "ascii": "windows-1252"}


def _html(content: bytes, charset: str | None) -> Result:
    text = html_text(_decoded(content, charset))
    if not text.strip():
        raise Unreadable("without text: a script may write it in the browser. Save the page's text as .txt")
    return text, []


def _decoded(content: bytes, charset: str | None) -> str:
    marked = next((name for mark, name in _BOMS.items() if content.startswith(mark)), None)
    meta = _META.search(content[:4096])
    label = marked or charset or (meta[1].decode() if meta else "utf-8")
    says = (
        "no encoding is named, and it is" if not (marked or charset or meta) else f"its encoding is {label}, but it is"
    )
    if not is_text_encoding(label):
        raise Unreadable(f"in an unknown encoding, {label!r}: save it as UTF-8")
    try:
        return content.decode(_LABELS.get(label.lower(), label))
    except UnicodeError as error:
        byte = f" (byte {error.start})" if isinstance(error, UnicodeDecodeError) else ""
        raise Unreadable(f"{says} not {label}{byte}: save it as UTF-8") from error


def _rtf(content: bytes, _charset: str | None) -> Result:
    from striprtf.striprtf import rtf_to_text

    page = re.search(rb"\\ansicpg(\d{1,5})", content[:4096])
    encoding = f"cp{int(page[1])}" if page else "cp1252"
    try:
        text = rtf_to_text(content.decode(encoding, "replace"), encoding=encoding, errors="replace")
    except LookupError as error:
        raise Unreadable(f"in an unknown encoding, {encoding}: save it as .docx or .txt") from error
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError) as error:
        raise Unreadable("a damaged RTF document: open it and save it again, or save it as .docx") from error
    if not text.strip():
        raise Unreadable("without text: if it shows pictures of text, recognize that first (OCR)")
    return text, []


_READERS: Mapping[str, Callable[[bytes, str | None], Result]] = {"pdf": _pdf, "docx": _docx, "html": _html, "rtf": _rtf}


# --- the process -----------------------------------------------------------------------------------------------------


def _bound() -> None:
    """Has the system end this process when its memory or time is used up, as far as the system can."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows: the parent's limit of time is all
        return
    for limit, most in (
        (resource.RLIMIT_AS, MAX_MEMORY),
        (resource.RLIMIT_CPU, int(SECONDS)),
        (resource.RLIMIT_CORE, 0),
    ):
        # macOS takes none for memory.
        with suppress(ValueError, OSError):
            resource.setrlimit(limit, (most, most))


def _answer(arguments: list[str]) -> Iterator[tuple[str, Any]]:
    kind, charset = arguments
    try:
        text, notes = convert(kind, sys.stdin.buffer.read(MAX_BYTES + 1), charset or None)
        yield from (("text", text), ("notes", notes))
    except Unreadable as error:
        yield "fault", str(error)


def main() -> None:
    """Converts standard input."""
    _bound()
    warnings.simplefilter("ignore")
    logging.disable()
    print(json.dumps(dict(_answer(sys.argv[1:]))))


if __name__ == "__main__":
    main()
