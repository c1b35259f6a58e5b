"""Put a browser component together from its files in `assets/components`."""

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import streamlit as st

from core.lessons.lesson_text import ENGLISH, app_sentence
from explorer.i18n.language import language

ASSETS = Path(__file__).resolve().parents[2] / "assets"
COMPONENTS = ASSETS / "components"

_JS_IMPORT = re.compile(r'^import \{[^}]*\} from "([^"]+)";\n', re.MULTILINE)
_CSS_IMPORT = re.compile(r'^@import "([^"]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?!default)", re.MULTILINE)
_SENTENCE = re.compile(r'\bsay\(("(?:[^"\\]|\\.)+")')


def component(
    name: str, js: str, css: str | None = None, *, isolate: bool = True, sentences: Iterable[str] = ()
) -> Callable[..., Any]:
    """Register a component; call this once, when its module is imported.

    Args:
        name: unique in the app.
        js: file of `assets/components` with the `export default function (component)`.
        css: its style sheet.
        isolate: whether its styles live in a shadow root of its own. Only plotly must not be isolated, as it puts its
            styles in the document's head.
        sentences: those that the server streams to it, besides the ones in its own code.
    """
    code = bundle(COMPONENTS / js, _JS_IMPORT)
    styles = [COMPONENTS / "shared" / "focus.css"] if isolate else []
    drawn = st.components.v2.component(
        f"gpt_explorer.{name}",
        js=code,
        css="\n".join(bundle(path, _CSS_IMPORT) for path in [*styles, *([COMPONENTS / css] if css else [])]) or None,
        isolate_styles=isolate,
    )
    all_sentences = [*sentences_of(code), *sentences]

    def draw(*, data: dict[str, Any] | None = None, **options: Any) -> Any:
        words = {} if language() == ENGLISH else {text: app_sentence(text, language()) for text in all_sentences}
        return drawn(data=(data or {}) | {"words": words} if words else data, **options)

    return draw


def bundle_js(file: str) -> str:
    """Return one script with everything that a file of `assets/components` imports."""
    return bundle(COMPONENTS / file, _JS_IMPORT)


def bundle(path: Path, imports: re.Pattern, included: set[Path] | None = None) -> str:
    """Return a file behind all files that it imports, each once: Streamlit takes a component as one text."""
    included = set() if included is None else included
    path = path.resolve()
    if path in included:
        return ""
    included.add(path)
    text = path.read_text(encoding="utf-8")
    before = [bundle(path.parent / name, imports, included) for name in imports.findall(text)]
    return "".join([*before, _EXPORT.sub("", imports.sub("", text))])


def sentences_of(code: str) -> list[str]:
    """Return the sentences that JavaScript shows with `say` (assets/components/shared/mount.js)."""
    return [json.loads(text) for text in dict.fromkeys(_SENTENCE.findall(code))]
