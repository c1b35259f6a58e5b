"""Shannon's game on a page: the passage and the guesses."""

from typing import Any

import streamlit as st

from core.lessons.lesson_text import fill, links, load_prose
from core.lessons.shannon import (
    Game,
    choose_passage,
)
from core.text.corpora import catalogue, load_corpus
from core.text.token_display import visible
from explorer.components.guess_board import guess_board
from explorer.data.cards import facts_of
from explorer.i18n.language import _, language
from explorer.services import shared
from explorer.widgets import address, session
from explorer.widgets.layout import card
from explorer.widgets.links import absent_text, end_absent, say_misread_number

LENGTHS = (15, 30, 60, 100)
MOST_PASSAGES = 9999
_GAME = "shannon-game"
_STRANGE = "shannon-strange"  # the game, and the key pressed last where the text does not have it


def tell(part: str, **numbers: Any) -> str:
    """A part of the words of this page, filled and linked."""
    text = fill(load_prose("play", "shannon", language()).parts[part], **numbers)
    return links(text, lambda term: address.lesson_query("glossary", term), language())


def title() -> str:
    return load_prose("play", "shannon", language()).title


def choose_game() -> tuple[str, Game]:
    """The controls that choose text, passage and length; the text's name, and the game.

    What is chosen goes into the address, and a bare address is the first passage of the first text.
    """
    corpora = {corpus.name: corpus.title for corpus in catalogue(shared.data_dir())}
    asked = address.passage_asked()
    if asked.text and asked.text not in corpora:
        end_absent(absent_text(asked.text), _("Play with another text"), address.leave_passage)
    say_misread_number(address.PASSAGE, range(1, MOST_PASSAGES + 1), _("A passage is a number from 1 to 9,999."))
    say_misread_number(address.LETTERS, LENGTHS, _("A passage has 15, 30, 60 or 100 letters."))
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
    text = load_corpus(name, shared.data_dir())
    kept = session.recall(_GAME)
    if not kept or kept[0] != (name, number, length):
        game = Game(choose_passage(text, number, length), frozenset(facts_of(name, shared.data_dir()).tokenizer.tokens))
        kept = ((name, number, length), game)
        session.remember(_GAME, kept)
    return name, kept[1]


def _choose(shift: int | None = None) -> None:
    """What was chosen goes into the address; `shift` moves on to another passage."""
    chosen = st.session_state
    number = chosen["play_number"] if shift is None else (chosen["play_number"] * 31 + shift + 7) % MOST_PASSAGES + 1
    address.view_passage(chosen["play_text"], number, chosen["play_letters"] or LENGTHS[1])


def forget() -> None:
    """The same passage can be played again, from its first letter."""
    session.remember(_GAME, None)


def keep(game: Game) -> None:
    """The game as it stands now."""
    session.remember(_STRANGE, None)
    session.remember(_GAME, (session.recall(_GAME)[0], game))


@st.fragment
def draw_board() -> None:
    """The passage as far as it is known, the bar, and the ways to give up; draws the page anew when all is guessed."""
    which, game = session.recall(_GAME)
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
            st.button(tell("reveal"), key="play_tell", help=tell("reveal_help"), on_click=_tell)
            st.button(tell("stop"), key="play_stop", help=tell("stop_help"), on_click=_stop, type="tertiary")


def _guess(letter: str) -> None:
    which, game = session.recall(_GAME)
    keep(game.guess(letter))
    if letter not in game.alphabet:
        session.remember(_STRANGE, (which, letter))


def _strange(which: tuple) -> str:
    """A sentence where the last key was none of the text's characters."""
    game, letter = session.recall(_STRANGE) or (None, "")
    return tell("strange", letter=visible(letter)) if game == which else ""


def _tell() -> None:
    keep(session.recall(_GAME)[1].give_up_letter())


def _stop() -> None:
    keep(session.recall(_GAME)[1].stop())
