"""Play: Shannon's game, against counting and against your own models."""

import streamlit as st

from core.errors import ExplorerError
from explorer.play import game
from explorer.widgets.layout import page_header, show_error

page_header(game.title())
st.markdown(game.words("idea"), width=820)
try:
    name, shannon_game = game.choose_game()
    if shannon_game.done:
        game.draw_result(name, shannon_game)
    else:
        game.draw_board()
except ExplorerError as error:
    show_error(error)
