"""Where in the model does the difference between two prompts come from?"""

from functools import partial

import numpy as np
import streamlit as st

from core.interpretability.activations import PromptError
from core.interpretability.patching import PatchMap, answers, patch_map
from core.interpretability.residual_stream import next_token_logits
from core.text.token_display import kind_of, visible
from explorer.charts.csv_export import matrix_columns
from explorer.charts.heatmaps import patch_heatmap
from explorer.charts.text_format import least_width_for, percent
from explorer.i18n.formatting import named
from explorer.i18n.language import N_, _
from explorer.look_inside.frames import MAX_DRAWN
from explorer.look_inside.inspection import Inspection, choose_token, likely_next, most_likely
from explorer.services.jobs import known
from explorer.services.shared import result_for
from explorer.widgets import session
from explorer.widgets.job_progress import result_of
from explorer.widgets.layout import card, chart, current_palette, errors_shown, literal, sentence
from explorer.widgets.prompt import Prompt, as_line, newline_hint, read_prompt

OTHER = "inspect_prompt_2"
PATCHED, ANSWER, RIVAL = "patch_what", "patch_answer", "patch_rival"
_PROPOSED = "made_prompt_2"  # the second prompt as proposed; a new first prompt gets a new proposal
_BACK = 3  # positions from the end at which the proposal changes a token
_TRIED = 20  # replacement tokens tried
_PARTS = {N_("Stream"): "stream", N_("Attention"): "attention", N_("MLP"): "mlp"}
_HELP = N_(
    "The model reads the second prompt, with one activation replaced by that of the first (Meng 2022). In an orange "
    "cell the prediction moves back: the difference passes through it."
)


def draw(inspection: Inspection) -> None:
    """Draw two prompts, what is patched between them, and the map of how far each patch moves the prediction."""
    with card(_("Activation patching"), more=_(_HELP), key="card_patching"), errors_shown():
        _propose(inspection)
        left, right = st.columns([3, 2], vertical_alignment="bottom")
        with left:
            typed = st.session_state[OTHER]
            typed = st.text_input(_("Second prompt, of the same length"), typed, key=OTHER, help=newline_hint())
        with right:
            parts = [name for name in _PARTS if inspection.config.feed_forward or name != "MLP"]
            session.fit_choice(PATCHED, parts, parts[0])
            chosen = st.segmented_control(_("Patch"), parts, required=True, key=PATCHED, format_func=_)
        other = read_prompt(typed, inspection.tokenizer, min(inspection.model.block_size, MAX_DRAWN))
        if other.notes:
            st.info(literal(" ".join(other.notes)))
        _map(inspection, other, _PARTS[chosen], *_choose_answers(inspection, other))


def _map(inspection: Inspection, other: Prompt, patched: str, answer: int, rival: int) -> None:
    clean, corrupted = inspection.prompt, other
    key = ("patches", *inspection.key, patched, tuple(clean.ids), tuple(corrupted.ids), answer, rival)
    work = partial(patch_map, inspection.model, clean.ids, corrupted.ids, patched, answer, rival)
    if inspection.large and known(key) is None and not st.button(_("Patch everywhere (takes minutes)"), key="patch_go"):
        return
    patches = result_of(key, work, _("Patching one place after another"))
    if patches is None:
        return
    st.caption(sentence(map_in_words(patches, patched, clean.shown, corrupted.shown)))
    answers = tuple(visible(inspection.tokenizer.tokens[id]) for id in (answer, rival))
    rows = list(map(named, patches.rows))
    figure = patch_heatmap(patches.moved, rows, clean.shown, corrupted.shown, answers, current_palette())
    columns = partial(matrix_columns, patches.moved, patches.rows, clean.shown, ("part", "token", "moved back"))
    width = least_width_for([*clean.shown, *corrupted.shown], len(clean.ids)) or "stretch"
    chart(figure, key="patches", name="patching", numbers=columns, width=width)


def map_in_words(patches: PatchMap, patched: str, clean: list[str], corrupted: list[str]) -> str:
    """Return where a patch moves most; for the stream, after which stage the difference has reached the last token."""
    last = len(clean) - 1
    if patched != "stream":
        row, place = np.unravel_index(int(np.nanargmax(patches.moved)), patches.moved.shape)
        share = percent(float(patches.moved[row, place]))
        words = N_("MLP: block {block} at {place} moves the prediction most, {share} of the way back.")
        if patched == "attention":
            words = N_("Attention: block {block} at {place} moves the prediction most, {share} of the way back.")
        return _(words, block=row + 1, place=_position(clean, place), share=share)
    differing = [place for place in range(len(clean)) if clean[place] != corrupted[place]]
    if differing == [last]:
        return _("The prompts differ only in the last token, so all of the difference is there from the start.")
    where = ", ".join(_position(clean, place) for place in differing[:3])
    if len(differing) > 3:
        where = _("{places} and {count} more", places=where, count=len(differing) - 3)
    arrived = patches.moved[:, last] >= 0.5
    stage = next(row for row in range(len(arrived)) if arrived[row:].all())  # the last row is always all the way back
    return _(
        "The prompts differ at {places}. Most of the difference has reached the last token, '{token}', {stage}.",
        places=where, token=clean[last], stage=named(patches.rows[stage]),
    )  # fmt: skip


def _position(shown: list[str], place: int) -> str:
    return _("'{token}' (position {number})", token=shown[place], number=place + 1)


def _choose_answers(inspection: Inspection, other: Prompt) -> tuple[int, int]:
    """Return the two next tokens between which it moves. Raises PromptError if the prompts cannot be compared."""
    model, ids = inspection.model, inspection.prompt.ids
    key = ("answers", tuple(ids), tuple(other.ids))
    likely = result_for(model, key, lambda: answers(model, ids, other.ids))
    both = [*ids, *other.ids]
    left, right = st.columns(2)
    with left:
        label = _("Next token of the first prompt")
        answer = choose_token(label, ANSWER, likely_next(model, ids), inspection, default=likely.answer, prompt=both)
    with right:
        label, offered = _("Next token of the second prompt"), likely_next(model, other.ids)
        rival = choose_token(label, RIVAL, offered, inspection, default=likely.rival, prompt=both)
    if answer == rival:
        raise PromptError(_("Choose two different tokens: the map shows how one prediction changes to the other."))
    # Raises PromptError if these two tokens do not tell the prompts apart.
    result_for(model, (*key, answer, rival), lambda: answers(model, ids, other.ids, answer, rival))
    return answer, rival


def _propose(inspection: Inspection) -> None:
    proposed = session.recall(_PROPOSED)
    typed = st.session_state.get(OTHER, session.recall(OTHER))
    if typed is None or typed == proposed:
        typed = other_prompt(inspection)
        session.remember(_PROPOSED, typed)
    st.session_state[OTHER] = typed
    session.remember(OTHER, typed)


def other_prompt(inspection: Inspection) -> str:
    """Return the first prompt with a token near its end replaced by the most likely other one, of its kind if any."""
    prompt, tokenizer = inspection.prompt, inspection.tokenizer
    place = max(0, len(prompt.ids) - _BACK)
    logits = next_token_logits(inspection.model, prompt.ids[: max(1, place)])
    others = [id for id in most_likely(logits) if id != prompt.ids[place]]
    alike = [id for id in others if kind_of(tokenizer.tokens[id]) == prompt.kinds[place]]
    for id in (alike + others)[:_TRIED]:
        ids = [*prompt.ids[:place], id, *prompt.ids[place + 1 :]]
        text = as_line(tokenizer.decode(ids), tokenizer.tokens)
        if read_prompt(text, tokenizer).ids == ids:
            return text
    return as_line(prompt.text, tokenizer.tokens)
