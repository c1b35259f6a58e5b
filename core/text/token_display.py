"""How tokens and texts are shown: visible signs for white space, and a kind for each token's color."""

import html
import re
import unicodedata

KINDS = ("vowel", "consonant", "capital", "letter", "digit", "punctuation", "space", "other")

_MARKDOWN_CHARACTERS = re.compile(r"([\\`*_{}\[\]()#+\-.!|~$>])")  # special in Markdown
_PART = re.compile(r"<0x[0-9A-F]+>")  # how `BPETokenizer.tokens` spells bytes that are only part of a character
CONTROL_SIGNS = {chr(code): chr(0x2400 + code) for code in range(0x20)} | {"\x7f": "␡"}
"""Unicode's symbol for each ASCII control character."""

JOINERS = "\u200c\u200d"  # hold emoji together and shape Persian and Indic words: the only invisible characters kept
_SIGNS = {"\n": "⏎", " ": "·", "\t": "⇥"}
_LATIN = re.compile(r"LATIN (?:SMALL|CAPITAL) (?:LETTER|LIGATURE) (?:.* )??([A-Z]+)(?: WITH .*)?$")


def visible(token: str) -> str:
    """Return the token with every invisible character replaced by a sign or its code point."""
    return "".join(_visible_character(character) for character in token)


def printable(text: str) -> str:
    """Return a text safe on a terminal: control characters as signs (␛), invisible marks as their code points."""
    return "".join(character if character in "\n\t" else _printable_character(character) for character in text)


def kind_of(token: str) -> str:
    """Return one of KINDS, by the token's first character that is not white space.

    Accents are ignored. Letters of other scripts than Latin are "letter", including capitals.
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
    if not category.startswith("L"):
        return "other"
    latin = _LATIN.match(unicodedata.name(character, ""))
    if not latin:
        return "letter"
    if category == "Lu":
        return "capital"
    return "vowel" if set(latin[1]) <= set("AEIOU") or latin[1] == "SCHWA" else "consonant"


def isolated(text: str) -> str:
    """Put Unicode's isolates (FSI, PDI) around a text with right-to-left letters, for use inside a sentence.

    Without them such a letter also reverses the numbers and quotes next to it.
    """
    is_reversed = not text.isascii() and any(unicodedata.bidirectional(character) in ("R", "AL") for character in text)
    return f"\u2068{text}\u2069" if is_reversed else text


def quoted(token: str) -> str:
    """Return a visible token in quotes, for use inside a sentence: 'e'."""
    return f"'{isolated(token)}'"


def _visible_character(character: str) -> str:
    if sign := _SIGNS.get(character) or CONTROL_SIGNS.get(character):
        return sign
    category = unicodedata.category(character)
    # C: controls, format marks, surrogates. Z: other spaces and line ends. Variation selectors count as marks (M).
    if category[0] in "CZ" or 0xFE00 <= ord(character) <= 0xFE0F or 0xE0100 <= ord(character) <= 0xE01EF:
        return f"U+{ord(character):04X}"
    return "◌" + character if category in ("Mn", "Me") else character  # a combining mark needs a base character


def read_newlines(typed: str) -> str:
    r"""Replace `\n` in a typed line by a newline, and `\\n` by the two characters `\n`."""
    return re.sub(r"(\\?)\\n", lambda match: r"\n" if match[1] else "\n", typed)


def _printable_character(character: str) -> str:
    if character in CONTROL_SIGNS:
        return CONTROL_SIGNS[character]
    if character in JOINERS or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return character
    return f"<U+{ord(character):04X}>"


def escape_markdown(text: str) -> str:
    """Return Markdown that shows exactly this text: every mark and tag in it is escaped."""
    return html.escape(_MARKDOWN_CHARACTERS.sub(r"\\\1", " ".join(text.split())), quote=False)
