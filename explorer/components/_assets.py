"""How a browser component is put together from the files in `assets/js` and `assets/css`."""

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import streamlit as st

from core.lessons.lesson_text import ENGLISH, app_sentence
from explorer.i18n.language import language

ASSETS = Path(__file__).resolve().parents[2] / "assets"

TAKEAWAY = ("svg_context.js", "takeaway.js")  # of a component whose drawing can be taken along
TAKEAWAY_CSS = "takeaway.css"
_SAID = re.compile(r'\bsay\(("(?:[^"\\]|\\.)+")')


def component(
    name: str,
    *,
    js: list[str],
    css: list[str] | None = None,
    isolate: bool = True,
    said: Iterable[str] = (),
) -> Callable[..., Any]:
    """Register a component made of files; call this once, when its module is imported.

    Args:
        name: unique in the app.
        js: files of `assets/js`. All but the last hold plain functions, which the last uses without importing them;
            the last has the `export default function (component)`. `mount.js` belongs in front of one that keeps
            anything between reruns.
        css: files of `assets/css`, in order.
        isolate: whether its styles live in a shadow root of its own. Only plotly must not be isolated, as it puts its
            styles in the document's head.
        said: sentences that the server streams to it, besides those in its own code.
    """
    styles = ["focus.css", *(css or [])] if isolate else css or []
    code = "\n".join(read("js", file) for file in js)
    drawn = st.components.v2.component(
        f"gpt_explorer.{name}",
        js=code,
        css="\n".join(read("css", file) for file in styles) or None,
        isolate_styles=isolate,
    )
    sentences = [*sentences_of(code), *said]

    def draw(*, data: dict[str, Any] | None = None, **options: Any) -> Any:
        words = {} if language() == ENGLISH else {english: app_sentence(english, language()) for english in sentences}
        return drawn(data=(data or {}) | {"words": words} if words else data, **options)

    return draw


def sentences_of(code: str) -> list[str]:
    """The sentences that JavaScript shows with `say` (assets/js/mount.js)."""
    return [json.loads(found) for found in dict.fromkeys(_SAID.findall(code))]


def read(kind: str, file: str) -> str:
    """One file of `assets/js` or `assets/css`."""
    return (ASSETS / kind / file).read_text(encoding="utf-8")
