"""The encodings in which a text is read: those that pages have, and no others that Python knows.

Python's codecs `punycode`, `idna` and `unicode_escape` are no encodings of texts, and the time of some grows with the
square of the length.
"""

import codecs
import re

# https://encoding.spec.whatwg.org/#names-and-labels, as far as Python has them, by Python's names; and UTF-32.
_KNOWN = re.compile(
    r"ascii|utf-8(-sig)?|utf-(16|32)(-[bl]e)?|iso8859-\d+|cp(866|874|125\d|932|949|950)|koi8-[ru]|mac-(roman|cyrillic)"
    r"|tis-620|gbk|gb2312|gb18030|big5(hkscs)?|euc_(jp|kr)|iso2022_jp|shift_jis|johab"
)


def is_text_encoding(label: str) -> bool:
    """Whether a text may be in the encoding of this name."""
    try:
        return bool(_KNOWN.fullmatch(codecs.lookup(label).name))
    except (LookupError, UnicodeError, ValueError):
        return False  # ValueError: a NUL in the name
