"""The panels of Generate: how the model shall write, and what it writes."""

import secrets
from functools import partial
from urllib.parse import urlencode

import streamlit as st

from core.runs.folder import RunFolder
from core.sampling_config import GenerationConfig
from core.settings import fields_of, value_at
from explorer.components.text import token_text
from explorer.i18n.language import _, language
from explorer.i18n.units import worded
from explorer.services import shared
from explorer.widgets import session
from explorer.widgets.forms import setting_input, widget_key
from explorer.widgets.layout import card, errors_shown, literal
from explorer.widgets.prompt import read_prompt

LONGEST_PROMPT = 2000  # characters; it travels in an address


def ask(folder: RunFolder) -> tuple[str, GenerationConfig]:
    """Draw prompt, sliders and the button, which remembers the request; return prompt and settings as they stand."""
    with card(_("Sampling settings"), key="card_ask"):
        look = {"height": 96, "placeholder": _("Empty prompt: the model starts from scratch")}
        typed = st.session_state.get("generate_prompt", "")
        typed = st.text_area(_("Prompt"), typed, key="generate_prompt", max_chars=LONGEST_PROMPT, **look)
        button = st.container()  # above the sliders: in sight however many there are
        settings = GenerationConfig.parse(_inputs())
        st.caption(_("The same seed, prompt and settings generate the same text."))
        if button.button(_("Generate"), type="primary", icon=":material/edit:", width="stretch", key="generate_go"):
            request = {"run": folder.id, "typed": typed, "settings": settings, "go": secrets.token_hex(4)}
            session.remember("writing", request)
    return typed, settings


def _inputs() -> dict:
    request = session.recall("writing")
    usual = request["settings"] if request else GenerationConfig()
    values = {}
    for path, known in fields_of(GenerationConfig):
        value, key = value_at(usual, path), widget_key(path)
        with st.container(horizontal=True, vertical_alignment="bottom"):
            values[path] = setting_input(path, known, value, base=st.session_state.get(key, value))
            if path == "seed":
                about, seed = _("Draw a new random seed, for another text."), {key: secrets.randbelow(1_000_000)}
                draw = partial(st.session_state.update, seed)
                st.button("", icon=":material/casino:", key="new_dice", on_click=draw, help=about)
    return values


def written_card(folder: RunFolder, typed: str, settings: GenerationConfig) -> None:
    """Draw the text asked for last from this run; the next one would be written with `typed` and `settings`."""
    note = _(
        "A stronger shade means a higher probability. Point at a letter, or use the arrow keys, to see its "
        "alternatives."
    )
    more = _(
        "After each letter the model outputs a probability for every possible next one, and one is sampled. "
        "**Temperature** sharpens or flattens this distribution; **top k** and **top p** keep only the most "
        "likely tokens. The shades always show the model's own probabilities, before these settings."
    )
    with card(_("Generated text"), note, more=more, key="card_written"), errors_shown():
        request = session.recall("writing")
        if not request or request["run"] != folder.id:
            st.caption(worded(_("Press **Generate**, and the text appears here letter by letter.")))
            return
        if (request["typed"], request["settings"]) != (typed, settings):
            words = _("Generated before you changed the prompt or the settings. Press **Generate** for a new text.")
            st.caption(words)
        opened = shared.open_model(folder.id)
        prompt = read_prompt(request["typed"], opened.tokenizer, one_line=False)
        if prompt.notes:
            st.info(literal(" ".join(prompt.notes)))
        query = urlencode({"prompt": prompt.text, "language": language(), **request["settings"].model_dump()})
        token_text(
            prompt=prompt.text,
            go=request["go"],
            url=f"api/runs/{folder.id}/generate?{query}",
            total=request["settings"].max_new_tokens,
            key="written",
        )
