"""Look inside: what a model attends to, what it expects, and which letters it treats alike."""

from functools import partial

import streamlit as st

from core.errors import ExplorerError
from explorer.i18n.language import say
from explorer.i18n.units import speaking_of
from explorer.look_inside.frames import MOST_SEEN
from explorer.look_inside.head_emergence import watch_births
from explorer.look_inside.sections import SECTIONS, sections_of
from explorer.look_inside.snapshot import choose_moment, clock_of, open_moment
from explorer.look_inside.view import Inside, warn_of_columns
from explorer.widgets import address
from explorer.widgets.layout import end_absent, literal, show_error
from explorer.widgets.prompt import example_prompt, newline_hint, read_prompt
from explorer.widgets.run_picker import choose_run

folder = choose_run(
    say("Look inside"),
    say(
        "Here you open a trained model: where each of its heads looks, letter by letter, what it expects next, and "
        "which letters it has learned to treat alike. It takes a run to look into; the first is trained in half a "
        "minute."
    ),
)

opened = open_moment(folder)
if "inspect_prompt" not in st.session_state:
    probe = folder.read_probe()
    st.session_state["inspect_prompt"] = example_prompt(opened.tokenizer, probe.tokens if probe else [])
clock = clock_of(folder, opened, st.session_state["inspect_prompt"])
choose_moment(folder, opened, clock)
sections = sections_of(opened.model)
asked_view = address.view_asked()
if asked_view and asked_view not in {section.name for section in SECTIONS}:
    end_absent(
        say("Look inside has no view {view}. Perhaps the link is misspelt.", view=repr(asked_view[:60])),
        say("Show {view}", view=say(next(iter(sections)))),
        partial(address.write_address, address.VIEW, next(iter(sections))),
    )
if asked_view and asked_view not in sections:
    st.info(say("This model has no view {view}: here is another one.", view=say(asked_view)))
address.follow_address(address.VIEW_KEY, address.VIEW, list(sections))
name = st.segmented_control(
    say("View"),
    list(sections),
    required=True,
    key=address.VIEW_KEY,
    on_change=lambda: address.write_address(address.VIEW, st.session_state[address.VIEW_KEY]),
    format_func=say,
    label_visibility="collapsed",
)
typed = st.text_input(
    say("Prompt"),
    st.session_state["inspect_prompt"],
    key="inspect_prompt",
    help=newline_hint(),
)

section = sections[name]
prompt = read_prompt(typed, opened.tokenizer, min(opened.model.block_size, MOST_SEEN))
if section.shares:
    warn_of_columns(opened.model)
if section.prompt and prompt.notes:
    st.info(literal(" ".join(prompt.notes)))
if section.prompt and not prompt.ids:
    st.info(say("Type a few letters that the model knows, and you see what it makes of them."))
else:
    try:
        with speaking_of(opened.tokenizer):
            section.draw(Inside(folder, opened, prompt, clock))
    except ExplorerError as error:  # the run's text is gone, say
        show_error(error)
watch_births(Inside(folder, opened, prompt, clock))
