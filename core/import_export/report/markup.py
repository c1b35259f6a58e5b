"""HTML and SVG from Python calls. Plain strings are always escaped; only what `tag` made is markup."""

import html
import unicodedata
from collections.abc import Iterable


class Markup(str):
    """Text that is markup already, because `tag` made it."""

    __slots__ = ()


_VOID = {"meta", "img", "source", "br"}
Content = str | Iterable["Content"]


def tag(name: str, /, *children: Content, **attributes: object) -> Markup:
    """One element: `tag("p", "5 < 6", class_="note")`.

    Args:
        children: text, which is escaped, what other calls returned, or lists of both.
        attributes: a trailing underscore is dropped and inner ones become hyphens; those that are None are left out.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{written}>" if name in _VOID else f"<{name}{written}>{joined(children)}</{name}>")


def joined(children: Content) -> Markup:
    """Several pieces in a row."""
    if isinstance(children, Markup):
        return children
    if isinstance(children, str):
        return Markup(escaped(children))
    return Markup("".join(joined(child) for child in children))


def escaped(text: str) -> str:
    """Text that means only itself; characters that no page may hold become U+FFFD."""
    return html.escape("".join(c if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs") else "�" for c in text))
