"""Begins a page at its top when what it shows is another thing."""

from explorer.components.bundle import component

_to_top = component("to_top", "page/to_top.js")


def to_top(shown: str) -> None:
    """Put this on every page, because a page may turn into another one without being left.

    Args:
        shown: what it shows now; when that changes, the page is scrolled to its top.
    """
    _to_top(key="to_top", data={"shown": shown}, height=1)
