"""What a model reads, in words: letters, or for one that reads pieces of words, tokens.

All sentences of the app are written for letters, which is what most models here read. Between `speaking_of` and its end
they are told with the word that fits the model on view.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from core.lessons.lesson_text import ENGLISH
from core.text.tokenizers import Tokenizer
from explorer.i18n.language import N_, language

# What stands in quotes is a model's own token, and stays; an apostrophe inside of a word opens no quote.
_QUOTED_OR_LETTER = re.compile(r"(?<!\w)'[^']*'|“[^”]*”|\b([Ll])etter(s?)\b")
_by_letter: ContextVar[bool] = ContextVar("by_letter", default=True)


@contextmanager
def speaking_of(tokenizer: Tokenizer) -> Iterator[None]:
    """Let `worded` and all that uses it name what this tokenizer's models read."""
    before = _by_letter.set(tokenizer.by_character)
    try:
        yield
    finally:
        _by_letter.reset(before)


def unit() -> str:
    """Return "letters" or "tokens", in English."""
    return N_("letters") if _by_letter.get() else N_("tokens")


def worded(text: str) -> str:
    """Return a sentence about letters in the word that fits; a translated one stays as it is."""
    return text if _by_letter.get() or language() != ENGLISH else _QUOTED_OR_LETTER.sub(_in_tokens, text)


def _in_tokens(match: re.Match) -> str:
    if match[1] is None:
        return match[0]
    return f"{'T' if match[1] == 'L' else 't'}oken{match[2]}"
