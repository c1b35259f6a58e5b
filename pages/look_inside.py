"""Look inside: what a model attends to, what it expects, and which letters it treats alike."""

from functools import partial

import streamlit as st

from core.errors import ExplorerError
from explorer.i18n.language import _
from explorer.i18n.units import speaking_of
from explorer.look_inside.frames import MOST_SEEN
from explorer.look_inside.head_emergence import watch_emergence
from explorer.look_inside.sections import SECTIONS, sections_of
from explorer.look_inside.snapshot import choose_snapshot, clock_of, open_snapshot
from explorer.look_inside.view import Inspection, follow_head, warn_of_columns
from explorer.widgets import address
from explorer.widgets.layout import literal, show_error
from explorer.widgets.links import end_absent, quoted_part
from explorer.widgets.prompt import example_prompt, newline_hint, read_prompt
from explorer.widgets.run_picker import choose_run

folder = choose_run(
    _("Look inside"),
    _(
        "Here you open a trained model: where each of its heads looks, letter by letter, what it expects next, and "
        "which letters it has learned to treat alike. It takes a run to look into; the first is trained in half a "
        "minute."
    ),
)

opened = open_snapshot(folder)
follow_head(opened.model)
if "inspect_prompt" not in st.session_state:  # first visit, or the view shown last has no prompt box
    probe = folder.read_probe()
    example = example_prompt(opened.tokenizer, probe.tokens if probe else [])
    st.session_state["inspect_prompt"] = address.recall("inspect_prompt", example)
typed = st.session_state["inspect_prompt"]
address.remember("inspect_prompt", typed)
clock = clock_of(folder, opened, typed)
choose_snapshot(folder, opened, clock)
sections = sections_of(opened.model)
asked_view = address.view_asked()
if asked_view and asked_view not in {section.name for section in SECTIONS}:
    end_absent(
        _("Look inside has no view {view}. Perhaps the link is misspelt.", view=quoted_part(asked_view)),
        _("Show {view}", view=_(next(iter(sections)))),
        partial(address.write_address, address.VIEW, next(iter(sections))),
    )
if asked_view and asked_view not in sections:
    st.info(_("This model has no view {view}: here is another one.", view=_(asked_view)))
address.follow_address(address.VIEW_KEY, address.VIEW, list(sections))
name = st.segmented_control(
    _("View"),
    list(sections),
    required=True,
    key=address.VIEW_KEY,
    on_change=lambda: address.write_address(address.VIEW, st.session_state[address.VIEW_KEY]),
    format_func=_,
    label_visibility="collapsed",
)
section = sections[name]
if section.prompt != "unused":
    st.text_input(_("Prompt"), typed, key="inspect_prompt", help=newline_hint())
prompt = read_prompt(typed, opened.tokenizer, min(opened.model.block_size, MOST_SEEN))
if section.shares:
    warn_of_columns(opened.model)
if section.prompt != "unused" and prompt.notes:
    st.info(literal(" ".join(prompt.notes)))
if section.prompt == "needed" and not prompt.ids:
    st.info(_("Type a few letters that the model knows, and you see what it makes of them."))
else:
    try:
        with speaking_of(opened.tokenizer):
            section.draw(Inspection(folder, opened, prompt, clock))
    except ExplorerError as error:  # the run's text is gone, say
        show_error(error)
watch_emergence(Inspection(folder, opened, prompt, clock))
