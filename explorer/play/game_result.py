"""How a game ended: what the passage was, who knew it best, and how guesses become bits."""

from collections.abc import Iterator, Sequence
from functools import partial
from math import log2
from typing import Any, NamedTuple

import numpy as np
import streamlit as st
import torch

from core.errors import ExplorerError
from core.interpretability import Progress
from core.lessons.shannon import (
    Game,
    Play,
    bits_from_guesses,
    play_by_counting,
    play_by_model,
)
from core.runs.ancestry import may_have_trained_on
from core.runs.folder import RunFolder, list_runs
from core.runs.weights import steps_with_weights
from core.text.corpora import load_corpus
from explorer.charts.game import Player, player_columns, with_players
from explorer.charts.loss import loss_figure
from explorer.data.cards import facts_of
from explorer.learn.state import MOST_CHARACTERS
from explorer.play.game import forget, tell
from explorer.services import shared
from explorer.streaming.curves import curve_rows
from explorer.widgets import address, session
from explorer.widgets.job_progress import result_of
from explorer.widgets.layout import card, chart, current_palette, literal, show_error

_MOST_NAMED = 6  # of the runs that do not play


class Played(NamedTuple):
    """What one player other than the visitor said."""

    label: str  # two may have the same: a run is named as people like
    play: Play
    step: int | None = None  # of a model at an earlier moment


def draw_result(name: str, game: Game) -> None:
    """What it was, who knew it best, and how guesses become bits."""
    with card(tell("passage"), key="play_passage"):
        st.code(game.passage.whole, language=None, wrap_lines=True)
        st.button(tell("again"), icon=":material/replay:", key="play_again", on_click=forget)
    if not game.guesses:
        st.info(tell("nothing"))
        return
    with card(tell("result"), tell("result_note", guesses=len(game.guesses)), key="play_result"):
        folder, step = _choose_run(name, game)
        plays = _plays(name, game, folder, step)
        if plays is None:
            return
        _chart(game, plays, folder)
        st.markdown(_told(game, plays), width=820)
    with card(tell("how"), key="play_how"):
        st.markdown(tell("how_text", alphabet=len(game.alphabet), blind=f"{log2(len(game.alphabet)):.2f}"), width=820)
        st.markdown(_both_ways(game, plays))
        fewer = len(set(load_corpus(name, shared.data_dir())[:MOST_CHARACTERS]))
        if fewer < len(game.alphabet):
            told = {"alphabet": len(game.alphabet), "read": f"{MOST_CHARACTERS:,}", "fewer": fewer}
            st.caption(tell("how_alphabet", **told))
    st.caption(tell("read on"))


def _choose_run(name: str, game: Game) -> tuple[RunFolder | None, int | None]:
    """A run that could play fairly, and the earlier moment of it that plays too."""
    reading = [folder for folder in list_runs(shared.data_dir()) if _reads(folder, name)]
    runs = {
        folder.id: folder
        for folder in reading
        if not may_have_trained_on(folder, shared.data_dir(), name, game.passage)
    }
    if left_out := [folder for folder in reading if folder.id not in runs]:
        names = [folder.name for folder in left_out[:_MOST_NAMED]] + ["…"] * (len(left_out) > _MOST_NAMED)
        st.caption(tell("left_out", names=literal(", ".join(names))))
    if not runs:
        st.info(tell("no_run"))
        if st.button(tell("train"), key="play_train"):
            address.open_page("train")
        return None, None
    asked = address.run_on_view()
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        st.session_state["play_run"] = asked if asked in runs else next(iter(runs))
        chosen = st.selectbox(
            tell("run"), list(runs), key="play_run", format_func=lambda id: runs[id].name, width=300,
            on_change=lambda: address.view_run(st.session_state["play_run"]),
        )  # fmt: skip
        folder = runs[chosen]
        *earlier, last = steps_with_weights(folder) or [0]
        if not earlier:
            return folder, None
        default = min(earlier, key=lambda step: abs(step - last / 10))
        key = f"play-moment-{chosen}"
        session.fit_choice(key, earlier, default)
        return folder, st.select_slider(tell("moment"), earlier, key=key, format_func="{:,}".format, width=300)


def _reads(folder: RunFolder, name: str) -> bool:
    """Whether a run reads single characters of this text."""
    if folder.problem or not folder.has_weights:
        return False
    data = folder.record().config.data
    return data.corpus == name and data.tokenizer == "char"


def _plays(name: str, game: Game, folder: RunFolder | None, step: int | None) -> list[Played] | None:
    """What each player said, who only counts first; None while models are still at it."""
    facts = facts_of(name, shared.data_dir())
    start, length = game.passage.start, len(game.guesses)
    found = [Played(tell("bigram"), play_by_counting(facts.ids, start, length, facts.tokenizer.vocab_size))]
    for moment in ([step, None] if step is not None else [None]) if folder else []:
        try:
            opened = shared.open_model(folder.id, moment)
        except ExplorerError as error:
            show_error(error)
            continue
        ids = torch.from_numpy(facts.ids[: start + length].astype("int64"))
        key = ("shannon", folder.id, opened.step, opened.saved, name, start, length)
        play = result_of(key, partial(_playing, opened.model, ids, start, length), tell("asking"))
        if play is None:
            return None
        label = folder.name if moment is None else f"{folder.name} {tell('snapshot', step=f'{opened.step:,}')}"
        found.append(Played(label, play, moment))
    return found


def _playing(model: Any, ids: torch.Tensor, start: int, length: int) -> Iterator[Progress[Play | None]]:
    return play_by_model(model, ids, start, length)


def _chart(game: Game, plays: Sequence[Played], folder: RunFolder | None) -> None:
    palette = current_palette()
    rows = curve_rows(folder) if folder else []
    steps = max([row["step"] for row in rows], default=1)
    baselines = folder.read_baselines() if folder else None
    bounds = bits_from_guesses(game.counts())
    counted, *models = plays
    players = [Player(tell("you"), bounds.middle, steps, palette.accent, "star", *bounds)]
    players.append(Player(counted.label, _bits(counted), steps, palette.muted, "diamond"))
    for played in models:
        place, symbol = (steps, "circle") if played.step is None else (played.step, "circle-open-dot")
        players.append(Player(played.label, _bits(played), place, palette.validation, symbol))
    figure = with_players(loss_figure(rows, baselines, steps, palette, height=420), players, steps, palette)
    chart(figure, key="play_chart", numbers=lambda: player_columns(players), name="shannon")


def _bits(played: Played) -> float:
    return float(played.play.bits.mean())


def _told(game: Game, plays: Sequence[Played]) -> str:
    bounds = bits_from_guesses(game.counts())
    pairs, *models = map(_bits, plays)
    best = min([pairs, *models])
    better = "you_better" if best > bounds.upper else "model_better" if best < bounds.lower else "as_good"
    words = {"pairs": f"{pairs:.2f}", "better": tell(better)}
    model = tell("summary_model", bits=f"{models[-1]:.2f}", **words) if models else tell("summary_bigram", **words)
    blind = [game.guesses[place] for place in game.given_up]
    told_given_up = tell("summary_revealed", revealed=len(blind), blind=f"{np.mean(blind):.1f}") if blind else ""
    return tell(
        "summary",
        revealed=told_given_up,
        guesses=len(game.guesses),
        mean=f"{sum(game.guesses) / len(game.guesses):.1f}",
        first=sum(count == 1 for count in game.guesses),
        lower=f"{bounds.lower:.2f}",
        upper=f"{bounds.upper:.2f}",
        model=model,
    )


def _both_ways(game: Game, plays: Sequence[Played]) -> str:
    """A table of what probabilities say, and what Shannon's estimate makes of the guesses."""
    lines = [f"| {tell('how_row')} | {tell('how_bits')} | {tell('how_bounds')} |", "|---|---:|---:|"]
    bounds = bits_from_guesses(game.counts())
    lines.append(f"| {tell('you')} | | {bounds.lower:.2f} – {bounds.upper:.2f} |")
    for played in plays:
        bounds = bits_from_guesses(np.bincount(played.play.guesses))
        lines.append(f"| {literal(played.label)} | {_bits(played):.2f} | {bounds.lower:.2f} – {bounds.upper:.2f} |")
    return "\n".join(lines)
