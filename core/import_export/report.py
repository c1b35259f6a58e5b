"""A run as one self-contained page of HTML: nothing is fetched, nothing runs, and all text is escaped."""

import unicodedata
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from core.import_export import report_text
from core.import_export.report_charts import attention_maps, bigram_map, loss_chart
from core.import_export.report_text import Facts
from core.palette import DARK, LIGHT, Palette

_TEMPLATES = Path(__file__).parent / "templates"
_SAMPLE = 600  # characters


def report_html(facts: Facts) -> str:
    """Return the whole page; the same facts give the same bytes."""
    wide, narrow = loss_chart(facts, 760, 360), loss_chart(facts, 350, 300)
    samples = facts.samples  # the first, an early one and the last are shown
    chosen = [samples[at] for at in sorted({0, len(samples) // 5, len(samples) - 1})] if samples else []
    return _template().render(
        facts=facts,
        style=_style(),
        question=report_text.question(facts),
        answer=report_text.answer(facts),
        charts=[wide, narrow] if wide else [],
        samples=[sample | {"text": str(sample.get("text", ""))[:_SAMPLE]} for sample in chosen],
        bigram_table=bigram_map(facts) if facts.config.model.kind == "bigram" else None,
        attention=attention_maps(facts),
        base=report_text.base_of(facts)[0],
        changes=report_text.changes(facts),
        settings=report_text.all_settings(facts),
        card=report_text.model_card(facts),
        command=report_text.command(facts),
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["px"] = lambda value: f"{value:.1f}".removesuffix(".0")
    return environment.get_template("report.html")


def _printable(value: object) -> object:
    """Replace the characters that no page may hold by U+FFFD."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return "".join(c if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs") else "�" for c in value)


@cache
def _style() -> Markup:
    """Return the style sheet, with the colors of both themes as variables."""
    light, dark = (_variables(palette) for palette in (LIGHT, DARK))
    sheet = (_TEMPLATES / "report.css").read_text("utf-8")
    return Markup(
        f":root {{ {light} }}\n@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n{sheet}"
    )


def _variables(palette: Palette) -> str:
    names = ("text", "muted", "grid", "surface", "training", "validation", "accent", "lines")
    return " ".join(f"--{name}: {getattr(palette, name)};" for name in names) + f" --ink: {palette.sequential[-2]};"
