"""The report itself, from its question to its model card, in one file that needs nothing else."""

from functools import cache
from pathlib import Path

from core.config import RunConfig
from core.import_export.report.card import model_card
from core.import_export.report.curves import loss_curves
from core.import_export.report.facts import Facts
from core.import_export.report.markup import Content, Markup, joined, tag
from core.import_export.report.pictures import attention_picture, table_picture
from core.import_export.report.words import (
    answer,
    base_of,
    changes,
    help_of,
    label,
    matters,
    question,
    shown,
)
from core.palette import DARK, LIGHT, Palette
from core.settings import fields_of

_STYLE = Path(__file__).parents[3] / "assets" / "css" / "report.css"
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"  # a browser fetches nothing, runs nothing
_MOST_SAMPLE = 600  # characters of a text shown


def report_html(facts: Facts) -> str:
    """One whole page of HTML; the same facts give the same bytes."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{facts.name} · a run of GPT Explorer"),
        tag("style", Markup(_style())),
    )
    main = tag(
        "main",
        _opening(facts),
        _learning(facts),
        _samples(facts),
        _inside(facts),
        _settings(facts),
        _section("Model card", model_card(facts)),
    )
    return "<!doctype html>\n" + tag("html", head, tag("body", main), lang="en") + "\n"


def _opening(facts: Facts) -> Markup:
    made = f"{facts.created[:10]} · run {facts.id}"
    return tag(
        "header",
        tag("p", "A run of GPT Explorer", class_="eyebrow"),
        tag("h1", facts.name, dir="auto"),
        tag("p", made, class_="muted"),
        tag("h2", question(facts), class_="question"),
        tag("p", " ".join(answer(facts))),
    )


def _learning(facts: Facts) -> Markup:
    wide, narrow = loss_curves(facts, 760, 360), loss_curves(facts, 350, 300)
    if not wide:
        return _section("How did it learn?", tag("p", "No loss was measured, so there is no curve."))
    drawn = [tag("div", wide, class_="wide"), tag("div", narrow, class_="narrow")]
    notes = [
        "Loss: how surprised the model is by each next one of the "
        f"{facts.letters}, in nats; lower is better. Orange was measured on text it never trains on, blue is each "
        "batch as it came."
    ]
    if "counted" in wide:
        notes.append("The dashed lines are what plain counting reaches on the same text.")
    if facts.parent and facts.parent.same_text and facts.parent.rows:
        since = " from the step it was left at" if facts.parent.step is not None else ""
        notes.append(f"The thin line is its parent{since}.")
    turned = [tag("li", f"after step {step:,}: {words}") for step, words in facts.turns]
    extra = [tag("p", "Turned on the way, at the dotted lines:"), tag("ul", turned)] if turned else []
    return _section("How did it learn?", tag("figure", drawn, tag("figcaption", " ".join(notes))), extra)


def _samples(facts: Facts) -> Markup:
    found = facts.samples
    picked = [found[at] for at in sorted({0, len(found) // 5, len(found) - 1})] if found else []
    if not picked:
        return joined([])
    shown = []
    for sample in picked:
        loss = sample.get("val_loss")
        told = f"After {sample['step']:,} steps" + (f", at a loss of {loss:.2f}" if loss is not None else "")
        text = str(sample.get("text", ""))[:_MOST_SAMPLE]
        shown.append(tag("figure", tag("figcaption", told), tag("pre", text, dir="auto"), class_="sample"))
    start = f"the prompt “{facts.opening}”" if facts.opening else "the same prompt"
    why = f"Each continues {start} with the same random seed, so that only learning shows."
    return _section("What does it write?", tag("p", why, class_="muted"), shown)


def _inside(facts: Facts) -> Markup:
    earlier = "earlier " if facts.config.model.causal else ""
    if facts.config.model.kind == "bigram" and (picture := table_picture(facts)):
        told = "Each row is one of the letters, each column what may follow it: the darker, the likelier."
        return _section("What does it expect after each letter?", tag("figure", picture, tag("figcaption", told)))
    if picture := attention_picture(facts):
        told = (
            "Rows are the places that look, columns those looked at; the stronger the ink, the more of its attention "
            f"goes there. A sentence it never trained on, after step {facts.attention_step:,}. Point at a square to "
            "read it."
        )
        asked = f"Which {earlier}{facts.letters} does each {facts.letters[:-1]} look at?"
        return _section(asked, tag("figure", picture, tag("figcaption", told)))
    return joined([])


def _settings(facts: Facts) -> Markup:
    base, _ = base_of(facts)
    different = [
        tag("tr", tag("th", name, scope="row"), tag("td", there), tag("td", here, class_="here"))
        for name, there, here in changes(facts)
    ]
    head = tag(
        "tr", tag("th", "Setting", scope="col"), tag("th", base, scope="col"), tag("th", "this run", scope="col")
    )
    if different:
        told = tag("table", tag("thead", head), tag("tbody", different), class_="changes")
    else:
        told = tag("p", f"Nothing but chance: all settings are those of {base}.")
    changed = {name for name, _, _ in changes(facts)}
    listed = [
        tag(
            "div", tag("dt", label(path), title=help_of(path)), tag("dd", shown(facts.config, path, facts)), class_=mark
        )
        for path, _ in fields_of(RunConfig)
        if matters(path, facts.config)
        for mark in ["here" if label(path) in changed else None]
    ]
    everything = [tag("h3", "Every setting"), tag("dl", listed, class_="settings")]
    return _section("What is different from " + base + "?", told, everything)


def _section(title: str, *content: Content) -> Markup:
    return tag("section", tag("h2", title), *content)


@cache
def _style() -> str:
    """The sheet, with every colour of both themes as a variable."""
    light, dark = (_variables(palette) for palette in (LIGHT, DARK))
    sheet = _STYLE.read_text("utf-8")
    return f":root {{ {light} }}\n@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n{sheet}"


def _variables(palette: Palette) -> str:
    names = ("text", "muted", "grid", "surface", "training", "validation", "accent", "lines")
    return " ".join(f"--{name}: {getattr(palette, name)};" for name in names) + f" --ink: {palette.sequential[-2]};"
