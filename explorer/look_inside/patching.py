"""Where in the model does the difference between two prompts sit?"""

from collections.abc import Iterator

import numpy as np
import streamlit as st

from core.interpretability import Progress
from core.interpretability.activations import PromptError
from core.interpretability.patching import PatchMap, answers, patch_map
from core.interpretability.residual_stream import next_token_logits
from core.text.token_display import kind_of, visible
from explorer.charts.csv_export import matrix_columns
from explorer.charts.patching import patch_heatmap
from explorer.charts.text_format import room_for
from explorer.i18n.language import N_, _
from explorer.i18n.part_names import named
from explorer.look_inside.frames import MOST_SEEN
from explorer.look_inside.token_picker import choose_token, likeliest
from explorer.look_inside.view import Inspection
from explorer.services.jobs import known, result_of
from explorer.services.results_cache import kept
from explorer.widgets import address
from explorer.widgets.layout import card, chart, current_palette, literal, sentence, show_error
from explorer.widgets.prompt import Prompt, as_line, newline_hint, read_prompt

OTHER = "inspect_prompt_2"
WHAT, ANSWER, RIVAL = "patch_what", "patch_answer", "patch_rival"
_MADE = "made_prompt_2"  # the second prompt as it was proposed, to be proposed anew with another first one
_BACK = 3  # places from the end at which the proposal changes a letter
_TRIED = 20  # replacements for it
_PARTS = {N_("Stream"): "stream", N_("Attention"): "attention", N_("Feed-forward"): "mlp"}
_MORE = N_(
    "**Activation patching**: the model reads the second prompt, but at one place and one height of the model it is "
    "given what it computed for the *first* prompt there. If its answer then moves back to that of the first prompt, "
    "the difference between the two passes through this very cell. Orange is how far the answer moves back (all the "
    "way: as if it had read the first prompt), blue that it moves away. *Stream* swaps all that is known at a place, "
    "*Attention* and *Feed-forward* only what that half of a block adds there (Meng 2022, *causal tracing*)."
)


def draw(inspection: Inspection) -> None:
    """Two prompts, what is swapped between them, and the map of how far each swap moves the answer."""
    title = _("Where in the model does the difference between two prompts sit?")
    with card(title, more=_(_MORE), key="card_patching"):
        _propose(inspection)
        left, right = st.columns([3, 2], vertical_alignment="bottom")
        with left:
            typed = st.text_input(
                _("Second prompt, equally long"),
                st.session_state.get(OTHER, ""),
                key=OTHER,
                help=newline_hint(),
            )
        with right:
            parts = [name for name in _PARTS if inspection.config.feed_forward or name != "Feed-forward"]
            address.fit_choice(WHAT, parts, parts[0])
            chosen = st.segmented_control(_("Swap"), parts, required=True, key=WHAT, format_func=_)
        other = read_prompt(typed, inspection.tokenizer, min(inspection.model.block_size, MOST_SEEN))
        if other.notes:
            st.info(literal(" ".join(other.notes)))
        try:
            answer, rival = _choose_answers(inspection, other)
        except PromptError as error:
            show_error(error)
            return
        _map(inspection, other, _PARTS[chosen], answer, rival)


def _map(inspection: Inspection, other: Prompt, what: str, answer: int, rival: int) -> None:
    model, clean, corrupted = inspection.model, inspection.prompt, other

    def work() -> Iterator[Progress[PatchMap]]:
        return patch_map(model, clean.ids, corrupted.ids, what, answer, rival)

    key = ("patching", *inspection.key, tuple(clean.ids), tuple(corrupted.ids), what, answer, rival)
    if inspection.large and known(key) is None and not st.button(_("Swap every place (takes minutes)"), key="patch_go"):
        return
    found = result_of(key, work, _("Swapping one place after another"))
    if found is None:
        return
    st.caption(sentence(map_in_words(found, what, clean.shown, corrupted.shown)))
    tokens = inspection.tokenizer.tokens
    chart(
        patch_heatmap(
            found.moved,
            list(map(named, found.rows)),
            clean.shown,
            corrupted.shown,
            (visible(tokens[answer]), visible(tokens[rival])),
            current_palette(),
        ),
        key="patches",
        numbers=lambda: matrix_columns(found.moved, found.rows, clean.shown, ("part", "token", "moved back")),
        name="patching",
        width=room_for([*clean.shown, *corrupted.shown], len(clean.ids)) or "stretch",
    )


def map_in_words(found: PatchMap, what: str, clean: list[str], corrupted: list[str]) -> str:
    """Where the difference sits, and from where on it is at the last token, from which the answer is read."""
    last = len(clean) - 1
    if what != "stream":
        row, place = np.unravel_index(int(np.nanargmax(found.moved)), found.moved.shape)
        moved = f"{found.moved[row, place]:.0%}"
        told = {"block": row + 1, "letter": clean[place], "place": place + 1, "share": moved}
        if what == "attention":
            return _(
                "Of attention alone, block {block} at '{letter}' (place {place}) moves the answer most: {share} of the "
                "way back.",
                **told,
            )
        return _(
            "Of the feed-forward half alone, block {block} at '{letter}' (place {place}) moves the answer most: "
            "{share} of the way back.",
            **told,
        )
    differing = [place for place in range(len(clean)) if clean[place] != corrupted[place]]
    where = ", ".join(_("'{letter}' (place {place})", letter=clean[place], place=place + 1) for place in differing[:3])
    if len(differing) > 3:
        where = _("{places} and {count} more", places=where, count=len(differing) - 3)
    if differing == [last]:
        return _("The prompts differ only in the last letter, so all of the difference sits there from the start.")
    arrived = found.moved[:, last] >= 0.5
    stage = next(row for row in range(len(arrived)) if arrived[row:].all())  # the very last is always all the way back
    return _(
        "The prompts differ at {places}; most of what that means for the answer has reached the last letter, "
        "'{letter}', {stage}.",
        places=where, letter=clean[last], stage=named(found.rows[stage]),
    )  # fmt: skip


def _choose_answers(inspection: Inspection, other: Prompt) -> tuple[int, int]:
    """The two tokens between which the answer moves. Raises PromptError where the prompts cannot be compared."""
    model, ids = inspection.model, inspection.prompt.ids
    key = ("answers", tuple(ids), tuple(other.ids))
    found = kept(model, key, lambda: answers(model, ids, other.ids))
    offered = [
        kept(model, ("next", *row), lambda row=row: likeliest(next_token_logits(model, row)))
        for row in (ids, other.ids)
    ]
    left, right = st.columns(2)
    with left:
        answer = choose_token(
            _("Answer to the first"), ANSWER, _with(found.answer, offered[0]), inspection.tokenizer,
            default=found.answer, prompt=[*ids, *other.ids],
        )  # fmt: skip
    with right:
        rival = choose_token(
            _("Answer to the second"), RIVAL, _with(found.rival, offered[1]), inspection.tokenizer,
            default=found.rival, prompt=[*ids, *other.ids],
        )  # fmt: skip
    if answer == rival:
        raise PromptError(_("Choose two different answers: the map shows how one gives way to the other."))
    # Raises where the two tell the prompts no more apart than before.
    kept(model, (*key, answer, rival), lambda: answers(model, ids, other.ids, answer, rival))
    return answer, rival


def _with(token: int, offered: list[int]) -> list[int]:
    return offered if token in offered else [token, *offered]


def _propose(inspection: Inspection) -> None:
    """Fill in a second prompt, unless the visitor has written one of his own."""
    made = address.recall(_MADE)
    typed = st.session_state.get(OTHER, address.recall(OTHER))
    if typed is None or typed == made:
        typed = other_prompt(inspection)
        address.remember(_MADE, typed)
    st.session_state[OTHER] = typed
    address.remember(OTHER, typed)


def other_prompt(inspection: Inspection) -> str:
    """The first prompt with one letter changed near its end: into what the model held for likeliest there, of the same
    kind. As it is typed in one line."""
    prompt, tokenizer = inspection.prompt, inspection.tokenizer
    place = max(0, len(prompt.ids) - _BACK)
    logits = next_token_logits(inspection.model, prompt.ids[: max(1, place)])
    others = [id for id in likeliest(logits) if id != prompt.ids[place]]
    alike = [id for id in others if kind_of(tokenizer.tokens[id]) == prompt.kinds[place]]
    for id in (alike + others)[:_TRIED]:
        ids = [*prompt.ids[:place], id, *prompt.ids[place + 1 :]]
        text = as_line(tokenizer.decode(ids), tokenizer.tokens)
        if read_prompt(text, tokenizer).ids == ids:
            return text
    return as_line(prompt.text, tokenizer.tokens)
