"""HTML that is made of elements and texts: every text is escaped, so that none can be markup."""

from html import escape

from jobchain_cli.words import printable


class Html(str):
    """A piece of HTML: what these functions have made, and nothing else."""

    __slots__ = ()


def text(content: object) -> Html:
    """A text, without control characters and what turns the direction of a line."""
    return Html(escape(printable(content), quote=True))


def tag(name: str, /, *children: Html | str | None, **attributes: str | bool | None) -> Html:
    """An element. Children that are no Html are texts. `class_` is the attribute `class`, `data_x` is `data-x`."""
    given = "".join(_attribute(key, value) for key, value in attributes.items() if value not in (None, False))
    if name in _VOID:
        return Html(f"<{name}{given}>")
    return Html(f"<{name}{given}>{joined(*children)}</{name}>")


_VOID = frozenset({"meta", "input", "br"})


def joined(*children: Html | str | None) -> Html:
    """These, one after the other."""
    return Html("".join(child if isinstance(child, Html) else text(child) for child in children if child is not None))


def _attribute(key: str, value: str | bool | None) -> str:
    name = key.removesuffix("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{text(value)}"'
