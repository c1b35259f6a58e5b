"""Put a browser component together from its files in `assets/components`."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import streamlit as st

from core.lessons.lesson_text import ENGLISH
from core.palette import DARK, LIGHT
from explorer.i18n.language import language, plural_forms, plural_rule, translated

ASSETS = Path(__file__).resolve().parents[2] / "assets"
COMPONENTS = ASSETS / "components"

_PALETTES = {"light": asdict(LIGHT), "dark": asdict(DARK)}  # a component picks by the page's background
_JS_IMPORT = re.compile(r'^import \{[^}]*\} from "([^"]+)";\n', re.MULTILINE)
_CSS_IMPORT = re.compile(r'^@import "([^"]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?!default)", re.MULTILINE)
_SENTENCE = re.compile(r'(?<![\w$.])_\(("(?:[^"\\]|\\.)+")')
_COUNTED = re.compile(r'\bngettext\(("(?:[^"\\]|\\.)+"), ("(?:[^"\\]|\\.)+")')


def component(name: str, *, isolate: bool = True, sentences: Iterable[str] = ()) -> Callable[..., Any]:
    """Register the component of a folder in `assets/components`; call this once, when its module is imported.

    Its styles live in a shadow root of its own with `isolate`; plotly must not be isolated, as it puts its styles in
    the document's head. `sentences` are those that the server streams to it, besides the ones in its own code.
    """
    code = bundle_js(f"{name}/view.js")
    styles = [*(["shared/base.css"] if isolate else []), f"{name}/style.css"]
    drawn = st.components.v2.component(
        f"gpt_explorer.{name}",
        js=code,
        css="".join(bundle(path, _CSS_IMPORT) for file in styles if (path := COMPONENTS / file).exists()) or None,
        isolate_styles=isolate,
    )
    plain, counted = sentences_of(code)
    plain += sentences

    def draw(view: str = "", data: Mapping[str, Any] = {}, *, triggers: Iterable[str] = (), **options: Any) -> Any:
        """Draw one of the component's views; Streamlit reports only `triggers`, which have a callback."""
        common = {"view": view, "palettes": _PALETTES, "sentences": _translations(plain, counted)}
        callbacks = {f"on_{trigger}_change": lambda: None for trigger in triggers}
        return drawn(data=common | dict(data), **callbacks, **options)

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


def sentences_of(code: str) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the sentences that JavaScript shows with `_`, and those with `ngettext`: for one, and for several."""
    counted = [(json.loads(one), json.loads(several)) for one, several in dict.fromkeys(_COUNTED.findall(code))]
    return [json.loads(text) for text in dict.fromkeys(_SENTENCE.findall(code))], counted


def _translations(plain: list[str], counted: list[tuple[str, str]]) -> dict[str, Any]:
    if (own := language()) == ENGLISH:
        return {}
    sentences: dict[str, Any] = {text: translated(text, own) for text in plain}
    forms = {one: plural_forms(one, several, own) for one, several in counted}
    return sentences | ({"forms": forms, "rule": plural_rule(own)} if forms else {})
