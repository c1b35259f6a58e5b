"""What is each head for, and when did it learn it?"""

from collections.abc import Iterable, Sequence

import numpy as np
import streamlit as st

from core.interpretability.head_roles import ROLES, HeadScores, emergence_steps, name_heads, score_heads
from explorer.charts.csv_export import Columns
from explorer.charts.heads import emergence_figure, role_bars, roles_board
from explorer.i18n.language import N_, _
from explorer.i18n.part_names import named
from explorer.look_inside.head_emergence import emergence_key, has_parent, scores_over_time
from explorer.look_inside.run_text import windows
from explorer.look_inside.view import Inspection, choose_head, head_on_view, write_head
from explorer.services.jobs import result_of
from explorer.streaming.curves import curve_rows
from explorer.widgets.layout import card, chart, current_palette, sentence

PIECES, FEWER_PIECES = 64, 16  # of text that scores are measured on; fewer for large models


def draw(inspection: Inspection) -> None:
    """Every head's role, one head's scores, and the scores along the training."""
    pieces = windows(inspection, count=FEWER_PIECES if inspection.large else PIECES)
    tokens = inspection.tokenizer.tokens
    scores = result_of(
        ("heads", *inspection.key), lambda: score_heads(inspection.model, pieces, tokens), _("Watching all heads read")
    )
    if scores is None:
        return
    names = name_heads(scores)
    left, right = st.columns([3, 2])
    with left, card(_("What is each head for?"), roles_in_words(names), more=_(_ROLES), key="card_roles"):
        st.caption(_("Click a head to see all its scores."))
        chart(
            roles_board(names, current_palette()),
            key="roles_board",
            numbers=lambda: _score_columns(scores),
            name="head-roles",
            on_select=_open_clicked,
            selection_mode="points",
        )
    layer, head = head_on_view(inspection)
    with right, card(_("What is head {place}?", place=f"{layer + 1}.{head + 1}"), key="card_role"):
        with st.container(horizontal=True):
            layer, head = choose_head(inspection)
        own = {role: float(getattr(scores, role)[layer, head]) for role in ROLES}
        best = max(own, key=own.get)
        told = {"role": named(ROLES[best]), "share": f"{own[best]:.0%}"}
        st.caption(
            _("It is a {role} head: {share} of the attention that it could give this way goes there.", **told)
            if names[layer][head].role
            else _(
                "It has no clear habit; it is most a {role} head: {share} of the attention that it could give this way "
                "goes there.",
                **told,
            )
        )
        chart(
            role_bars(own, current_palette()),
            key="role_bars",
            numbers=lambda: {"role": list(own), "score": list(own.values())},
            name=f"head-{layer + 1}-{head + 1}",
        )
    _emergence_card(inspection)


def _open_clicked() -> None:
    """Runs before the page is drawn, so that every section shows the head that was clicked."""
    if points := st.session_state["roles_board"].selection.points:
        write_head(*points[0]["customdata"])


def _score_columns(scores: HeadScores) -> Columns:
    places = list(np.ndindex(*scores.induction.shape))
    named = {"layer": [layer + 1 for layer, _unused in places], "head": [head + 1 for _unused, head in places]}
    return named | {role: getattr(scores, role).flatten() for role in ROLES}


def roles_in_words(names: list[list]) -> str:
    """How many heads have a habit, and which is the clearest."""
    flat = [(layer, head, name) for layer, row in enumerate(names) for head, name in enumerate(row)]
    able = [entry for entry in flat if entry[2].role]
    if not able:
        return _("No head has a clear habit at this step. Train on, or look at a later step.")
    layer, head, name = max(able, key=lambda entry: entry[2].score)
    told = {
        "all": len(flat),
        "place": f"{layer + 1}.{head + 1}",
        "role": named(name.words),
        "score": f"{name.score:.2f}",
    }
    if len(able) == 1:
        return _("1 of {all} heads has a clear habit. The clearest: head {place}, {role} ({score}).", **told)
    return _(
        "{count} of {all} heads have a clear habit. The clearest: head {place}, {role} ({score}).",
        count=len(able), **told,
    )  # fmt: skip


def _emergence_card(inspection: Inspection) -> None:
    if len(inspection.folder.snapshots()) < 3:
        return
    with card(
        _("When was each head born?"),
        _("A head is born at the step from which on it keeps a habit. The dotted line is the validation loss."),
        key="card_births",
    ):
        role = st.segmented_control(
            _("Role"), list(ROLES), default="previous_token", required=True, key="birth_role",
            format_func=lambda role: named(ROLES[role]), label_visibility="collapsed",
        )  # fmt: skip
        found = result_of(
            emergence_key(inspection),
            lambda: scores_over_time(inspection),
            _("Watching all heads at every step that was kept"),
        )
        if found is None:
            return
        steps, scores = found
        over_time = np.stack([getattr(one, role) for one in scores])  # (S, L, H)
        emerged = emergence_steps(steps, over_time)
        measured = [row for row in curve_rows(inspection.folder) if row.get("val_loss") is not None]
        losses = [row["step"] for row in measured], [row["val_loss"] for row in measured]
        strongest = np.array([[name.role == role for name in row] for row in name_heads(scores[-1])])  # (L, H)
        inherited = steps[0] if has_parent(inspection) else None
        st.caption(sentence(emergence_in_words(emerged, strongest, named(ROLES[role]), steps[-1], inherited)))
        figure = emergence_figure(steps, over_time, emerged, losses, role, current_palette())
        heads = [f"head {layer + 1}.{head + 1}" for layer, head in np.ndindex(*emerged.shape)]
        chart(
            figure,
            key="births",
            numbers=lambda: {"step": steps} | dict(zip(heads, over_time.reshape(len(steps), -1).T, strict=True)),
            name=f"births-{role}",
        )


def emergence_in_words(
    emerged: np.ndarray, strongest: np.ndarray, role: str, last: int, inherited: int | None = None
) -> str:
    """Return which head had the role first and how many have it at the newest snapshot.

    Args:
        emerged: (L, H), the step from which on each head's score stays above the threshold, or -1.
        strongest: (L, H), whether this role is the head's strongest at that snapshot.
        last: the step of the newest snapshot; the run may still train.
        inherited: the first step of a run that began with another model's weights; heads of that step were its.
    """
    if inherited is not None and len(before := np.argwhere(emerged == inherited)):
        told = _("Already {role} heads in its parent: {places}.", role=role, places=_places(before))
        new = np.where(emerged == inherited, -1, emerged)
        return told if (new < 0).all() else f"{told} {emergence_in_words(new, strongest, role, last)}"
    heads = np.argwhere(emerged >= 0)
    if not len(heads):
        return _("At step {last} no head has the role {role}.", role=role, last=f"{last:,}")
    first = min(heads.tolist(), key=lambda place: emerged[tuple(place)])
    told = _(
        "The first {role} head is {place}, from step {step} on.",
        role=role, place=_places([first]), step=f"{emerged[tuple(first)]:,}",
    )  # fmt: skip
    if len(heads) == 1:
        return told
    count = _("At step {last}, {count} heads score above 0.3.", last=f"{last:,}", count=len(heads))
    others = np.argwhere((emerged >= 0) & ~strongest)
    if not len(others):
        return f"{told} {count}"
    stronger = _("Stronger in another role, which names them above: {places}.", places=_places(others))
    return f"{told} {count} {stronger}"


def _places(heads: Iterable[Sequence[int]]) -> str:
    return ", ".join(f"{layer + 1}.{head + 1}" for layer, head in heads)


_ROLES = N_(
    "Each head is watched on pieces of text that the model was not trained on. **Previous token**: it looks one letter "
    "back. **Same token**: at earlier places of the same letter. **Start of text**: at the very first letter, often "
    "a way of resting. **Start of the word**: at the last space or new line. **Induction**: where a pattern repeats, "
    "at what came next the last time (Olsson 2022); measured on random letters said twice. A head gets a name from "
    "a score of 0.3 on; spread evenly, attention scores below 0.1."
)
