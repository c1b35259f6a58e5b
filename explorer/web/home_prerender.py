"""Home's HTML with its picture prerendered: drawn by our own modules while the browser still loads Streamlit."""

import re
from contextlib import suppress

import streamlit as st
from starlette.datastructures import QueryParams

from core.errors import ExplorerError
from core.lessons.lesson_text import ENGLISH, languages
from explorer.components.modules import MODULES
from explorer.home.living_model import prerendered_picture
from explorer.services.visitors import served_class
from explorer.web.html import template
from explorer.widgets.address import LANGUAGE

# The theme that Streamlit will choose; in the head, so that it does not wait for style sheets.
_THEME = """<script>{
  let chosen = "";
  try { chosen = localStorage[`stActiveTheme-${location.pathname}-v2`] ?? ""; } catch {} // a browser may refuse it
  const system = matchMedia("(prefers-color-scheme: dark)").matches;
  const dark = chosen.includes("Dark") || (!chosen.includes("Light") && system);
  document.documentElement.classList.add(dark ? "prerendered-dark" : "prerendered-light");
}</script>"""
# Streamlit's script, which starts once the picture is painted.
_SCRIPT = re.compile(r'<script type="module" crossorigin src="([^"]+)"></script>')
_COLORS = ("background", "secondary-background", "text", "border", "primary")  # CSS variables, as Streamlit names them


def with_picture(shell: str, query: QueryParams) -> str:
    """Return Streamlit's HTML of Home with the picture in it, or unchanged.

    It is unchanged in a class, which may show notices above or redirect, and if embedded, with other margins.
    """
    script, picture = _SCRIPT.search(shell), None
    with suppress(ExplorerError, OSError):
        if not (served_class() or "embed" in query):
            wanted = query.get(LANGUAGE)
            picture = prerendered_picture(wanted if wanted in languages() else ENGLISH)
    if not (script and picture):
        return shell
    drawn = template("home_prerender").render(picture, modules=MODULES, streamlit=script[1], **_themes())
    shell = shell.replace(script[0], f'<link rel="modulepreload" crossorigin href="{script[1]}">', 1)
    shell = shell.replace("<title>", f"{_THEME}<title>", 1)
    return shell.replace("</body>", f"{drawn}</body>", 1)


def _themes() -> dict[str, dict[str, str]]:
    def option(name: str) -> str:
        return st.get_option(f"theme.{name}")

    def camel(name: str) -> str:
        first, *others = f"{name}-color".split("-")
        return first + "".join(map(str.capitalize, others))

    same = {"font": option("font"), "code-font": option("codeFont")}
    same |= {"base-radius": option("baseRadius"), "button-radius": option("baseRadius")}
    return {
        theme: {f"{name}-color": option(f"{theme}.{camel(name)}") for name in _COLORS} | same
        for theme in ("light", "dark")
    }
