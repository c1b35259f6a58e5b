"""The panels of Generate: the sampling settings, and the generated text."""

import secrets
from functools import partial
from urllib.parse import urlencode

import numpy as np
import streamlit as st
import torch
from streamlit.delta_generator import DeltaGenerator

from core.interpretability.residual_stream import next_token_logits
from core.runs.folder import RunFolder
from core.sampling import context_start, sampling_distribution
from core.sampling_config import GenerationConfig
from core.settings import fields_of, value_at
from core.text.tasks import task_of
from core.text.token_display import visible
from core.text.tokenizers import opening_ids
from explorer.charts.lessons import share_pairs
from explorer.charts.text_format import percent
from explorer.components.text import token_text
from explorer.i18n.language import N_, _, in_units, language, ngettext
from explorer.services import shared
from explorer.services.shared import Opened, result_for
from explorer.streaming.generation import LONGEST_PROMPT
from explorer.widgets import session
from explorer.widgets.address import GENERATE_REQUEST
from explorer.widgets.forms import setting_input, widget_key
from explorer.widgets.layout import card, chart, current_palette, errors_shown, literal
from explorer.widgets.prompt import number_key, questions_of, read_prompt

_SHOWN = 16  # tokens of the distribution
_SAMPLES = (1, 2, 4)  # texts side by side
_SAMPLES_KEY, _VARIED_KEY = "generate_samples", "generate_varied"
_VARIED = (N_("Seed"), N_("Temperature"))  # in what the texts differ
_WARMER = 0.3  # between the temperatures of two texts


def ask(folder: RunFolder) -> tuple[str, GenerationConfig]:
    """Draw prompt, the button, which remembers the request, and sliders; return the current prompt and settings."""
    with card(_("Prompt"), key="card_prompt"):  # by itself: on a phone the text follows it (assets/app.css)
        look = {"height": 96, "placeholder": _("Empty prompt: the model starts from scratch")}
        look |= {"max_chars": LONGEST_PROMPT, "label_visibility": "collapsed"}
        typed = st.session_state.get("generate_prompt", "")
        _offer_questions(folder)
        typed = st.text_area(_("Prompt"), typed, key="generate_prompt", **look)
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
            samples = st.segmented_control(
                _("Samples"), _SAMPLES, default=_request_samples(), key=_SAMPLES_KEY, required=True,
                help=_("Texts side by side, each with its own seed, or each {warmer} warmer.", warmer=_WARMER),
            )  # fmt: skip
            varied = _request_varied()
            if samples and samples > 1:
                look = {"default": varied, "key": _VARIED_KEY, "required": True, "format_func": _}
                varied = st.segmented_control(_("Vary"), _VARIED, **look)
            go = {"type": "primary", "icon": ":material/edit:", "width": "stretch", "key": "generate_go"}
            pressed = st.button(_("Generate"), **go)
    with card(_("Sampling settings"), key="card_ask"):
        settings = GenerationConfig.parse(_inputs())
        st.caption(_("The same seed, prompt and settings generate the same text."))
        request = session.recall(GENERATE_REQUEST)
        if pressed or not request or request["run"] != folder.id:  # on entry it generates without a click
            _request(folder.id, typed, settings, samples or 1, varied or _VARIED[0])
    return typed, settings


def _request_samples() -> int:
    return (session.recall(GENERATE_REQUEST) or {}).get("samples", 1)


def _request_varied() -> str:
    return (session.recall(GENERATE_REQUEST) or {}).get("varied", _VARIED[0])


def fit_length(corpus: str) -> None:
    """Set the length last chosen for this task or for other texts; a task's default is its longest problem."""
    task, usual = task_of(corpus), GenerationConfig().max_new_tokens
    kind = corpus if task and task.longest else ""
    session.fit_input(widget_key("max_new_tokens"), kind, lambda: task.longest if kind else usual)


def _offer_questions(folder: RunFolder) -> None:
    """Draw a button for each question, which makes it the prompt and generates the answer."""
    questions = questions_of(folder.record().config.data.corpus)
    if not questions:
        return
    st.caption(_("Questions that it never trained on. The text ends with the answer."))
    if key := number_key(folder.record().config.data.corpus, st.session_state["generate_prompt"]):
        st.caption(literal(key))
    with st.container(horizontal=True, gap="small"):
        for number, question in enumerate(questions):
            st.button(literal(question), key=f"question_{number}", on_click=_ask_question, args=(folder.id, question))


def _ask_question(run_id: str, question: str) -> None:
    st.session_state["generate_prompt"] = question
    st.session_state[widget_key("temperature")] = 0.0
    if request := session.recall(GENERATE_REQUEST):
        exact = request["settings"].replace({"temperature": 0.0})
        _request(run_id, question, exact, _request_samples(), _request_varied())


def _request(run_id: str, typed: str, settings: GenerationConfig, samples: int, varied: str) -> None:
    request = {"run": run_id, "typed": typed, "settings": settings, "samples": samples, "varied": varied}
    session.remember(GENERATE_REQUEST, request | {"go": secrets.token_hex(4)})


def _branch(key: str) -> None:
    """Generate from the text up to and including a clicked alternative."""
    text = (st.session_state.get(key) or {}).get("branch")
    request = session.recall(GENERATE_REQUEST)
    if isinstance(text, str) and text and request:
        st.session_state["generate_prompt"] = text[-LONGEST_PROMPT:]
        _request(request["run"], text[-LONGEST_PROMPT:], request["settings"], _request_samples(), _request_varied())


def distribution_card(opened: Opened, typed: str, settings: GenerationConfig) -> None:
    """Draw the model's probabilities for the token after the prompt, and those it is sampled with."""
    note = _(
        "What do temperature, top-k and top-p do? The token after the prompt, as the model predicts and samples it."
    )
    with card(_("Next token: predicted and sampled"), note, key="card_distribution"), errors_shown():
        ids = read_prompt(typed, opened.tokenizer, one_line=False).ids or opening_ids(opened.tokenizer)
        ids = ids[context_start(len(ids), opened.model.block_size, settings.evict_fraction) :]  # as generation reads it
        logits = result_for(opened.model, ("next", tuple(ids)), lambda: next_token_logits(opened.model, ids))
        logits = torch.from_numpy(logits)
        own, sampled = (p.double().numpy() for p in (logits.softmax(dim=-1), sampling_distribution(logits, settings)))
        sampled = sampled / sampled.sum()
        order = np.argsort(-own, kind="stable")
        tokens = [visible(opened.tokenizer.tokens[id]) for id in order]
        shares = {_("model"): own[order].tolist(), _("sampled"): sampled[order].tolist()}
        palette = current_palette()
        shown = {name: values[:_SHOWN] for name, values in shares.items()}
        figure = share_pairs(tokens[:_SHOWN], shown, (palette.lines, palette.accent), palette, height=210)
        chart(figure, key="distribution", name="next-token", numbers=lambda: {"token": tokens} | shares)
        left = int((sampled > 0).sum())
        sentence = ngettext(
            "{count} token of {all} can be sampled; the most likely one with {after} instead of {before}.",
            "{count} tokens of {all} can be sampled; the most likely one with {after} instead of {before}.",
            left, count=left, all=f"{len(own):,}",
            before=percent(float(own.max())), after=percent(float(sampled.max())),
        )  # fmt: skip
        st.caption(in_units(sentence))


def _inputs() -> dict:
    request = session.recall(GENERATE_REQUEST)
    usual = request["settings"] if request else GenerationConfig()
    values = {}
    for path, setting in fields_of(GenerationConfig):
        value, key = value_at(usual, path), widget_key(path)
        with st.container(horizontal=True, vertical_alignment="bottom"):
            values[path] = setting_input(path, setting, value, base=st.session_state.get(key, value))
            if path == "seed":
                about, seed = _("Draw a new random seed, for another text."), {key: secrets.randbelow(1_000_000)}
                draw = partial(st.session_state.update, seed)
                st.button("", icon=":material/casino:", key="new_seed", on_click=draw, help=about)
    return values


def written_card(folder: RunFolder, typed: str, settings: GenerationConfig) -> None:
    """Draw the text last requested from this run; the next one would use `typed` and `settings`."""
    note = _(
        "A stronger shade means a higher probability. Click a letter, or use the arrow keys, to see its alternatives; "
        "click one of them to write on from there."
    )
    more = _(
        "Each letter is sampled. **Temperature** sharpens or flattens the distribution; **top k** and **top p** keep "
        "only its most likely tokens. The shades show the model's probabilities, before these settings."
    )
    with card(_("Generated text"), note, more=more, key="card_written"), errors_shown():
        request = session.recall(GENERATE_REQUEST)
        samples, varied = _request_samples(), _request_varied()
        chosen = typed, settings, st.session_state[_SAMPLES_KEY], st.session_state.get(_VARIED_KEY, varied)
        if (request["typed"], request["settings"], samples, varied) != chosen:
            words = _("Generated before you changed the prompt or the settings. Press **Generate** for a new text.")
            st.caption(words)
        opened = shared.open_model(folder.id)
        prompt = read_prompt(request["typed"], opened.tokenizer, one_line=False)
        if prompt.notes:
            st.info(literal(" ".join(prompt.notes)))
        for number, (place, how) in enumerate(
            zip(_places(samples), _variants(request["settings"], samples, varied), strict=True)
        ):
            key = f"written_{number}" if number else "written"
            with place:
                if samples > 1:
                    differs = _("Seed {seed}", seed=str(how.seed))  # as in its field, without a comma
                    if varied == "Temperature":
                        differs = _("Temperature {temperature}", temperature=f"{how.temperature:.2f}")
                    st.caption(differs)
                query = urlencode({"prompt": prompt.text, "language": language(), **how.model_dump()})
                token_text(
                    prompt=prompt.text,
                    go=request["go"],
                    url=f"api/runs/{folder.id}/generate?{query}",
                    total=how.max_new_tokens,
                    key=key,
                    on_branch=partial(_branch, key),
                )


def _variants(settings: GenerationConfig, samples: int, varied: str) -> list[GenerationConfig]:
    """Return the settings of each text: the chosen seed and those after it, or temperatures from the chosen one up."""
    if varied == "Temperature":
        most = dict(fields_of(GenerationConfig))["temperature"].high
        first = min(settings.temperature, most - _WARMER * (samples - 1))
        return [settings.replace({"temperature": round(first + _WARMER * number, 2)}) for number in range(samples)]
    return [settings.replace({"seed": (settings.seed + number) % 2**31}) for number in range(samples)]


def _places(samples: int) -> list[DeltaGenerator]:
    """Return a container for each sample, at most two side by side: a letter's alternatives need some width."""
    if samples == 1:
        return [st.container()]
    return [place for _row in range(samples // 2) for place in st.columns(2)]
