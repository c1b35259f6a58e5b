"""Play: Shannon's game, against counting and against your own models."""

import streamlit as st

from core.errors import ExplorerError
from explorer.play import game
from explorer.play.game_result import draw_result
from explorer.widgets.layout import page_header, show_error

page_header(game.title())
st.markdown(game.tell("idea"), width=820)
try:
    name, played = game.choose_game()
    if played.done:
        draw_result(name, played)
    else:
        game.draw_board()
except ExplorerError as error:
    show_error(error)
