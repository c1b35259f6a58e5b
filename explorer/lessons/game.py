"""Shannon's game on a page: the passage, the guesses, and who knew the text best."""

from collections.abc import Iterator
from functools import partial
from math import log2
from typing import Any

import numpy as np
import streamlit as st
import torch

from core.errors import ExplorerError
from core.inspection.progress import Progress
from core.lessons.prose import fill, links, load_prose
from core.lessons.shannon import (
    Game,
    Play,
    bits_from_guesses,
    choose_passage,
    play_by_counting,
    play_by_model,
)
from core.runs.folder import RunFolder, list_runs
from core.text.corpora import catalogue, load_corpus
from core.text.display import visible
from core.text.split import split_point
from explorer import service, state
from explorer.charts.game import Player, player_columns, with_players
from explorer.charts.loss import loss_figure
from explorer.components.guess_board import guess_board
from explorer.curves import curve_rows
from explorer.jobs import result_of
from explorer.language import language
from explorer.lessons.lab import MOST_CHARACTERS
from explorer.text_cards import facts_of
from explorer.ui import card, chart, current_palette, literal, show_error

LENGTHS = (15, 30, 60, 100)
MOST_PASSAGES = 9999
_GAME = "shannon-game"
_STRANGE = "shannon-strange"  # the game, and the key pressed last where the text does not have it


def tell(part: str, **numbers: Any) -> str:
    """A part of the words of this page, filled and linked."""
    text = fill(load_prose("play", "shannon", language()).parts[part], **numbers)
    return links(text, lambda term: state.lesson_query("glossary", term), language())


def title() -> str:
    return load_prose("play", "shannon", language()).title


def choose_game() -> tuple[str, Game]:
    """The controls that choose text, passage and length, all of them in the address; the text's name, and the game."""
    corpora = {corpus.name: corpus.title for corpus in catalogue(service.home())}
    asked = state.passage_asked()
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        st.session_state["play_text"] = asked.text if asked.text in corpora else next(iter(corpora))
        name = st.selectbox(tell("text"), list(corpora), key="play_text", format_func=corpora.get, width=260,
                            on_change=_choose)  # fmt: skip
        st.session_state["play_number"] = max(1, min(asked.number or 1, MOST_PASSAGES))
        number = st.number_input(tell("number"), 1, MOST_PASSAGES, key="play_number", help=tell("number_help"),
                                 width=150, on_change=_choose)  # fmt: skip
        st.session_state["play_letters"] = asked.letters if asked.letters in LENGTHS else LENGTHS[1]
        length = st.segmented_control(tell("letters"), LENGTHS, key="play_letters", required=True,
                                      on_change=_choose)  # fmt: skip
        st.button(tell("another"), icon=":material/shuffle:", key="play_another", on_click=_choose, args=(number % 97,))
    state.view_passage(name, number, length)
    text = load_corpus(name, service.home())
    kept = state.recall(_GAME)
    if not kept or kept[0] != (name, number, length):
        game = Game(choose_passage(text, number, length), frozenset(facts_of(name, service.home()).tokenizer.tokens))
        kept = ((name, number, length), game)
        state.remember(_GAME, kept)
    return name, kept[1]


def _choose(shift: int | None = None) -> None:
    """What was chosen goes into the address; `shift` moves on to another passage."""
    chosen = st.session_state
    number = chosen["play_number"] if shift is None else (chosen["play_number"] * 31 + shift + 7) % MOST_PASSAGES + 1
    state.view_passage(chosen["play_text"], number, chosen["play_letters"] or LENGTHS[1])


def keep(game: Game) -> None:
    """The game as it stands now."""
    state.remember(_STRANGE, None)
    state.remember(_GAME, (state.recall(_GAME)[0], game))


@st.fragment
def draw_board() -> None:
    """The passage as far as it is known, the bar, and the ways to give up; draws the page anew when all is guessed."""
    which, game = state.recall(_GAME)
    if game.done:
        st.rerun()
    length, done = len(game.passage.hidden), len(game.guesses)
    first = sum(count == 1 for count in game.guesses)
    with card(tell("board"), tell("note"), key="play_board"):
        st.progress(done / length, text=tell("progress", done=done, length=length, first=first))
        guess_board(
            game.passage.before,
            game.found,
            [0 if place in game.given_up else int(count) for place, count in enumerate(game.guesses)],
            length - done,
            game.wrong,
            note=_strange(which),
            words={"field": tell("field"), "tried": tell("tried")},
            key=f"play-{'-'.join(map(str, which))}",
            on_guess=_guess,
        )
        with st.container(horizontal=True, gap="small"):
            st.button(tell("tell"), key="play_tell", help=tell("tell_help"), on_click=_tell)
            st.button(tell("stop"), key="play_stop", help=tell("stop_help"), on_click=_stop, type="tertiary")


def _guess(letter: str) -> None:
    which, game = state.recall(_GAME)
    keep(game.guess(letter))
    if letter not in game.alphabet:
        state.remember(_STRANGE, (which, letter))


def _strange(which: tuple) -> str:
    """A sentence where the last key was none of the text's characters."""
    game, letter = state.recall(_STRANGE) or (None, "")
    return tell("strange", letter=visible(letter)) if game == which else ""


def _tell() -> None:
    keep(state.recall(_GAME)[1].give_up_letter())


def _stop() -> None:
    keep(state.recall(_GAME)[1].stop())


def draw_result(name: str, game: Game) -> None:
    """What it was, who knew it best, and how guesses become bits."""
    with card(tell("passage"), key="play_passage"):
        st.code(game.passage.before + game.passage.hidden, language=None, wrap_lines=True)
        st.button(
            tell("again"), icon=":material/replay:", key="play_again", on_click=state.remember, args=(_GAME, None)
        )
    if not game.guesses:
        st.info(tell("nothing"))
        return
    with card(tell("result"), tell("result_note"), key="play_result"):
        folder, step = _choose_run(name, game)
        plays = _plays(name, game, folder, step)
        if plays is None:
            return
        _chart(game, plays, folder, step)
        st.markdown(_told(game, plays), width=820)
    with card(tell("how"), key="play_how"):
        st.markdown(tell("how_text", alphabet=len(game.alphabet), blind=f"{log2(len(game.alphabet)):.2f}"), width=820)
        st.markdown(_both_ways(game, plays))
        fewer = len(set(load_corpus(name, service.home())[:MOST_CHARACTERS]))
        if fewer < len(game.alphabet):
            told = {"alphabet": len(game.alphabet), "read": f"{MOST_CHARACTERS:,}", "fewer": fewer}
            st.caption(tell("how_alphabet", **told))
    st.caption(tell("read on"))


def _choose_run(name: str, game: Game) -> tuple[RunFolder | None, int | None]:
    """A run that could play fairly, and the earlier moment of it that plays too."""
    runs = {folder.id: folder for folder in list_runs(service.home()) if _can_play(folder, name, game)}
    if not runs:
        st.info(tell("no_run"))
        if st.button(tell("train"), key="play_train"):
            state.open_page("train")
        return None, None
    asked = state.run_on_view()
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        st.session_state["play_run"] = asked if asked in runs else next(iter(runs))
        chosen = st.selectbox(
            tell("run"), list(runs), key="play_run", format_func=lambda id: runs[id].name, width=300,
            on_change=lambda: state.view_run(st.session_state["play_run"]),
        )  # fmt: skip
        folder = runs[chosen]
        *earlier, last = folder.moments() or [0]
        if not earlier:
            return folder, None
        default = min(earlier, key=lambda step: abs(step - last / 10))
        key = f"play-moment-{chosen}"
        if st.session_state.get(key) not in earlier:
            st.session_state[key] = default
        return folder, st.select_slider(tell("moment"), earlier, key=key, format_func="{:,}".format, width=300)


def _can_play(folder: RunFolder, name: str, game: Game) -> bool:
    """Whether a run reads single characters of this text, and did not learn from the passage."""
    if folder.problem or not folder.has_weights:
        return False
    data = folder.record().config.data
    length = len(load_corpus(name, service.home())) if data.corpus == name else 0
    return (
        data.corpus == name
        and data.tokenizer == "char"
        and game.passage.start >= split_point(length, data.val_fraction)
    )


def _plays(name: str, game: Game, folder: RunFolder | None, step: int | None) -> dict[str, Play] | None:
    """What each player said, by name; None while models are still at it."""
    facts = facts_of(name, service.home())
    start, length = game.passage.start, len(game.guesses)
    found = {tell("bigram"): play_by_counting(facts.ids, start, length, facts.tokenizer.vocab_size)}
    for moment in ([step, None] if step is not None else [None]) if folder else []:
        try:
            opened = service.open_model(folder.id, moment)
        except ExplorerError as error:
            show_error(error)
            continue
        ids = torch.from_numpy(facts.ids[: start + length].astype("int64"))
        key = ("shannon", folder.id, opened.step, opened.saved, name, start, length)
        play = result_of(key, partial(_playing, opened.model, ids, start, length), tell("asking"))
        if play is None:
            return None
        label = folder.name if moment is None else f"{folder.name} {tell('snapshot', step=f'{opened.step:,}')}"
        found[label] = play
    return found


def _playing(model: Any, ids: torch.Tensor, start: int, length: int) -> Iterator[Progress[Play | None]]:
    return play_by_model(model, ids, start, length)


def _chart(game: Game, plays: dict[str, Play], folder: RunFolder | None, step: int | None) -> None:
    palette = current_palette()
    rows = curve_rows(folder) if folder else []
    steps = max([row["step"] for row in rows], default=1)
    baselines = folder.read_baselines() if folder else None
    bounds = bits_from_guesses(game.counts())
    models = list(plays)[1:]
    looks = {models[-1]: (palette.validation, "circle")} if models else {}
    looks |= {models[0]: (palette.validation, "circle-open-dot")} if len(models) == 2 else {}
    players = [Player(tell("you"), bounds.middle, steps, palette.accent, "star", *bounds)]
    for label, play in plays.items():
        color, symbol = looks.get(label, (palette.muted, "diamond"))
        place = step if len(models) == 2 and label == models[0] else steps
        players.append(Player(label, float(play.bits.mean()), place, color, symbol))
    figure = with_players(loss_figure(rows, baselines, steps, palette, height=420), players, steps, palette)
    chart(figure, key="play_chart", numbers=lambda: player_columns(players), name="shannon")


def _told(game: Game, plays: dict[str, Play]) -> str:
    bounds = bits_from_guesses(game.counts())
    bits = {label: float(play.bits.mean()) for label, play in plays.items()}
    best = min(bits.values())
    better = "you_better" if best > bounds.upper else "model_better" if best < bounds.lower else "as_good"
    pairs, *models = bits.values()
    words = {"pairs": f"{pairs:.2f}", "better": tell(better)}
    model = tell("told_model", bits=f"{models[-1]:.2f}", **words) if models else tell("told_pairs", **words)
    return tell(
        "told",
        guesses=len(game.guesses),
        mean=f"{sum(game.guesses) / len(game.guesses):.1f}",
        first=sum(count == 1 for count in game.guesses),
        lower=f"{bounds.lower:.2f}",
        upper=f"{bounds.upper:.2f}",
        model=model,
    )


def _both_ways(game: Game, plays: dict[str, Play]) -> str:
    """A table of what probabilities say, and what Shannon's estimate makes of the guesses."""
    lines = [f"| {tell('how_row')} | {tell('how_bits')} | {tell('how_bounds')} |", "|---|---:|---:|"]
    bounds = bits_from_guesses(game.counts())
    lines.append(f"| {tell('you')} | | {bounds.lower:.2f} – {bounds.upper:.2f} |")
    for label, play in plays.items():
        bounds = bits_from_guesses(np.bincount(play.guesses))
        lines.append(f"| {literal(label)} | {play.bits.mean():.2f} | {bounds.lower:.2f} – {bounds.upper:.2f} |")
    return "\n".join(lines)
