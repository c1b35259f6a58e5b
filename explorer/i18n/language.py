"""The language of the pages, and the functions that every sentence passes through.

A language has its lessons in `core/lessons/text/<language>` and its sentences in
`explorer/i18n/locale/<language>/LC_MESSAGES/messages.po`. English needs neither: its sentences are in the code.

All sentences are written for models that read letters, as most here do. Within `units_of`, `in_units` replaces the
word by the one that fits the current model: tokens, if it reads subwords.
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
    """Translate a sentence, one literal that `make words` collects, to the current language, and fill each `{name}`."""
    return fill(translated(english, language()), **values)


def ngettext(one: str, several: str, count: int, /, **values: object) -> str:
    """Translate the literal for one or for several, whichever fits the count, and fill it; `{count}` is the count."""
    form = _catalog(language()).ngettext(one, several, count)
    return fill(form if placeholders(form) <= placeholders(several) else several, **{"count": count} | values)


def N_(english: str) -> str:
    """Mark a sentence in a table for `make words`; the code that shows it passes it to `_`."""
    return english


def translated(english: str, language: str) -> str:
    """Translate a sentence without filling its placeholders; keep the English if the translation has other ones."""
    own = _catalog(language).gettext(english)
    return own if placeholders(own) <= placeholders(english) else english


def plural_forms(one: str, several: str, language: str) -> list[str]:
    """Return all plural forms of a sentence, in the order of the indices of `plural_rule`."""
    catalog = _catalog(language)
    forms = {index: catalog.ngettext(one, several, count) for count, index in enumerate(plural_rule(language))}
    return [forms.get(index, several) for index in range(max(forms) + 1)]


def plural_rule(language: str) -> list[int]:
    """Return, for every count below EVERY_COUNT, the index of the plural form, for the browser."""
    plural = getattr(_catalog(language), "plural", lambda count: int(count != 1))
    return [int(plural(count)) for count in range(EVERY_COUNT)]


def language() -> str:
    """Return the current language: that of `in_language` if there is one, else the visitor's."""
    return _language.get() or _of_session()


@contextmanager
def in_language(wanted: str) -> Iterator[None]:
    """Set the current language, for threads without a visitor's session; an unknown one becomes English."""
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


# Text in quotes is a model's own token and stays; an apostrophe inside a word opens no quote.
_QUOTED_OR_LETTER = re.compile(r"(?<!\w)'[^']*'|“[^”]*”|\b([Ll])etter(s?)\b")
_by_letter: ContextVar[bool] = ContextVar("by_letter", default=True)


@contextmanager
def units_of(tokenizer: Tokenizer | type[Tokenizer]) -> Iterator[None]:
    """Let `in_units` and its callers name the unit that models with this tokenizer read."""
    before = _by_letter.set(tokenizer.by_character)
    try:
        yield
    finally:
        _by_letter.reset(before)


def unit() -> str:
    """Return "letters" or "tokens", in English."""
    return N_("letters") if _by_letter.get() else N_("tokens")


def in_units(text: str) -> str:
    """Replace "letters" in a sentence by the unit that fits; a translated sentence stays as it is."""
    return text if _by_letter.get() or language() != ENGLISH else _QUOTED_OR_LETTER.sub(_in_tokens, text)


def _in_tokens(match: re.Match) -> str:
    if match[1] is None:
        return match[0]
    return f"{'T' if match[1] == 'L' else 't'}oken{match[2]}"
