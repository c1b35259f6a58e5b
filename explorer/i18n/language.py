"""The language in which the pages are shown, and the functions that every sentence of ours goes through.

A language has its lessons in `core/lessons/text/<language>` and its sentences in
`explorer/i18n/locale/<language>/LC_MESSAGES/messages.po`. English needs neither: its sentences stand in the code.

All sentences are written for models that read letters, which most here do. Between `units_of` and its end `in_units`
tells them with the word that fits the model on view: tokens, for one that reads parts of words.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from gettext import NullTranslations, translation
from pathlib import Path

from core.lessons.lesson_text import ENGLISH, fill, languages, placeholders
from core.text.tokenizers import Tokenizer

DOMAIN, LOCALE = "messages", Path(__file__).with_name("locale")
EVERY_COUNT = 200  # in all of gettext's plural rules a larger count has the form of 100 + count % 100

_language: ContextVar[str | None] = ContextVar("language", default=None)
_of_session: Callable[[], str] = lambda: ENGLISH  # noqa: E731 - replaced by `use_session_language`


def _(english: str, /, **values: object) -> str:
    """Return a sentence, one literal that `make words` collects, in the current language, with each `{name}` filled."""
    return fill(translated(english, language()), **values)


def ngettext(one: str, several: str, count: int, /, **values: object) -> str:
    """Return the one of two literals that fits a count, in the current language, filled; `{count}` is the count."""
    form = _catalog(language()).ngettext(one, several, count)
    return fill(form if placeholders(form) <= placeholders(several) else several, **{"count": f"{count:,}"} | values)


def N_(english: str) -> str:
    """Mark a sentence of a table for the collection; whoever shows it passes it to `_`."""
    return english


def translated(english: str, language: str) -> str:
    """Return a sentence in a language, its placeholders unfilled; in English where the translation has other ones."""
    own = _catalog(language).gettext(english)
    return own if placeholders(own) <= placeholders(english) else english


def plural_forms(one: str, several: str, language: str) -> list[str]:
    """Return all forms of a sentence with a count, of which `plural_rule` says the index."""
    catalog = _catalog(language)
    forms = {index: catalog.ngettext(one, several, count) for count, index in enumerate(plural_rule(language))}
    return [forms.get(index, several) for index in range(max(forms) + 1)]


def plural_rule(language: str) -> list[int]:
    """Return for every count up to EVERY_COUNT which plural form a language takes, for the browser."""
    plural = getattr(_catalog(language), "plural", lambda count: int(count != 1))
    return [int(plural(count)) for count in range(EVERY_COUNT)]


def language() -> str:
    """Return the current language: that of `in_language` if there is one, else the visitor's."""
    return _language.get() or _of_session()


@contextmanager
def in_language(wanted: str) -> Iterator[None]:
    """Make a language the current one, for threads without a visitor's session; an unknown one is English."""
    before = _language.set(wanted if wanted in languages() else ENGLISH)
    try:
        yield
    finally:
        _language.reset(before)


def use_session_language(of_session: Callable[[], str]) -> None:
    """Set the function that returns the language of the visitor whose page is being drawn."""
    global _of_session
    _of_session = of_session


@cache
def _catalog(language: str) -> NullTranslations:
    return translation(DOMAIN, LOCALE, [language], fallback=True)


# What stands in quotes is a model's own token, and stays; an apostrophe inside of a word opens no quote.
_QUOTED_OR_LETTER = re.compile(r"(?<!\w)'[^']*'|“[^”]*”|\b([Ll])etter(s?)\b")
_by_letter: ContextVar[bool] = ContextVar("by_letter", default=True)


@contextmanager
def units_of(tokenizer: Tokenizer | type[Tokenizer]) -> Iterator[None]:
    """Let `in_units` and all that uses it name what models with this tokenizer read."""
    before = _by_letter.set(tokenizer.by_character)
    try:
        yield
    finally:
        _by_letter.reset(before)


def unit() -> str:
    """Return "letters" or "tokens", in English."""
    return N_("letters") if _by_letter.get() else N_("tokens")


def in_units(text: str) -> str:
    """Return a sentence about letters in the word that fits; a translated one stays as it is."""
    return text if _by_letter.get() or language() != ENGLISH else _QUOTED_OR_LETTER.sub(_in_tokens, text)


def _in_tokens(match: re.Match) -> str:
    if match[1] is None:
        return match[0]
    return f"{'T' if match[1] == 'L' else 't'}oken{match[2]}"
