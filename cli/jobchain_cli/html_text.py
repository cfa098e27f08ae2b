"""The text of a web page as Markdown: headings, lists, tables and code, without the page's menus and without markup."""

import warnings
from typing import Any

# What shows no text, or none of the document. Not `head`: a page may leave out its end.
_DROPPED = (
    *("title", "script", "style", "noscript", "template", "nav", "svg", "canvas", "iframe", "object", "embed"),
    *("select", "datalist", "dialog", "input", "textarea", "audio", "video"),
)
# Of the page, not of the document, unless they are inside of that.
_FRAME = ("header", "footer", "aside")
_INSIDE = ("main", "article", "section")
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
# Lines of their own, which the converter does not know as such.
_BLOCKS = ("header", "footer", "aside", "main", "figure", "address", "details", "summary", "fieldset", "form", "legend")
# Their text stays as it is. What is struck out keeps its marks (~~): without them it would read as if it held.
_STRIPPED = [
    "a",
    "img",
    "b",
    "strong",
    "em",
    "i",
    "u",
    "ins",
    "sub",
    "sup",
    "mark",
    "small",
    "span",
]


def html_text(html: str) -> str:
    """The text of a page. Raises RecursionError for one that is nested too deeply."""
    from bs4 import BeautifulSoup
    from markdownify import MarkdownConverter

    with warnings.catch_warnings():
        # It warns of XHTML, and of a short text that could be meant as a file's name.
        warnings.simplefilter("ignore")
        page = BeautifulSoup(html, "html.parser")
    _drop(page)
    # Nothing that Markdown reads as markup is escaped: quotes are compared with the text as it is.
    converter = MarkdownConverter(
        heading_style="ATX",
        bullets="-",
        escape_asterisks=False,
        escape_underscores=False,
        escape_misc=False,
        newline_style="spaces",
        strip=_STRIPPED,
    )
    mains = page.find_all("main") or page.select("[role=main]")
    shown = mains[0] if len(mains) == 1 and mains[0].get_text(strip=True) else page
    for tag in page.find_all(_BLOCKS):
        tag.name = "div"
    return str(converter.convert_soup(shown))


def _drop(page: Any) -> None:
    from bs4.element import Comment, Declaration, Doctype, ProcessingInstruction

    for text in page.find_all(string=True):
        if isinstance(text, (Comment, Declaration, Doctype, ProcessingInstruction)):
            text.extract()
    for tag in page.find_all(_DROPPED):
        tag.decompose()
    for tag in page.find_all(_FRAME):
        if not tag.decomposed and not tag.find_parent(_INSIDE) and not tag.find(_HEADINGS):
            tag.decompose()
    for tag in page.find_all(_is_hidden):
        if not tag.decomposed:
            tag.decompose()
    # A link back from a footnote.
    for tag in page.find_all("a", string=("↑", "↩", "↩︎")):
        tag.decompose()


def _is_hidden(tag: Any) -> bool:
    style = "".join(str(tag.get("style", "")).lower().split())
    return (
        # "until-found" is a part that a reader can unfold.
        (tag.has_attr("hidden") and tag["hidden"] != "until-found")
        or str(tag.get("aria-hidden", "")).lower() == "true"
        or "display:none" in style
        or "visibility:hidden" in style
    )
