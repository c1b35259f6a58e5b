"""What role does each head have, and at which step did it emerge?"""

import threading
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import streamlit as st
import torch
from cachetools import LRUCache, cached

from core.errors import ExplorerError
from core.formatting import head_name
from core.interpretability import Progress, finish
from core.interpretability.attention import attention_patterns
from core.interpretability.head_roles import (
    HeadName,
    HeadScores,
    attention_by_distance,
    emergence_steps,
    name_heads,
    roles_of,
    score_heads,
)
from core.model import GPT
from core.runs.weights import load_model
from explorer.charts.heads import emergence_figure, role_bars, roles_board
from explorer.components.time_machine import HeadEmergence
from explorer.i18n.formatting import named
from explorer.i18n.language import N_, _, in_units, ngettext
from explorer.look_inside.inspection import Inspection, choose_head, evenly, head_of, write_head
from explorer.look_inside.run_text import task_name, windows
from explorer.services.jobs import Job, job, known
from explorer.widgets.job_progress import result_of
from explorer.widgets.layout import card, chart, choose, current_palette, sentence
from explorer.widgets.run_rows import validation_of
from explorer.widgets.session import recall, remember

WINDOWS, FEWER_WINDOWS = 32, 16  # of text that scores are measured on; fewer for large models
_PATTERNS = 4  # windows for measuring attention distances
MAX_SNAPSHOTS = 24
_MAX_CACHED = 512  # snapshots, with a few scores each
_TICK = 1.0  # seconds
_LAST_SCORES = "head_scores"  # the id of a run, a step, and the scores of its heads

_ROLES = N_(
    "A score is the share of attention that goes where the role says. A role needs 0.3, and 0.2 more than attention to "
    "all tokens alike would score."
)
_MEANINGS = {
    "previous_token": N_("It attends to the token just before."),
    "same_token": N_("It attends to earlier occurrences of the same token."),
    "start_of_text": N_("It attends to the first token."),
    "start_of_word": N_("It attends to the last space or newline."),
    "induction": N_("It attends to what followed the same token before."),
    "aligned_digits": N_(
        "To write a digit, it attends to the digits of both numbers that count the same power of ten."
    ),
    "carry_digits": N_("To write a digit, it attends to the two digits whose sum decides the carry."),
    "both_numbers": N_("To write the sum, it attends to both numbers."),
    "first_number": N_("At a digit of the second number, it attends to the same digit of the first."),
    "operators": N_("To write the sum, it attends to the plus and the equals sign."),
    "token_to_copy": N_("To write a letter, it attends to the letter to be copied."),
    "mirrored_token": N_("To write a letter, it attends to the same place, counted from the word's end."),
    "next_in_order": N_("To write a letter, it attends to where this letter stands in the word."),
    "bracket_to_close": N_("To write a bracket, it attends to the one that it closes."),
}


def draw(inspection: Inspection) -> None:
    """Draw every head's role, one head's scores, and the scores over training.

    While a run trains, the previous step's scores stay until those of a newer step are ready.
    """
    place = st.container()
    scores = result_of(("heads", *inspection.key), partial(scores_now, inspection), _("Scoring all heads"))
    run, step, _saved = inspection.key
    if scores is not None:
        remember(_LAST_SCORES, (run, step, scores))
    scored = recall(_LAST_SCORES)
    if scored is None or scored[0] != run:
        return
    with place:
        if scored[1] != step:
            st.caption(_("These are the scores of step {step}.", step=f"{scored[1]:,}"))
        _draw_roles(inspection, scored[2])
    _emergence_card(inspection)


def _draw_roles(inspection: Inspection, scores: HeadScores) -> None:
    """Draw the board of all heads' roles and the scores of one head."""
    task = task_name(inspection)
    names = name_heads(scores)
    left, right = st.columns([3, 2])
    with left, card(_("Head roles"), _("What does each head do? Click one to see its scores."), more=_(_ROLES),
                    key="card_roles"):  # fmt: skip
        st.caption(roles_in_words(names))
        shape = inspection.config.n_layer, inspection.config.n_head
        columns = dict(zip(("layer", "head"), np.indices(shape).reshape(2, -1) + 1, strict=True))
        columns |= {role: shares.flatten() for role, shares in scores.shares.items()}
        select = {"on_select": _open_clicked, "selection_mode": "points"}
        figure = roles_board(names, current_palette())
        chart(figure, key="roles_board", name="head-roles", numbers=lambda: columns, **select)
    layer, head = head_of(inspection.model)
    with right, card(_("Scores of head {place}", place=_places([(layer, head)])), key="card_role"):
        with st.container(horizontal=True):
            layer, head = choose_head(inspection)
        own, name = {role: float(shares[layer, head]) for role, shares in scores.shares.items()}, names[layer][head]
        best = name.role or max(own, key=own.get)
        role = named(roles_of(task)[best])
        if name.role:
            words = _("Role: {role}.", role=role), in_units(_(_MEANINGS[best])), _(
                "On average {share} of its attention goes there, counted where there is such a token. A gray line "
                "marks the score that a role needs.",
                share=f"{own[best]:.0%}",
            )  # fmt: skip
        else:
            words = _("No clear role."), _(
                "Its highest score, {score} for {role}, is below the gray line that a role needs.",
                score=f"{own[best]:.2f}", role=role,
            )  # fmt: skip
        st.caption(" ".join(words))
        patterns = [
            attention_patterns(inspection.model, ids) for ids in _held_out(inspection)[:_PATTERNS, :-1].tolist()
        ]
        st.caption(distance_in_words(np.mean([attention_by_distance(each) for each in patterns], axis=0)[layer, head]))
        numbers, file = {"role": list(own), "score": list(own.values())}, f"head-{layer + 1}-{head + 1}"
        thresholds = {role: scores.threshold(role) for role in own}
        figure = role_bars(own, thresholds, current_palette())
        chart(figure, key="role_bars", name=file, numbers=lambda: numbers)


def distance_in_words(by_distance: np.ndarray) -> str:
    """Return how far back a head attends, from its mean attention (T,) by distance; "" if it attends ahead."""
    near = 1 + int(np.searchsorted(np.cumsum(by_distance), 0.5))  # tokens back, counting the token itself
    if near > len(by_distance):
        return ""
    most = int(np.argmax(by_distance))
    share = f"{by_distance[most]:.0%}"
    if most == 0:
        words = _("The token itself gets the most attention: {share}.", share=share)
    elif most == 1:
        words = _("The previous token gets the most attention: {share}.", share=share)
    else:
        words = ngettext(
            "The token {count} token back gets the most attention: {share}.",
            "The token {count} tokens back gets the most attention: {share}.",
            most, share=share,
        )  # fmt: skip
    half = ngettext("Half of the attention goes to it.", "Half of the attention goes to the last {count} tokens.", near)
    return words if near == 1 else f"{words} {half}"


def _open_clicked() -> None:
    if points := st.session_state["roles_board"].selection.points:
        write_head(*points[0]["customdata"])


def roles_in_words(names: list[list[HeadName]]) -> str:
    """Return how many heads have a role, and which is the clearest."""
    all_heads = [(layer, head, name) for layer, row in enumerate(names) for head, name in enumerate(row)]
    in_role = [entry for entry in all_heads if entry[2].role]
    if not in_role:
        return _("No head has a clear role at this step. Train on, or choose a later step.")
    layer, head, name = max(in_role, key=lambda entry: entry[2].score)
    return _(
        "Heads with a clear role: {count} of {all}. Clearest: head {place}, {role} ({score}).",
        count=len(in_role), all=len(all_heads), place=_places([(layer, head)]), role=named(name.words),
        score=f"{name.score:.2f}",
    )  # fmt: skip


def _emergence_card(inspection: Inspection) -> None:
    if len(inspection.folder.snapshots()) < 3:
        return
    note = _(
        "When did each head specialize? A dot marks the first step from which its score stays high enough; "
        "the dotted line is the validation loss."
    )
    with card(_("Emergence of head roles"), note, key="card_emergence"):
        task = task_name(inspection)
        titles = roles_of(task)  # they differ between tasks, so each task has its own widget
        key = f"emergence_role_{task}" if task else "emergence_role"
        role = choose(_("Role"), list(titles), key=key, format_func=lambda role: named(titles[role]))
        score = partial(scores_over_time, inspection)
        result = result_of(emergence_key(inspection), score, _("Scoring all heads at every snapshot"))
        if result is None:
            return
        steps, scores = result
        over_time = np.stack([one.shares[role] for one in scores])  # (S, L, H)
        emerged = emergence_steps(steps, over_time, scores[-1].threshold(role))
        measured = validation_of(inspection.folder)
        losses = [row["step"] for row in measured], [row["val_loss"] for row in measured]
        strongest = np.array([[name.role == role for name in row] for row in name_heads(scores[-1])])  # (L, H)
        inherited = _inherited(inspection, steps[0])
        words = emergence_in_words(emerged, strongest, named(titles[role]), steps[-1], inherited)
        st.caption(sentence(words))
        heads = [f"head {_places([place])}" for place in np.ndindex(*emerged.shape)]
        chart(
            emergence_figure(steps, over_time, emerged, losses, role, current_palette()),
            key="emergence",
            numbers=lambda: {"step": steps} | dict(zip(heads, over_time.reshape(len(steps), -1).T, strict=True)),
            name=f"emergence-{role}",
        )


def emergence_in_words(
    emerged: np.ndarray, strongest: np.ndarray, role: str, last: int, inherited: int | None = None
) -> str:
    """Return which head had the role first (`emerged` (L, H), -1: never) and how many have it at the newest snapshot.

    `strongest` (L, H): whether the role is the head's strongest then. Roles at step `inherited` are the parent's.
    """
    heads = np.argwhere(emerged >= 0)
    if not len(heads):
        return _("At step {last}, the last one scored, no head has the role {role}.", role=role, last=f"{last:,}")
    before = np.argwhere(emerged == inherited) if inherited is not None else heads[:0]
    new = [place for place in heads.tolist() if emerged[tuple(place)] != inherited]
    words = []
    if len(before):
        words.append(_("Already {role} heads in its parent: {places}.", role=role, places=_places(before)))
    if new:
        first = min(new, key=lambda place: emerged[tuple(place)])
        numbers = {"role": role, "place": _places([first]), "step": f"{emerged[tuple(first)]:,}"}
        since = _("The first new one is {place}, from step {step} on.", **numbers)
        words.append(since if words else _("The first {role} head is {place}, from step {step} on.", **numbers))
    if len(heads) > 1:
        count = ngettext(
            "At step {last}, the last one scored, {count} head scores enough for the role {role}.",
            "At step {last}, the last one scored, {count} heads score enough for the role {role}.",
            len(heads), last=f"{last:,}", role=role,
        )  # fmt: skip
        words.append(count)
        if len(others := np.argwhere((emerged >= 0) & ~strongest)):
            words.append(_("These score higher in another role: {places}.", places=_places(others)))
    return " ".join(words)


def _places(heads: Iterable[Sequence[int]]) -> str:
    return ", ".join(head_name(layer, head) for layer, head in heads)


def emergence_key(inspection: Inspection) -> Hashable:
    """Return the key of the job that scores all snapshots."""
    return "emergence", inspection.folder.id, inspection.folder.snapshots()[-1][0]


def with_emergence(inspection: Inspection) -> Inspection:
    """Return the inspection with the steps at which head roles emerged, if known; otherwise start scoring them."""
    if not isinstance(inspection.model, GPT) or len(inspection.folder.snapshots()) < 3:
        return inspection
    if known(emergence_key(inspection)) is None and not inspection.large:
        job(emergence_key(inspection), lambda: scores_over_time(inspection))
    scored = _scored(inspection)
    if scored is None:
        return inspection
    steps, scores = scored
    inherited = _inherited(inspection, steps[0])
    emerged = [head for head in emerged_heads(steps, scores) if head.step != inherited]
    return replace(inspection, time_machine=replace(inspection.time_machine, emergence_steps=emerged))


def roles_over_time(inspection: Inspection) -> dict[str, list]:
    """Return the `steps` at which heads were scored and the `words` (S, L, H) for their roles; empty until scored."""
    steps, scores = _scored(inspection) or ([], [])
    words = [
        [[named(name.words) + (f" ({name.score:.2f})" if name.role else "") for name in layer] for layer in heads]
        for heads in map(name_heads, scores)
    ]
    return {"steps": steps, "words": words}


def _scored(inspection: Inspection) -> tuple[list[int], list[HeadScores]] | None:
    scoring = known(emergence_key(inspection)) if inspection.folder.snapshots() else None
    if scoring is None or not scoring.ended or scoring.problem or scoring.stopped:
        return None
    return scoring.result  # None if all snapshots were deleted meanwhile


def _inherited(inspection: Inspection, first: int) -> int | None:
    """Return the first step if the run started from another model's weights: roles at that step emerged there."""
    record = inspection.folder.record()
    return first if record.parent_step is not None or record.origin else None


def watch_emergence(inspection: Inspection) -> None:
    """Rerun the page once the scores are ready. Call this at the end of the page: earlier, it would shift the rest."""
    scoring = known(emergence_key(inspection)) if inspection.folder.snapshots() else None
    if scoring and not scoring.ended:
        _wait_for(scoring)


@st.fragment(run_every=_TICK)
def _wait_for(scoring: Job) -> None:
    if scoring.ended:
        st.rerun()


def emerged_heads(steps: list[int], scores: list[HeadScores]) -> list[HeadEmergence]:
    """Return the step at which each head's role at the last step emerged, in order of time."""
    emerged = []
    for layer, row in enumerate(name_heads(scores[-1])):
        for head, name in enumerate(row):
            if name.role:
                over_time = np.stack([one.shares[name.role] for one in scores])  # (S, L, H)
                step = int(emergence_steps(steps, over_time, scores[-1].threshold(name.role))[layer, head])
                emerged.append(HeadEmergence(step, layer, head, name.words))
    return sorted(head for head in emerged if head.step >= 0)


def _held_out(inspection: Inspection) -> torch.Tensor:
    """Return windows (N, W) of text, the same for one step and for all: a head has one score at a step."""
    return windows(inspection, count=FEWER_WINDOWS if inspection.large else WINDOWS)


def scores_now(inspection: Inspection) -> Iterator[Progress[HeadScores]]:
    """Score all heads at the step on view. Raises TextError where the run's text is gone."""
    model, tokens = inspection.model, inspection.tokenizer.tokens
    return score_heads(model, _held_out(inspection), tokens, corpus=task_name(inspection))


def scores_over_time(inspection: Inspection) -> Iterator[Progress[tuple[list[int], list[HeadScores]]]]:
    """Score all heads at the snapshots, oldest first. Raises TextError if the run's text is gone."""
    held_out = _held_out(inspection)
    snapshots = evenly(inspection.folder.snapshots(), MAX_SNAPSHOTS)
    steps, scores = [], []
    for done, (step, path) in enumerate(snapshots, start=1):
        try:
            scores.append(_scores_at(inspection, path, held_out))
        except (FileNotFoundError, ExplorerError):  # deleted meanwhile by the training run, which thins its snapshots
            continue
        steps.append(step)
        yield Progress(done, len(snapshots), (steps, scores))


@cached(
    LRUCache(_MAX_CACHED),
    key=lambda _, path, _held_out: (path, path.stat().st_mtime_ns),
    condition=threading.Condition(),
)
def _scores_at(inspection: Inspection, path: Path, held_out: torch.Tensor) -> HeadScores:
    loaded = load_model(inspection.folder, path)
    return finish(score_heads(loaded.model, held_out, loaded.tokenizer.tokens, corpus=task_name(inspection)))
