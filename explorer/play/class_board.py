"""The class plays Shannon's game on one passage: the teacher's controls, and the players' and models' scores."""

import secrets
from typing import NamedTuple

import streamlit as st
from plotly import graph_objects as go

from core.classroom import Classroom
from core.lessons.shannon import Bounds, Game, bits_from_guesses
from core.palette import LIGHT, Palette
from core.paths import is_shared
from core.text.corpora import share_text
from explorer.charts.text_format import plain
from explorer.charts.theme import style
from explorer.i18n.language import _, ngettext
from explorer.play.game import LENGTHS, MAX_PASSAGES, Prediction, new_game, predictions_of, runs_that_play
from explorer.services import shared
from explorer.services.visitors import visitor
from explorer.widgets.forms import text_labels
from explorer.widgets.layout import card, chart, current_palette, errors_shown
from explorer.widgets.session import notifying

_LOOK_AGAIN = 3.0  # seconds
_TEXT, _LETTERS, _NAMED = "game_text", "game_letters", "game_named"
_ROW, _FRAME, _MAX_RUNS = 34, 110, 2  # px of a player and of the frame; runs that play along


class PlayerScore(NamedTuple):
    """One player of the class."""

    name: str
    guesses: int  # characters guessed so far
    first: int  # of these, at the first guess
    bits: Bounds


def draw_class_game(classroom: Classroom) -> None:
    """Draw the board of the class's game; for its teacher also the controls to start, end and anonymize it."""
    is_teacher, now = visitor().is_teacher, classroom.settings
    if not is_teacher and not now.game_text:
        return
    note = _("Everybody guesses the same passage on Play. Fewer bits per character is better.")
    with card(_("Shannon's game of the class"), note, key="class_game"), errors_shown():
        if is_teacher:
            _draw_form(classroom)
        st.fragment(_draw_board, run_every=_LOOK_AGAIN)(classroom)


def _draw_form(classroom: Classroom) -> None:
    now = classroom.settings
    texts = text_labels()
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        st.selectbox(_("Text"), list(texts), key=_TEXT, format_func=texts.get, width=260)
        st.segmented_control(_("Characters to guess"), LENGTHS, default=now.game_letters, key=_LETTERS, required=True)
        label = _("Start another game") if now.game_text else _("Start the game")
        st.button(label, key="game_start", on_click=_start, args=(classroom,))
        if now.game_text:
            end = notifying()(lambda: classroom.start_game("", 0, classroom.settings.game_letters))
            st.button(_("End the game"), key="game_end", type="tertiary", on_click=end)
            name = notifying()(lambda: classroom.change(game_named=st.session_state[_NAMED]))
            st.toggle(_("Names on the board"), now.game_named, key=_NAMED, on_change=name)


@notifying()
def _start(classroom: Classroom) -> None:
    text, letters = st.session_state[_TEXT], st.session_state[_LETTERS] or LENGTHS[1]
    passage = MAX_PASSAGES + 1 + secrets.randbelow(10**9)  # a number that nobody can open beforehand
    new_game(text, passage, letters)  # raises if the text is too short
    share_text(text, classroom.root)
    classroom.start_game(text, passage, letters)


def scores(classroom: Classroom, start: Game) -> list[PlayerScore]:
    """Return the players who have guessed a character, best first; numbered if the board has no names."""
    nicknames, players = {each.id: each.nickname for each in classroom.members()}, []
    named = classroom.settings.game_named
    for member, state in classroom.games().items():
        game = start.restore(state)
        if member in nicknames and game.guesses:
            first = sum(count == 1 for count in game.guesses)
            players.append(PlayerScore(nicknames[member], len(game.guesses), first, bits_from_guesses(game.counts())))
    players.sort(key=lambda score: (score.bits.middle, -score.guesses))
    if named:
        return players
    return [score._replace(name=_("Player {number}", number=place)) for place, score in enumerate(players, start=1)]


def _draw_board(classroom: Classroom) -> None:
    now = classroom.settings
    if not now.game_text:
        st.caption(_("No game is under way."))
        return
    start = new_game(now.game_text, now.game_passage, now.game_letters)
    players = scores(classroom, start)
    count = len(players)
    words = ngettext("{count} player has guessed a character.", "{count} players have guessed a character.", count)
    st.caption(words)
    models = _models(now.game_text, start) if players else []
    if players:
        figure = board_figure(players, models, current_palette())
        alt = _("Bits per character of each player and model.")
        chart(figure, key="class_game_chart", numbers=lambda: _numbers(players, models), name="shannon-class", alt=alt)


def _models(text: str, start: Game) -> list[Prediction]:
    """Return the finished predictions of the whole passage by counting and by the newest runs that all may see."""
    whole = start
    while not whole.done:
        whole = whole.give_up_letter()
    runs = [
        run
        for run in runs_that_play(text, whole)[0].values()
        if run.in_gallery or is_shared(shared.server_dir(), run.id)
    ]
    models: list[Prediction] = []
    for run in [None, *runs[:_MAX_RUNS]]:
        if predictions := predictions_of(text, whole, run, None):
            models += predictions[1:] if run else predictions
    return models


def board_figure(players: list[PlayerScore], models: list[Prediction], palette: Palette = LIGHT) -> go.Figure:
    """Draw each player's bits with Shannon's bounds, best on top, and each model's bits as a line across."""
    names = [f"{place}. {plain(player.name)} ({player.guesses})" for place, player in enumerate(players, start=1)]
    middle = [player.bits.middle for player in players]
    bounds = {
        "array": [player.bits.upper - player.bits.middle for player in players],
        "arrayminus": [player.bits.middle - player.bits.lower for player in players],
        "color": palette.muted,
    }
    hover = [f"{player.first} / {player.guesses}" for player in players]
    marker = {"color": palette.accent, "size": 12}
    figure = go.Figure(
        go.Scatter(x=middle, y=names, mode="markers", marker=marker, error_x=bounds, customdata=hover,
                   hovertemplate=f"%{{x:.2f}}<br>{_('on the first guess')}: %{{customdata}}<extra></extra>")
    )  # fmt: skip
    for place, model in enumerate(models):
        label = f"{plain(model.label)}: {model.bits:.2f}"
        figure.add_vline(model.bits, line={"color": palette.runs[place % len(palette.runs)], "dash": "dash"})
        figure.add_annotation(x=model.bits, y=1.0, yref="paper", yanchor="bottom", yshift=16 * place, text=label,
                              showarrow=False, font={"color": palette.runs[place % len(palette.runs)]})  # fmt: skip
    return style(figure, palette, height=_FRAME + _ROW * len(players) + 16 * len(models)).update_layout(
        margin={"t": 30 + 16 * len(models)},
        showlegend=False,
        xaxis={"title": {"text": _("Bits per character")}, "rangemode": "tozero"},
        yaxis={"autorange": "reversed", "type": "category", "automargin": True},
    )


def _numbers(players: list[PlayerScore], models: list[Prediction]) -> dict[str, list]:
    return {
        _("Player"): [player.name for player in players] + [model.label for model in models],
        _("Characters"): [player.guesses for player in players] + [len(model.play.bits) for model in models],
        _("Bits per character"): [player.bits.middle for player in players] + [model.bits for model in models],
    }
