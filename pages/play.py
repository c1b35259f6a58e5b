"""Play: Shannon's game, against counting and against your own models."""

import streamlit as st

from explorer.play import game
from explorer.widgets.layout import errors_shown, page_header

page_header(game.title())
st.markdown(game.words("idea"), width=820)
with errors_shown():
    name, shannon_game = game.class_game() or game.choose_game()
    if shannon_game.done:
        game.draw_result(name, shannon_game)
    else:
        game.draw_game()
