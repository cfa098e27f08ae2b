"""Small documents, made here: PDF, Word and RTF files with the texts that a test wants."""

import hashlib
import io
import zipfile
import zlib
from collections.abc import Sequence
from xml.sax.saxutils import escape

Lines = Sequence[str]

_PAD = bytes.fromhex("28bf4e5e4e758a4164004e56fffa01082e2e00b6d0683e802f0ca9fe6453697a")
_ID = b"0123456789abcdef"
PICTURE = "<picture>"
"""A line that is a picture of one pixel, as large as the page."""


def pdf(pages: Sequence[Lines], *, user: str | None = None, owner: str = "owner") -> bytes:
    """A PDF with these lines on its pages, in Helvetica; with `user`, encrypted for that password."""
    image = b"<</Type/XObject/Subtype/Image/Width 1/Height 1/ColorSpace/DeviceGray/BitsPerComponent 8/Length 1>>"
    objects: dict[int, tuple[bytes, bytes | None]] = {
        1: (b"<</Type/Catalog/Pages 2 0 R>>", None),
        3: (b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>", None),
        4: (image, b"\x80"),
    }
    kids = []
    for lines in pages:
        number = len(objects) + 2
        kids.append(b"%d 0 R" % number)
        resources = b"<</Font<</F 3 0 R>>/XObject<</I 4 0 R>>>>"
        page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources%b/Contents %d 0 R>>" % (
            resources,
            number + 1,
        )
        content = _content(lines)
        objects[number] = page, None
        objects[number + 1] = b"<</Length %d>>" % len(content), content
    objects[2] = b"<</Type/Pages/Kids[%b]/Count %d>>" % (b" ".join(kids), len(kids)), None
    return _file(objects, user, owner)


def pdf_with_stream(stream: bytes, entries: bytes) -> bytes:
    """A PDF of one page, whose content is this stream with these entries of its dictionary."""
    made = pdf([["x"]])
    start = made.index(b"<</Length", made.index(b"/Contents"))
    end = made.index(b"endobj", start)
    body = b"<</Length %d%b>>stream\n%b\nendstream\n" % (len(stream), entries, stream)
    return made[:start] + body + made[end:]


def _content(lines: Lines) -> bytes:
    shown = []
    for line in lines:
        if line == PICTURE:
            shown.append(b"ET q 612 0 0 792 0 0 cm /I Do Q BT /F 11 Tf 13 TL")
            continue
        text = line.encode("cp1252")
        for c in (b"\\", b"(", b")"):
            text = text.replace(c, b"\\" + c)
        shown.append(b"(%b) Tj T*" % text)
    return b"BT /F 11 Tf 13 TL 50 740 Td\n%b\nET" % b"\n".join(shown)


def _file(objects: dict[int, tuple[bytes, bytes | None]], user: str | None, owner: str) -> bytes:
    trailer = b""
    key = b""
    if user is not None:
        key, entry = _encryption(user.encode(), owner.encode())
        trailer = b"/Encrypt %b/ID[<%b><%b>]" % (entry, _ID.hex().encode(), _ID.hex().encode())
    out = bytearray(b"%PDF-1.4\n")
    places = []
    for number in sorted(objects):
        head, stream = objects[number]
        places.append(len(out))
        out += b"%d 0 obj\n%b" % (number, head)
        if stream is not None:
            out += b"stream\n%b\nendstream" % (_rc4(_key_of(key, number), stream) if key else stream)
        out += b"\nendobj\n"
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(places) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer\n<</Root 1 0 R/Size %d%b>>\nstartxref\n%d\n%%%%EOF\n" % (len(places) + 1, trailer, start)
    return bytes(out)


def _encryption(user: bytes, owner: bytes) -> tuple[bytes, bytes]:
    """The key and the dictionary of PDF's oldest encryption: ISO 32000-1, 7.6.3, revision 2."""
    rights = -4
    of_owner = _rc4(hashlib.md5((owner + _PAD)[:32]).digest()[:5], (user + _PAD)[:32])
    seed = (user + _PAD)[:32] + of_owner + rights.to_bytes(4, "little", signed=True) + _ID
    key = hashlib.md5(seed).digest()[:5]
    of_user = _rc4(key, _PAD)
    return key, b"<</Filter/Standard/V 1/R 2/O<%b>/U<%b>/P %d>>" % (
        of_owner.hex().encode(),
        of_user.hex().encode(),
        rights,
    )


def _key_of(key: bytes, number: int) -> bytes:
    return hashlib.md5(key + number.to_bytes(3, "little") + b"\0\0").digest()[:10]


def _rc4(key: bytes, data: bytes) -> bytes:
    box = list(range(256))
    j = 0
    for i in range(256):
        j = (j + box[i] + key[i % len(key)]) % 256
        box[i], box[j] = box[j], box[i]
    i = j = 0
    out = bytearray()
    for byte in data:
        i = (i + 1) % 256
        j = (j + box[i]) % 256
        box[i], box[j] = box[j], box[i]
        out.append(byte ^ box[(box[i] + box[j]) % 256])
    return bytes(out)


# --- Word ------------------------------------------------------------------------------------------------------------

_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def paragraph(text: str, style: str = "", marks: str = "") -> str:
    """A paragraph of a Word document: its XML."""
    named = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f'<w:p>{named}<w:r><w:rPr>{marks}</w:rPr><w:t xml:space="preserve">{escape(text)}</w:t></w:r></w:p>'


def table(*rows: Lines) -> str:
    """A table of a Word document: its XML."""
    cells = ("".join(f"<w:tc>{paragraph(text)}</w:tc>" for text in row) for row in rows)
    return f"<w:tbl>{''.join(f'<w:tr>{row}</w:tr>' for row in cells)}</w:tbl>"


def docx(body: str, *, head: str = "", **parts: bytes) -> bytes:
    """A Word document with this body; `head` is in front of its XML, and `parts` are more files, of zeros if large."""
    types = (
        f'<Types xmlns="{_PACKAGE}/content-types"><Default Extension="rels" ContentType="application/'
        'vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/>'
        '<Override PartName="/word/document.xml" ContentType="application/'
        'vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>'
    )
    relations = (
        f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="r1" Type="{_OFFICE}/officeDocument" '
        'Target="word/document.xml"/></Relationships>'
    )
    document = (
        f'{head}<w:document xmlns:w="{_WORD}" xmlns:r="{_OFFICE}" '
        'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" '
        'xmlns:wp="http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing" '
        'xmlns:pic="http://schemas.openxmlformats.org/drawingml/2006/picture">'
        f"<w:body>{body}</w:body></w:document>"
    )
    return zipped(
        {
            "[Content_Types].xml": types.encode(),
            "_rels/.rels": relations.encode(),
            "word/document.xml": document.encode(),
            **{f"word/{name}.xml": content for name, content in parts.items()},
        }
    )


def zipped(files: dict[str, bytes]) -> bytes:
    """A ZIP archive of these files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def deflated(zeros: int) -> bytes:
    """This many zeros, in millions, compressed to a thousandth; without the checksum, which readers don't ask for."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = packer.compress(bytes(1_000_000)) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"\x78\xda" + piece * (zeros // 1_000_000) + packer.flush()
