"""The board of all heads: what it draws, and what it refuses."""

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from explorer.components.attention_patterns import attention_board


def board() -> None:
    import numpy as np
    import streamlit as st

    from explorer.components.attention_patterns import attention_board

    patterns = np.full((2, 3, 4, 4), 64, dtype=np.uint8)
    clicked = attention_board(patterns, list("abcd"), selected=(1, 2), key="board")
    st.text(f"clicked {clicked}")


def test_no_head_is_clicked_at_first():
    app = AppTest.from_function(board).run()
    assert not app.exception
    assert app.text[0].value == "clicked None"


@pytest.mark.parametrize(
    ("patterns", "tokens"),
    [(np.zeros((1, 1, 3, 3), np.float32), "abc"), (np.zeros((1, 1, 3, 3), np.uint8), "ab")],
    ids=["not bytes", "too few tokens"],
)
def test_wrong_dtype_or_token_count_is_refused_with_the_shape_of_the_patterns(patterns, tokens):
    with pytest.raises(ValueError, match=r"\(1, 1, 3, 3\)"):
        attention_board(patterns, list(tokens), selected=(0, 0), key="board")
