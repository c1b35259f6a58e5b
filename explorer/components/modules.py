"""Browser components of `assets/components`, whose files the browser imports as modules."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import streamlit as st

from core.lessons.lesson_text import ENGLISH
from core.palette import DARK, LIGHT
from explorer.i18n.language import language, plural_forms, plural_rule, translated

ASSETS = Path(__file__).resolve().parents[2] / "assets"
COMPONENTS = ASSETS / "components"
MODULES = "gpt-explorer/"  # prefix of module names; a page's import map says where they are (explorer/web/scripts.py)

_PALETTES = {"light": asdict(LIGHT), "dark": asdict(DARK)}  # a component picks by the page's background
_IMPORT = re.compile(r'^import \{[^}]*\} from "([^"]+)";\n', re.MULTILINE)
_SENTENCE = re.compile(r'(?<![\w$.])_\(("(?:[^"\\]|\\.)+")')
_COUNTED = re.compile(r'\bngettext\(("(?:[^"\\]|\\.)+"), ("(?:[^"\\]|\\.)+")')


class Component:
    """A browser component, a folder of `assets/components`; create it once, when its module is imported."""

    def __init__(self, name: str, *, isolate: bool = True, sentences: Iterable[str] = ()):
        """Register the component with Streamlit.

        With `isolate`, its styles are in a shadow root; plotly must not be isolated, because it adds its styles to the
        document's head. `sentences` are those that the server streams to it, in addition to the ones in its code.
        """
        scripts = with_imports(f"{name}/view.js")
        sheets = (COMPONENTS / "shared" / file for file in ("base.css", "sideways.css"))
        base = "".join(sheet.read_text("utf-8") for sheet in sheets) if isolate else ""
        # Streamlit mistakes a single line with a slash for a file path.
        js = f'import view from "{MODULES}{name}/view.js";\nexport default view;'
        self.name, self.styles = f"gpt_explorer.{name}", base + _styles_of(scripts)
        self._drawn = st.components.v2.component(self.name, js=js, css=self.styles or None, isolate_styles=isolate)
        plain, self._counted = sentences_of("".join(script.read_text("utf-8") for script in scripts))
        self._plain = [*plain, *sentences]

    def message(self, view: str, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return everything that is sent to the browser, in the current language."""
        return {"view": view, "palettes": _PALETTES, "sentences": _translations(self._plain, self._counted), **data}

    def __call__(
        self, view: str = "", data: Mapping[str, Any] = {}, *, triggers: Iterable[str] = (), **options: Any
    ) -> Any:
        """Draw one of the component's views; Streamlit reports only events with a callback, so `triggers` have one."""
        callbacks = {f"on_{trigger}_change": lambda: None for trigger in triggers}
        return self._drawn(data=self.message(view, data), **callbacks, **options)


def with_imports(file: str) -> list[Path]:
    """Return a script of `assets/components` and all that it imports, imports first, each file once."""
    scripts: list[Path] = []

    def add(script: Path) -> None:
        if script not in scripts:
            for name in _IMPORT.findall(script.read_text("utf-8")):
                add((script.parent / name).resolve())
            scripts.append(script)

    add((COMPONENTS / file).resolve())
    return scripts


def _styles_of(scripts: list[Path]) -> str:
    """Return the styles of the scripts: those of `x.js` are in `x.css`, those of `view.js` in `style.css`."""
    sheets = [script.with_name(script.name.replace("view.js", "style.js")).with_suffix(".css") for script in scripts]
    return "".join(sheet.read_text("utf-8") for sheet in sheets if sheet.exists())


def sentences_of(code: str) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the sentences that JavaScript passes to `_`, and the singulars and plurals it passes to `ngettext`."""
    counted = [(json.loads(one), json.loads(several)) for one, several in dict.fromkeys(_COUNTED.findall(code))]
    return [json.loads(text) for text in dict.fromkeys(_SENTENCE.findall(code))], counted


def _translations(plain: list[str], counted: list[tuple[str, str]]) -> dict[str, Any]:
    own = language()
    if own == ENGLISH:
        return {"language": own}
    return {
        "language": own,
        "plain": {text: translated(text, own) for text in plain},
        "forms": {one: plural_forms(one, several, own) for one, several in counted},
        "rule": plural_rule(own),
    }
