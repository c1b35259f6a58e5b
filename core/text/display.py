"""How tokens and texts are shown: nothing invisible, and a kind for each, by which it gets its colour."""

import html
import re
import unicodedata

KINDS = ("vowel", "consonant", "capital", "digit", "punctuation", "space", "other")

_MARKS = re.compile(r"([\\`*_{}\[\]()#+\-.!|~$>])")  # of Markdown
_PART = re.compile(r"<0x[0-9A-F]+>")  # how `BPETokenizer.tokens` spells bytes that are a part of a character
CONTROL_SIGNS = {chr(code): chr(0x2400 + code) for code in range(0x20)} | {"\x7f": "␡"}
"""Unicode's picture of each control character of ASCII."""

_JOINERS = "\u200c\u200d"  # hold emoji together and shape Persian and Indic words
_SIGNS = {"\n": "⏎", " ": "·", "\t": "⇥"}


def visible(token: str) -> str:
    """The token with every character that cannot be seen replaced by a sign or its code point; "" stays ""."""
    return "".join(_visible_character(character) for character in token)


def printable(text: str) -> str:
    """Return a text as a terminal may be given it: control characters, which it would obey, become signs (␛).

    Newlines and tabs stay. Other characters without a picture, such as marks that reverse the direction of writing, are
    spelled by their code point.
    """
    return "".join(character if character in "\n\t" else _printable_character(character) for character in text)


def kind_of(token: str) -> str:
    """One of KINDS, by the token's first character that is not white space.

    Accents are looked through: "é" is a vowel. Letters of other scripts are "other".
    """
    letters = token.strip()
    if not letters:
        return "space" if token else "other"
    if _PART.match(letters):
        return "other"
    character = unicodedata.normalize("NFD", letters[0])[0]
    category = unicodedata.category(character)
    if category == "Nd":
        return "digit"
    if category.startswith("P") or (character.isascii() and category.startswith("S")):
        return "punctuation"
    if not (character.isascii() and character.isalpha()):
        return "other"
    if character.isupper():
        return "capital"
    return "vowel" if character in "aeiou" else "consonant"


def _visible_character(character: str) -> str:
    if character in _SIGNS:
        return _SIGNS[character]
    category = unicodedata.category(character)
    # C: controls, format marks, surrogates. Z: other spaces and line ends. Variation selectors count as marks (M).
    if category[0] in "CZ" or 0xFE00 <= ord(character) <= 0xFE0F or 0xE0100 <= ord(character) <= 0xE01EF:
        return f"U+{ord(character):04X}"
    return "◌" + character if category in ("Mn", "Me") else character  # a combining mark needs something to sit on


def read_newlines(typed: str) -> str:
    r"""Read `\n` in a line that was typed as a newline, and `\\n` as the two characters `\n`."""
    return re.sub(r"(\\?)\\n", lambda found: r"\n" if found[1] else "\n", typed)


def _printable_character(character: str) -> str:
    if character in CONTROL_SIGNS:
        return CONTROL_SIGNS[character]
    if character in _JOINERS or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return character
    return f"<U+{ord(character):04X}>"


def plain(text: str) -> str:
    """Anybody's text as Markdown that shows just this text: no mark and no tag in it means anything."""
    return html.escape(_MARKS.sub(r"\\\1", " ".join(text.split())), quote=False)
