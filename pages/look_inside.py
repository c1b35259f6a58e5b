"""Look inside: what a model attends to, what it predicts, and which tokens have similar embeddings."""

from dataclasses import replace
from functools import partial

import streamlit as st

from explorer.i18n.language import _, in_units, units_of
from explorer.look_inside.frames import MAX_DRAWN
from explorer.look_inside.heads import watch_emergence, with_emergence
from explorer.look_inside.inspection import (
    Inspection,
    choose_snapshot,
    follow_head,
    open_snapshot,
    time_machine_state,
    warn_of_columns,
)
from explorer.look_inside.opened_part import has_place
from explorer.look_inside.sections import MODEL, SECTIONS, first_view, group_style, sections_of
from explorer.widgets import address, session
from explorer.widgets.invalid_links import end_absent, quoted_part
from explorer.widgets.layout import errors_shown, literal
from explorer.widgets.prompt import as_line, example_prompt, newline_hint, number_key, questions_of, read_prompt
from explorer.widgets.run_picker import choose_run

PROMPT = "inspect_prompt"


def write_prompt() -> None:
    """Put the typed prompt into the address, so that a link shows the same."""
    session.remember(address.PROMPT_FOLLOWED, st.session_state[PROMPT])
    address.write({address.PROMPT: st.session_state[PROMPT] or None})


folder = choose_run(_("Look inside"))

opened = open_snapshot(folder)
follow_head(opened.model)
text = opened.record.config.data.corpus  # a prompt for one text means little to a model of another


def example() -> str:
    """Return a question of a task, whose answer the model then predicts, or the beginning of the model's text."""
    if questions := questions_of(text):
        return as_line(questions[0], opened.tokenizer.tokens)
    probe = folder.read_probe()
    return example_prompt(opened.tokenizer, probe.tokens if probe else [])


other_text, linked = session.fit_input(PROMPT, text, example), address.parameter(address.PROMPT)
if linked and session.recall(address.PROMPT_FOLLOWED) != linked:  # only a changed address wins
    session.remember(address.PROMPT_FOLLOWED, linked)
    st.session_state[PROMPT] = linked
    session.keep_input(PROMPT, text)
elif linked and other_text:
    address.rewrite({address.PROMPT: None})
typed = st.session_state[PROMPT]
prompt = read_prompt(typed, opened.tokenizer, min(opened.model.block_size, MAX_DRAWN))
sections, labels = sections_of(opened.model), {section.name: section.label for section in SECTIONS}
wanted, first = address.parameter(address.VIEW), first_view(sections)
state = time_machine_state(folder, opened, typed)
if (wanted if wanted in sections else first) == MODEL:
    part = address.parameter(address.PART) or ""
    if has_place(part, opened.model, len(prompt.ids)):  # no frame for another model's part; the view reports it
        state = replace(state, place=part)
inspection = with_emergence(Inspection(folder, opened, prompt, state))
choose_snapshot(folder, opened, inspection.time_machine)

if wanted and wanted not in labels:
    end_absent(
        _("Look inside has no view {view}. Perhaps the link is misspelled.", view=quoted_part(wanted)),
        _("Show {view}", view=_(labels[first])),
        partial(address.write, {address.VIEW: first}),
    )
if wanted and wanted not in sections:
    st.info(_("This model has no view {view}, so another one is shown.", view=_(labels[wanted])))
# Only a choice writes the address: if the page wrote its default on opening, Back would need two clicks.
st.session_state[address.VIEW_KEY] = wanted if wanted in sections else first
session.remember(address.VIEW_KEY, st.session_state[address.VIEW_KEY])
view = {"key": address.VIEW_KEY, "on_change": lambda: address.write({address.VIEW: st.session_state[address.VIEW_KEY]})}
look = {"format_func": lambda name: _(labels[name]), "label_visibility": "collapsed"}
st.html(f"<style>{group_style(sections)}</style>")
with st.container(gap="xxsmall"):
    name = st.segmented_control(_("View"), list(sections), required=True, **view, **look)
    section = sections[name]
    st.caption(in_units(_(section.question)))
if section.prompt != "unused":
    st.text_input(_("Prompt"), typed, key=PROMPT, help=newline_hint(), on_change=write_prompt)
    if key := number_key(text, prompt.text):
        st.caption(literal(key))
    if prompt.notes:
        st.info(literal(" ".join(prompt.notes)))
if section.attention:
    warn_of_columns(opened.model)
if section.prompt == "needed" and not prompt.ids:
    st.info(_("Type a prompt made of tokens that the model knows."))
else:
    with errors_shown(), units_of(opened.tokenizer):  # for example, the run's text is gone
        section.draw(inspection)
watch_emergence(inspection)
