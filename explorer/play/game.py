"""Shannon's game: the passage, the guesses, and the result next to the models'."""

from collections.abc import Callable, Sequence
from functools import partial
from math import log2
from threading import Condition
from typing import Any, NamedTuple
from urllib.parse import urlencode

import numpy as np
import streamlit as st
import torch
from cachetools import LRUCache, cached

from core.classroom import Classroom
from core.errors import ExplorerError
from core.lessons.lesson_text import fill, links, load_prose
from core.lessons.shannon import Game, Play, bits_from_guesses, choose_passage, play_by_counting, play_by_model
from core.runs.ancestry import may_have_trained_on
from core.runs.folder import RunFolder
from core.runs.weights import steps_with_weights
from core.text.corpora import load_corpus
from core.text.token_display import visible
from core.text.tokenizers import TOKENIZERS
from explorer.charts.loss import Player, loss_figure, player_columns, with_players
from explorer.components.lesson_views import guess_board
from explorer.data.corpus_cards import Facts, facts_of
from explorer.i18n.language import _, language
from explorer.learn.state import MAX_CHARACTERS
from explorer.services import shared
from explorer.services.visitors import check_may_change, served_class, visitor
from explorer.streaming.jsonl_tail import curve_rows
from explorer.widgets import address, lesson_links, session
from explorer.widgets.class_link import link_popover
from explorer.widgets.forms import distinct_labels, text_labels
from explorer.widgets.invalid_links import absent_text, end_absent, report_misread_number
from explorer.widgets.job_progress import result_of
from explorer.widgets.layout import card, chart, current_palette, literal, show_error
from explorer.widgets.run_picker import runs_to_pick

LENGTHS = (15, 30, 60, 100)
_MAX_NAMED = 6  # names shown of the runs that do not play
MAX_PASSAGES = 9999
_GAME, _OF_CLASS = "shannon-game", "class"
_LEFT = "shannon-left"  # the passage of the class's game that this student has left
_UNKNOWN_KEY = "shannon-strange"  # the game, and the last key typed if the text does not have it


def words(part: str, **numbers: Any) -> str:
    """Return a part of this page's text, filled and linked."""
    text = fill(load_prose("play", "shannon", language()).parts[part], **numbers)
    return links(text, lambda term: lesson_links.lesson_query("glossary", term), language())


def title() -> str:
    return load_prose("play", "shannon", language()).title


def choose_game() -> tuple[str, Game]:
    """Draw the controls for text, passage and length, and keep them in the address; return the text and the game."""
    corpora = text_labels()
    text = address.parameter(address.TEXT)
    number, letters = map(address.number_parameter, (address.PASSAGE, address.LETTERS))
    if text and text not in corpora:
        leave = partial(address.write, dict.fromkeys((address.TEXT, address.PASSAGE, address.LETTERS)))
        end_absent(absent_text(text), _("Play with another text"), leave)
    report_misread_number(address.PASSAGE, range(1, MAX_PASSAGES + 1), _("A passage is a number from 1 to 9,999."))
    report_misread_number(address.LETTERS, LENGTHS, _("A passage has 15, 30, 60 or 100 letters."))
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="play_choices"):
        st.session_state["play_text"] = text if text in corpora else next(iter(corpora))
        name = st.selectbox(words("text"), list(corpora), key="play_text", format_func=corpora.get, width=220,
                            on_change=_choose)  # fmt: skip
        st.session_state["play_number"] = max(1, min(number or 1, MAX_PASSAGES))
        number = st.number_input(words("number"), 1, MAX_PASSAGES, key="play_number", help=words("number_help"),
                                 width=150, on_change=_choose)  # fmt: skip
        st.session_state["play_letters"] = letters if letters in LENGTHS else LENGTHS[1]
        length = st.segmented_control(words("letters"), LENGTHS, key="play_letters", required=True,
                                      on_change=_choose)  # fmt: skip
        another = partial(_choose, number % 97)
        st.button(words("another"), icon=":material/shuffle:", key="play_another", on_click=another)
        query = {address.TEXT: name, address.PASSAGE: number, address.LETTERS: length}
        say = partial(st.caption, _("This link opens the game with this passage."))
        link_popover(_("Link for a class"), "play_link", lambda: f"play?{urlencode(query)}", say)
    chosen = (name, number, length)
    key, game = session.recall(_GAME) or (None, None)
    if key != chosen:
        game = new_game(name, number, length)
        session.remember(_GAME, (chosen, game))
    return name, game


def new_game(text: str, passage: int, letters: int) -> Game:
    """Return a new game. Raises ExplorerError for a text that is missing or too short."""
    data_dir = shared.data_dir()
    hidden = choose_passage(load_corpus(text, data_dir), passage, letters)
    return Game(hidden, frozenset(facts_of(text, data_dir).characters.tokens))


def class_game() -> tuple[str, Game] | None:
    """Draw the header of the class's game; return its text and the student's own game, None without one."""
    if (classroom := served_class()) is None or visitor().is_teacher or not (now := classroom.settings).game_text:
        return None
    if session.recall(_LEFT) == now.game_passage:
        back = partial(session.remember, _LEFT, None)
        st.button(_("Back to the game of the class"), icon=":material/groups:", key="play_class", on_click=back)
        return None
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(_("**The game of the class.** Everybody guesses the same passage. The page Class has the scores."))
        leave = partial(session.remember, _LEFT, now.game_passage)
        st.button(_("Play on your own"), key="play_alone", type="tertiary", on_click=leave)
    key = (_OF_CLASS, now.game_text, now.game_passage, now.game_letters)
    start = new_game(*key[1:])
    game = start.restore(classroom.games().get(visitor().member, ""))
    session.remember(_GAME, (key, game))
    return now.game_text, game


def class_move(classroom: Classroom, start: Game, passage: int, move: Callable[[Game], Game]) -> Game:
    """Make the visitor's move in the class's game, starting from the state on the server, not the browser's copy."""
    state = classroom.move(visitor().member, passage, lambda state: move(start.restore(state)).to_json())
    return start.restore(state)


def _choose(shift: int | None = None) -> None:
    chosen = st.session_state
    number = chosen["play_number"] if shift is None else (chosen["play_number"] * 31 + shift + 7) % MAX_PASSAGES + 1
    letters = chosen["play_letters"] or LENGTHS[1]
    address.write({address.TEXT: chosen["play_text"], address.PASSAGE: number, address.LETTERS: letters})


@session.notifying()
def _make_move(move: Callable[[Game], Game]) -> None:
    key, game = session.recall(_GAME)
    session.remember(_UNKNOWN_KEY, None)
    classroom = served_class()
    if key[0] == _OF_CLASS and classroom:
        check_may_change()
        moved = class_move(classroom, new_game(*key[1:]), key[2], move)
    else:
        moved = move(game)
    session.remember(_GAME, (key, moved))


@st.fragment
def draw_game() -> None:
    """Draw the known passage, the progress and the buttons; rerun the page after the last guess."""
    game_key, game = session.recall(_GAME)
    if game.done:
        st.rerun()
    length, done = len(game.passage.hidden), len(game.guesses)
    first = sum(count == 1 for count in game.guesses)
    with card(words("board"), words("note"), key="play_board"):
        st.progress(done / length, text=words("progress", done=done, length=length, first=first))
        guesses = [0 if place in game.revealed else int(count) for place, count in enumerate(game.guesses)]
        unknown_in, letter = session.recall(_UNKNOWN_KEY) or (None, "")
        note = words("strange", letter=visible(letter)) if unknown_in == game_key else ""
        said = {"note": note, "words": {"field": words("field"), "tried": words("tried")}}
        key = f"play-{'-'.join(map(str, game_key))}"
        guess_board(
            game.passage.before, game.known, guesses, length - done, game.wrong, key=key, on_guess=_guess, **said
        )
        with st.container(horizontal=True, gap="small"):
            reveal, stop = partial(_make_move, Game.give_up_letter), partial(_make_move, Game.stop)
            st.button(words("reveal"), key="play_tell", help=words("reveal_help"), on_click=reveal)
            st.button(words("stop"), key="play_stop", help=words("stop_help"), on_click=stop, type="tertiary")


def _guess(letter: str) -> None:
    game_key, game = session.recall(_GAME)
    _make_move(lambda game: game.guess(letter))
    if letter not in game.alphabet:
        session.remember(_UNKNOWN_KEY, (game_key, letter))


class Prediction(NamedTuple):
    """The predictions of one player other than the visitor."""

    label: str  # not unique: a run may have any name
    play: Play
    step: int | None = None  # of a model at an earlier step

    @property
    def bits(self) -> float:
        return float(self.play.bits.mean())


def draw_result(name: str, game: Game) -> None:
    """Draw the passage, the scores of all players, and how guesses become bits."""
    with card(words("passage"), key="play_passage"):
        st.code(game.passage.whole, language=None, wrap_lines=True)
        if session.recall(_GAME)[0][0] != _OF_CLASS:  # in which everybody plays once
            begin = partial(session.remember, _GAME, None)
            st.button(words("again"), icon=":material/replay:", key="play_again", on_click=begin)
    if not game.guesses:
        st.info(words("nothing"))
        return
    with card(words("result"), words("result_note", guesses=len(game.guesses)), key="play_result"):
        folder, step = _choose_run(name, game)
        predictions = predictions_of(name, game, folder, step)
        if predictions is None:
            return
        _chart(game, predictions, folder)
        st.markdown(_summary(game, predictions), width=820)
    with card(words("how"), key="play_how"):
        st.markdown(words("how_text", alphabet=len(game.alphabet), blind=f"{log2(len(game.alphabet)):.2f}"), width=820)
        st.markdown(_bits_table(game, predictions))
        fewer = len(set(load_corpus(name, shared.data_dir())[:MAX_CHARACTERS]))
        if fewer < len(game.alphabet):
            numbers = {"alphabet": len(game.alphabet), "read": f"{MAX_CHARACTERS:,}", "fewer": fewer}
            st.caption(words("how_alphabet", **numbers))
    st.caption(words("read on"))


def runs_that_play(name: str, game: Game) -> tuple[dict[str, RunFolder], list[RunFolder]]:
    """Return the runs on a text by id, and those left out because they may have trained on the passage."""
    data_dir = shared.data_dir()
    reading = [run for run in runs_to_pick(address.parameter(address.RUN)).values() if _is_on_text(run, name)]
    runs = {run.id: run for run in reading if not may_have_trained_on(run, data_dir, name, game.passage)}
    return runs, [folder for folder in reading if folder.id not in runs]


def _choose_run(name: str, game: Game) -> tuple[RunFolder | None, int | None]:
    runs, left_out = runs_that_play(name, game)
    if left_out:
        names = [folder.name for folder in left_out[:_MAX_NAMED]] + ["…"] * (len(left_out) > _MAX_NAMED)
        st.caption(words("left_out", names=literal(", ".join(names))))
    if not runs:
        st.info(words("no_run"))
        if st.button(words("train"), key="play_train"):
            address.open_page("train")
        return None, None
    linked = address.parameter(address.RUN)
    labels = distinct_labels({id: folder.name for id, folder in runs.items()})
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        st.session_state["play_run"] = linked if linked in runs else next(iter(runs))
        chosen = st.selectbox(
            words("run"), list(runs), key="play_run", format_func=labels.get, width=300,
            on_change=lambda: address.view_run(st.session_state["play_run"]),
        )  # fmt: skip
        folder = runs[chosen]
        *earlier, last = steps_with_weights(folder) or [0]
        if not earlier:
            return folder, None
        default = min(earlier, key=lambda step: abs(step - last / 10))
        key = f"play-moment-{chosen}"
        session.fit_choice(key, earlier, default)
        return folder, st.select_slider(words("moment"), earlier, key=key, format_func="{:,}".format, width=300)


def _is_on_text(folder: RunFolder, name: str) -> bool:
    if folder.problem:
        return False
    data = folder.record().config.data
    return data.corpus == name and TOKENIZERS[data.tokenizer].by_character


@cached(LRUCache(256), key=lambda name, _facts, start, length: (name, start, length), condition=Condition())
def _counted(_name: str, facts: Facts, start: int, length: int) -> Play:
    """Play with the counted pairs of a text; cached, because the class's board asks every three seconds."""
    return play_by_counting(facts.ids, start, length, facts.characters.vocab_size)


def predictions_of(name: str, game: Game, folder: RunFolder | None, step: int | None) -> list[Prediction] | None:
    """Return the predictions of counting and of a run's model at a step and at the end; None while computing."""
    facts = facts_of(name, shared.data_dir())
    start, length = game.passage.start, len(game.guesses)
    predictions = [Prediction(words("bigram"), _counted(name, facts, start, length))]
    for step_or_end in ([step, None] if step is not None else [None]) if folder else []:
        try:
            opened = shared.open_model(folder.id, step_or_end)
        except ExplorerError as error:
            show_error(error)
            continue
        ids = torch.from_numpy(facts.ids[: start + length].astype("int64"))
        key = ("shannon", folder.id, opened.step, opened.saved, name, start, length)
        play = result_of(key, partial(play_by_model, opened.model, ids, start, length), words("asking"))
        if play is None:
            return None
        label = folder.name if step_or_end is None else f"{folder.name} {words('snapshot', step=f'{opened.step:,}')}"
        predictions.append(Prediction(label, play, step_or_end))
    return predictions


def _chart(game: Game, predictions: Sequence[Prediction], folder: RunFolder | None) -> None:
    palette = current_palette()
    rows = curve_rows(folder) if folder else []
    steps = max([row["step"] for row in rows], default=1)
    baselines = folder.read_baselines() if folder else None
    bounds = bits_from_guesses(game.counts())
    bigram, *models = predictions
    players = [Player(words("you"), bounds.middle, steps, palette.accent, "star", *bounds)]
    players.append(Player(bigram.label, bigram.bits, steps, palette.muted, "diamond"))
    for prediction in models:
        place, symbol = (steps, "circle") if prediction.step is None else (prediction.step, "circle-open-dot")
        players.append(Player(prediction.label, prediction.bits, place, palette.validation, symbol))
    figure = with_players(loss_figure(rows, baselines, steps, palette, height=420), players, steps, palette)
    chart(figure, key="play_chart", numbers=lambda: player_columns(players), name="shannon")


def _summary(game: Game, predictions: Sequence[Prediction]) -> str:
    bounds = bits_from_guesses(game.counts())
    bigram_bits, *model_bits = [prediction.bits for prediction in predictions]
    lowest = min([bigram_bits, *model_bits])
    better = "you_better" if lowest > bounds.upper else "model_better" if lowest < bounds.lower else "as_good"
    bits = f"{[bigram_bits, *model_bits][-1]:.2f}"
    part = "summary_model" if model_bits else "summary_bigram"
    model = words(part, pairs=f"{bigram_bits:.2f}", better=words(better), bits=bits)
    revealed, guesses = "", [game.guesses[place] for place in game.revealed]
    if guesses:
        revealed = words("summary_revealed", revealed=len(guesses), blind=f"{np.mean(guesses):.1f}")
    counts = {"guesses": len(game.guesses), "first": game.guesses.count(1), "mean": f"{np.mean(game.guesses):.1f}"}
    span = {"lower": f"{bounds.lower:.2f}", "upper": f"{bounds.upper:.2f}"}
    return words("summary", revealed=revealed, model=model, **counts, **span)


def _bits_table(game: Game, predictions: Sequence[Prediction]) -> str:
    lines = [f"| {words('how_row')} | {words('how_bits')} | {words('how_bounds')} |", "|---|---:|---:|"]
    rows = [(words("you"), "", game.counts())]
    rows += [(literal(each.label), f"{each.bits:.2f}", np.bincount(each.play.guesses)) for each in predictions]
    for name, bits, counts in rows:
        bounds = bits_from_guesses(counts)
        lines.append(f"| {name} | {bits} | {bounds.lower:.2f} – {bounds.upper:.2f} |")
    return "\n".join(lines)
