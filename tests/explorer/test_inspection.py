"""Tokens that look the same have distinct names in a select box."""

from core.text.tokenizers import CharTokenizer
from explorer.look_inside.inspection import names_of


def test_tokens_that_look_alike_carry_their_ids():
    tokenizer = CharTokenizer.from_text("a ·")
    assert names_of(tokenizer, range(3)) == {0: "'·' · 0", 1: "'a'", 2: "'·' · 2"}
    assert names_of(tokenizer, [0, 1]) == {0: "'·'", 1: "'a'"}
