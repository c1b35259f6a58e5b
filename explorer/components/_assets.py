"""How a browser component is put together from the files in `assets/js` and `assets/css`."""

from pathlib import Path

import streamlit as st
from streamlit.components.v2.types import ComponentRenderer

ASSETS = Path(__file__).resolve().parents[2] / "assets"

TAKEAWAY = ("svg_context.js", "takeaway.js")  # of a component whose drawing can be taken along
TAKEAWAY_CSS = "takeaway.css"


def component(name: str, *, js: list[str], css: list[str] | None = None, isolate: bool = True) -> ComponentRenderer:
    """Register a component made of files; call this once, when its module is imported.

    Args:
        name: unique in the app.
        js: files of `assets/js`. All but the last hold plain functions, which the last uses without importing them;
            the last has the `export default function (component)`. `mount.js` belongs in front of one that keeps
            anything between reruns.
        css: files of `assets/css`, in order.
        isolate: whether its styles live in a shadow root of its own. Only plotly must not be isolated, as it puts its
            styles in the document's head.
    """
    return st.components.v2.component(
        f"gpt_explorer.{name}",
        js="\n".join(read("js", file) for file in js),
        css="\n".join(read("css", file) for file in css or []) or None,
        isolate_styles=isolate,
    )


def read(kind: str, file: str) -> str:
    """One file of `assets/js` or `assets/css`."""
    return (ASSETS / kind / file).read_text(encoding="utf-8")
