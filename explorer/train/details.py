"""What a run was made of, where it comes from, and the ways from it to another run."""

from math import ceil

import streamlit as st

from core.config import RunConfig
from core.errors import ExplorerError
from core.presets import PRESETS, preset
from core.runs.folder import RunFolder
from core.runs.records import RunRecord
from core.runs.setting_changes import config_now
from core.settings import differences, value_at
from explorer.i18n.formatting import value_in_words
from explorer.i18n.language import N_, _
from explorer.services import shared
from explorer.train.forks import draw_parent
from explorer.train.setup import settings_that_matter
from explorer.widgets.address import open_page
from explorer.widgets.import_export import draw_exports
from explorer.widgets.layout import card, literal
from explorer.widgets.run_rows import corpus_titles

_ACROSS = 3  # settings side by side
_AGAIN = N_("Start a new run from these settings, which you can change first.")


def draw_settings(folder: RunFolder, record: RunRecord) -> None:
    """What the run was made of, with what differs from its preset marked, and the ways to another one like it."""
    first = record.config
    config = _config_now(folder, first)
    base = preset(config.preset) if config.preset in PRESETS else RunConfig()
    changed = differences(first, base) | differences(config, base)
    name = config.preset or _("none")
    note = _("Preset: {name} · differences are marked", name=name) if changed else _("Preset: {name}", name=name)
    with card(_("Settings"), note, key="settings"):
        draw_parent(record)
        title = corpus_titles(shared.data_dir()).get(config.data.corpus, config.data.corpus)
        rows = [f"| {_('Text')} | **{literal(title)}** |"]
        for path, setting in settings_that_matter(config.model.kind):
            if not setting.advanced or path in changed:
                value = f"**{literal(value_in_words(path, value_at(config, path)))}**"
                others = {_("initially"): value_at(first, path), _("preset"): value_at(base, path)}
                other = next((name for name, old in others.items() if old != value_at(config, path)), None)
                usual = f" :violet-badge[{other}: {literal(value_in_words(path, others[other]))}]" if other else ""
                rows.append(f"| {_(setting.label)}{usual} | {value} |")
        share = ceil(len(rows) / _ACROSS)
        for place, column in enumerate(st.columns(_ACROSS, gap="large")):
            column.markdown("\n".join(["| | |", "|:--|--:|", *rows[place * share : (place + 1) * share]]))
        if machine := machine_in_words(record):
            st.caption(literal(machine))
        with st.container(horizontal=True, gap="small"):
            if st.button(_("Train again"), key="train_again", icon=":material/tune:", help=_(_AGAIN)):
                open_page("train", config=first)
            draw_exports(folder)


def _config_now(folder: RunFolder, first: RunConfig) -> RunConfig:
    """The settings with all changes, as long as these can be read; another part of the page says why they cannot."""
    try:
        return config_now(folder)
    except ExplorerError:
        return first


def machine_in_words(record: RunRecord) -> str:
    """On what, in which precision and with how many threads it trains; "" before a worker has begun."""
    if not record.hardware:
        return ""
    sentences = [record.hardware]
    if record.precision and record.threads:
        precision, threads = record.precision, record.threads
        if threads == 1:
            sentences.append(_("It computes in {precision} with 1 thread.", precision=precision))
        else:
            sentences.append(_("It computes in {precision} with {count} threads.", precision=precision, count=threads))
    return " ".join(sentences)
