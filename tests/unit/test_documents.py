"""Documents of the command line: PDF, Word, HTML and RTF files that the tests make."""

import importlib.util
import io
import json
import re
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobchain.chains.quotes import Original
from jobchain_cli import converting, documents
from jobchain_cli.converting import MAX_PAGES, Unreadable, convert
from jobchain_cli.documents import DocumentError, kind_of, text_of
from jobchain_cli.texts import SourceError, read
from tests.conftest import ROOT
from tests.documents import PICTURE, deflated, docx, paragraph, pdf, pdf_with_stream, table, zipped
from tests.unit import test_cli
from tests.unit.test_cli import FakeApi, Run, takes_a_job

served, api, url, home = test_cli.served, test_cli.api, test_cli.url, test_cli.home
offline, run = test_cli.offline, test_cli.run

RTF = (
    rb"{\rtf1\ansi\ansicpg1252\deff0{\fonttbl{\f0 Arial;}}{\header Page head}"
    rb"\f0 Doors must be locked.\par T\'fcren zu.\par}"
)
HTML = """<!doctype html>
<html><head><title>T</title><style>p{color:red}</style><script>steal()</script>
<body><header><a href=/>Home</a></header><nav><a href=x>Menu</a></nav>
<main><h1>Doors &amp; keys</h1><p>All <b>doors</b> must be <a href="http://e.test">locked</a><img src=x alt=pic>.</p>
<ol><li>Front<ul><li>key_1 * 2</li></ul></li><li>Back</li></ol>
<table><tr><th>Door</th><th>Who</th></tr><tr><td>Front</td><td>Ann</td></tr></table>
<p hidden>Hidden.</p><p style="display: none">Gone.</p><p>Not <del>valid</del>.</p><aside>Note.</aside></main>
<footer>(c)</footer></body></html>"""
HTML_TEXT = """# Doors & keys

All doors must be locked.

1. Front
   - key_1 * 2
2. Back

| Door | Who |
| --- | --- |
| Front | Ann |

Not ~~valid~~.

Note.
"""


def put(home: Path, name: str, content: bytes) -> str:
    (home / name).write_bytes(content)
    return name


# --- through the command ---------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("a.pdf", pdf([["Doors must be locked."]]), "Doors must be locked.\n"),
        ("a.docx", docx(paragraph("Doors must be locked.")), "Doors must be locked.\n"),
        ("a.html", HTML.encode(), HTML_TEXT),
        ("a.rtf", RTF, "Doors must be locked.\nTüren zu.\n"),
        # The content decides, whatever the name.
        ("a.txt", HTML.encode(), HTML_TEXT),
        ("a.md", pdf([["Doors must be locked."]]), "Doors must be locked.\n"),
        ("a", RTF, "Doors must be locked.\nTüren zu.\n"),
    ],
)
def test_the_text_of_a_document_is_submitted(
    run: Run, api: FakeApi, home: Path, name: str, content: bytes, text: str
) -> None:
    takes_a_job(api)

    said = run("submit", put(home, name, content), "--no-watch")

    assert (said.code, said.out) == (0, "job-1\n")
    assert api.bodies == [{"input_text": text, "title": name}]


@pytest.mark.slow
def test_a_document_of_the_web_is_read_as_one_of_this_machine(api: FakeApi, url: str, home: Path) -> None:
    api.says("GET /a", pdf([["Doors must be locked."]]), Content_Type="application/pdf")
    api.says("GET /b", "<p>T\xfcren zu.".encode("latin-1"), Content_Type="text/html; charset=ISO-8859-1")

    assert read(f"{url}/a").content == "Doors must be locked.\n"
    assert read(f"{url}/b").content == "Türen zu.\n"


@pytest.mark.slow
def test_pages_that_are_left_out_are_told(run: Run, api: FakeApi, home: Path) -> None:
    takes_a_job(api)

    said = run(
        "submit", put(home, "a.pdf", pdf([["Doors must be locked."], [PICTURE], ["Keys are kept."]])), "--no-watch"
    )

    assert "jobchain: a.pdf: 1 of 3 pages are pictures without text, and are left out: 2\n" in said.err


@pytest.mark.slow
def test_the_process_that_reads_a_document_has_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBCHAIN_API_KEY", "jc_secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")

    assert "secret" not in json.dumps({**documents._environment(), "PYTHONPATH": ""})
    assert text_of("html", b"<p>Doors.")[0] == "Doors.\n"


@pytest.mark.slow
def test_a_document_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "SECONDS", 0.001)

    with pytest.raises(DocumentError, match=r"could not be read within 0\.001 s"):
        text_of("rtf", RTF)


def test_without_the_extra_it_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(documents, "find_spec", lambda name: None if name == "pypdfium2" else real(name))

    with pytest.raises(SourceError, match=r"a\.pdf: a PDF, and the command needs .* install jobchain\[documents\]"):
        read(put(home, "a.pdf", pdf([["x"]])))


def test_what_reads_documents_is_in_no_function() -> None:
    files = [*ROOT.glob("layers/*/requirements.txt"), *ROOT.glob("functions/*/requirements.txt")]
    names = {line.partition("==")[0] for file in files for line in file.read_text().splitlines()}

    assert files
    assert not names & {"beautifulsoup4", "mammoth", "markdownify", "pypdfium2", "striprtf"}


# --- what is read ----------------------------------------------------------------------------------------------------


def test_a_quote_is_found_across_the_lines_and_pages_of_a_pdf() -> None:
    made = pdf(
        [
            [
                "Rules of the house",
                "",
                "Users must change their pass-",
                "words every ninety days, and they",
                "must",
                "",
                "Rules v2    Page 1",
            ],
            ["Rules of the house", "", "never share them with any-", "", "Rules v2    Page 2"],
            ["Rules of the house", "", "body else.", "", "Rules v2    Page 3"],
        ]
    )

    text, notes = convert("pdf", made)

    assert notes == []
    assert text.count("\f") == 2
    original = Original(text)
    assert original.holds("Users must change their passwords every ninety days")
    assert original.holds("they must never share them with anybody else.")
    assert not original.holds("they must share them")


def test_letters_of_a_pdf_keep_their_accents_and_ligatures_are_letters() -> None:
    assert convert("pdf", pdf([["“Türen” – must be closed (§ 3)"]]))[0] == "“Türen” – must be closed (§ 3)\n"


def test_a_pdf_that_anybody_may_read_is_read_though_it_is_encrypted() -> None:
    assert convert("pdf", pdf([["Doors must be locked."]], user=""))[0] == "Doors must be locked.\n"


def test_a_word_document_keeps_headings_tables_and_what_is_struck_out() -> None:
    body = (
        paragraph("Doors", "Heading1")
        + paragraph("All doors must be locked.")
        + paragraph("Not any more.", marks="<w:strike/>")
        + table(["Door", "Who"], ["Front", "Ann"])
        + "<w:p><w:del><w:r><w:delText>Deleted.</w:delText></w:r></w:del>"
        + "<w:ins><w:r><w:t>Inserted.</w:t></w:r></w:ins></w:p>"
    )

    text, _ = convert("docx", docx(body))

    assert text.startswith("# Doors\n\nAll doors must be locked.\n\n~~Not any more.~~\n\n")
    assert "| Front | Ann |" in text
    assert text.endswith("\n\nInserted.\n")
    assert "Deleted" not in text


def test_a_word_document_reads_no_other_file(home: Path) -> None:
    put(home, "secret.png", b"secret")
    relations = (
        '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r7" '
        'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/image" '
        f'Target="file://{home}/secret.png" TargetMode="External"/></Relationships>'
    )
    drawing = (
        "<w:p><w:r><w:drawing><wp:inline><a:graphic><a:graphicData><pic:pic><pic:blipFill>"
        '<a:blip r:link="r7"/></pic:blipFill></pic:pic></a:graphicData></a:graphic></wp:inline></w:drawing></w:r></w:p>'
    )
    made = docx(paragraph("Doors.") + drawing)
    made = zipped({**files_of(made), "word/_rels/document.xml.rels": relations.encode()})

    assert convert("docx", made)[0] == "Doors.\n"


def files_of(archive: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive)) as found:
        return {name: found.read(name) for name in found.namelist()}


@pytest.mark.parametrize(
    ("html", "text"),
    [
        # A page without the end of its head, without a main part, with a heading in its header.
        (
            "<html><head><title>T</title><body><header><h1>Rules</h1></header>Doors.<footer>x</footer>",
            "# Rules\n\nDoors.\n",
        ),
        ("<article><header>Of May</header>Doors.<footer>Note 1</footer></article>", "Of May\n\nDoors.\n\nNote 1\n"),
        ("<p>a &lt;b&gt; c", "a <b> c\n"),
        ("<p hidden=until-found>Folded.", "Folded.\n"),
        ("<pre>if x:\n    y</pre>", "```\nif x:\n    y\n```\n"),
        ("<p>one<br>two", "one\ntwo\n"),
        ("\ufeff<!-- saved --><html><p>Doors.", "Doors.\n"),
        (
            "<?xml version='1.0'?>\n<!-- a > b --><!---->\n<!DOCTYPE  html><p>Doors.<![if !x]><?php x ?><![endif]>",
            "Doors.\n",
        ),
    ],
)
def test_a_page_is_its_text_without_markup(html: str, text: str) -> None:
    assert kind_of("a.html", html.encode()) == "html"
    assert convert("html", html.encode())[0] == text


@pytest.mark.parametrize(
    ("content", "charset"),
    [
        ('<meta charset="iso-8859-1"><p>Türen'.encode("cp1252"), None),
        ('<meta http-equiv=x content="text/html; charset=windows-1252"><p>Türen'.encode("cp1252"), None),
        ("<p>Türen".encode("utf-16"), None),
        ("<p>Türen".encode("latin-1"), "latin-1"),
        ("\ufeff<p>Türen".encode(), "latin-1"),
    ],
)
def test_a_page_is_read_in_the_encoding_that_it_names(content: bytes, charset: str | None) -> None:
    assert convert("html", content, charset)[0] == "Türen\n"


def test_an_rtf_document_is_its_text() -> None:
    dropped = rb"{\*\generator X;}{\pict\pngblip 00ff}{\footnote No.}"
    rtf = rb"{\rtf1\ansi" + dropped + rb"Doors \b must\b0  be \u8220?locked\u8221?.\par}"

    assert convert("rtf", rtf)[0] == "Doors must be “locked”.\n"


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: pdf([["x"]], user="pass"), "encrypted with a password: save it without one"),
        (lambda: pdf([[PICTURE]] * 2), r"without text: its 2 pages are scanned.*ocrmypdf"),
        (lambda: pdf([[PICTURE, "Scan 1"]]), "its page is scanned"),
        (lambda: pdf([[]]), "without text"),
        (lambda: pdf([["Doors must be locked."]])[:300], "a damaged PDF"),
        (lambda: b"%PDF-1.7 nothing", "a damaged PDF"),
        (lambda: pdf([[]] * (MAX_PAGES + 1)), "1,001 pages, at most 1,000 are read"),
        (lambda: pdf([["x" * 90] * 50] * 30), "over 100,000 characters.* at page 22 of 30: submit it in parts"),
    ],
)
def test_a_pdf_without_a_text_that_can_be_had_is_refused(make: Callable[[], bytes], told: str) -> None:
    with pytest.raises(Unreadable, match=told):
        convert("pdf", make())


def test_a_pdf_whose_fonts_do_not_say_their_characters_is_refused() -> None:
    with pytest.raises(Unreadable, match=r"its fonts do not say .*ocrmypdf --force-ocr"):
        converting._check_readable("\ue001\ue002 \ufffd Doors", 1, [])


ENTITIES = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: docx(paragraph("x"), head=ENTITIES), "declares a document type"),
        (lambda: docx(paragraph("x"), head='<!DOCTYPE x SYSTEM "file:///etc/passwd">'), "declares a document type"),
        (lambda: docx(paragraph("x"), media=bytes(200_000_001)), "a ZIP bomb, or far too large"),
        (lambda: zipped({f"word/document{number}.xml": b"" for number in range(5_001)}), "over .* 5,000 files"),
        (lambda: docx("<w:p>"), "a damaged Word document"),
        (lambda: zipped({"word/document.xml": b"<x/>"}), "a damaged Word document|without text"),
        (lambda: docx(""), "without text"),
        (lambda: docx("<w:sdt><w:sdtContent>" * 5_000 + "</w:sdtContent></w:sdt>" * 5_000), "nested too deeply"),
    ],
)
def test_a_word_document_that_is_none_or_an_attack_is_refused(make: Callable[[], bytes], told: str) -> None:
    with pytest.raises(Unreadable, match=told):
        convert("docx", make())


def test_a_word_document_whose_text_is_in_a_part_of_another_name_declares_no_entities() -> None:
    files = zipfile.ZipFile(io.BytesIO(docx(paragraph("&b;"), head=ENTITIES)))
    renamed = {
        name.replace("document.xml", "document.bin"): files.read(name).replace(b"document.xml", b"document.bin")
        for name in files.namelist()
    }

    with pytest.raises(Unreadable, match="declares a document type"):
        convert("docx", zipped(renamed))


@pytest.mark.parametrize(
    ("content", "charset", "told"),
    [
        (b"<p>T\xfcren", None, r"no encoding is named, and it is not utf-8 \(byte 4\): save it as UTF-8"),
        (b"<meta charset=utf-8><p>T\xfcren", None, r"its encoding is utf-8, but it is not utf-8 \(byte 24\)"),
        (b"<meta charset=klingon><p>x", None, "in an unknown encoding, 'klingon'"),
        (b"<meta charset=unicode_escape><p>x", None, "in an unknown encoding, 'unicode_escape'"),
        (b"a" * 2_000_000 + b"-" + b"b" * 2_000_000, "punycode", "in an unknown encoding, 'punycode'"),
        (b"<script>write()</script>", None, "without text: a script may write it"),
        (b"<div>" * 20_000 + b"x", None, "nested too deeply"),
    ],
)
def test_a_page_that_can_not_be_read_is_refused(content: bytes, charset: str | None, told: str) -> None:
    with pytest.raises(Unreadable, match=told):
        convert("html", content, charset)


@pytest.mark.parametrize(
    "rtf",
    [
        rb"{\rtf1\ansi\par}",
        rb"{\rtf1",
        rb"{\rtf1\ansicpg99999 x}",
        rb"{\rtf1{\pict\bin99999 x}",
        rb"{\rtf1\u99999999999? }",
    ],
)
def test_an_rtf_document_without_a_text_is_refused_in_words(rtf: bytes) -> None:
    with pytest.raises(Unreadable, match=r"RTF|encoding|without text"):
        convert("rtf", rtf)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.xlsx", zipped({"xl/workbook.xml": b""}), "a spreadsheet"),
        ("a.pptx", zipped({"ppt/presentation.xml": b""}), "a presentation: export it as .pdf"),
        ("a.odt", zipped({"content.xml": b""}), "an OpenDocument file: save it as .docx or .pdf"),
        ("a.epub", zipped({"META-INF/container.xml": b""}), "an EPUB file"),
        ("a.zip", zipped({"a.md": b""}), "an archive: unpack it first"),
        ("a.docx", b"PK\x03\x04 torn", "a damaged ZIP archive or Word document"),
        ("a.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 x", "of Office before 2007: save it as .docx or .pdf"),
        (
            "a.docx",
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"),
            "encrypted with a password",
        ),
        ("a.png", b"\x89PNG\r\n\x1a\n", "a picture"),
        ("a.gz", b"\x1f\x8b", "an archive"),
        ("a.pdf", b"Doors.", "named as a PDF, but it is none"),
        ("a.rtf", b"Doors.", "named as an RTF document, but it is none"),
    ],
)
def test_what_is_no_text_is_refused_by_its_kind(home: Path, name: str, content: bytes, told: str) -> None:
    with pytest.raises(SourceError, match=re.escape(f"{name}: ") + ".*" + re.escape(told)):
        read(put(home, name, content))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            b"T\xfcren",
            "not UTF-8 (byte 1); in Windows-1252 this byte is 'ü'. Save it as UTF-8, for instance with `iconv -f WIN",
        ),
        ("Türen".encode("utf-16"), "not UTF-8 (byte 0); its first bytes say UTF-16"),
        ("Türen".encode("utf-32"), "not UTF-8 (byte 0); its first bytes say UTF-32"),
    ],
)
def test_the_encoding_of_a_text_is_named(home: Path, content: bytes, told: str) -> None:
    with pytest.raises(SourceError, match=re.escape(f"a.txt: {told}")):
        read(put(home, "a.txt", content))


@pytest.mark.slow
@pytest.mark.parametrize("layers", [1, 2])
def test_a_bomb_ends_its_process_and_not_the_command(layers: int) -> None:
    stream = deflated(3_000_000_000 if layers == 2 else 2_000_000_000)
    filters = b"/Filter[/FlateDecode]"
    if layers == 2:
        stream, filters = zlib.compress(stream, 9), b"/Filter[/FlateDecode/FlateDecode]"

    with pytest.raises(DocumentError) as refused:
        text_of("pdf", pdf_with_stream(stream, filters))

    assert re.search("damaged|memory|without text|within", str(refused.value))


@pytest.mark.slow
def test_a_process_that_ends_badly_is_a_damaged_document() -> None:
    with pytest.raises(DocumentError, match=r"damaged, or too large .* \(exit code 1\)"):
        text_of("nonsense", b"")


def test_a_document_larger_than_the_bound_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MAX_BYTES", 100)
    monkeypatch.setattr(converting, "MAX_BYTES", 100)

    with pytest.raises(SourceError, match="over 100 bytes, the most that is read of a document"):
        read(put(home, "a.pdf", pdf([["x"]])))
    with pytest.raises(Unreadable, match="over 100 bytes"):
        convert("pdf", pdf([["x"]]))


def test_each_kind_has_a_reader() -> None:
    known: dict[str, Any] = dict(converting._READERS)

    assert (
        set(known) == set(documents._KINDS) == set(documents._ENDINGS.values()) == set(documents.MEDIA_TYPES.values())
    )


def test_an_archive_of_very_many_files_is_not_listed_by_the_command_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = b"PK\x01\x02" + bytes(24) + b"\x01" + bytes(17) + b"a"
    entries, start = entry * 100_000, b"PK\x03\x04" + bytes(30)
    end = b"PK\x05\x06" + bytes(8) + len(entries).to_bytes(4, "little") + len(start).to_bytes(4, "little") + bytes(2)
    monkeypatch.setattr(zipfile, "ZipInfo", lambda *_: pytest.fail("it was listed"))

    with pytest.raises(DocumentError, match="over 5,000 files"):
        kind_of("a.docx", start + entries + end)
