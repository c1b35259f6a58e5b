"""Places where GPT-2's rule always splits a text, so that its parts can be encoded separately; lone surrogates."""

import re
from collections.abc import Iterator
from pathlib import Path

_CHUNK = 20_000  # fewest characters of a chunk
_LONGEST_WORD = 2000  # characters; the library's time to train grows with the square of a word's length
# Where GPT-2's rule always splits: between two lines that are not empty, and before a space between two words.
SEAM = re.compile(r"(?<=\S\n)(?=\S)|(?<=\S)(?= \S)")
# A word with the space before it: GPT-2's rule always splits before white space that follows anything else, and
# between an English letter and a sign. White space is Unicode's, as in the rule; Python's \s includes more.
_SPACE = "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
WORD = re.compile(rf"[{_SPACE}]*[A-Za-z]+(?=[{_SPACE}!-/:-@\[-`{{-~]|$)|[{_SPACE}]*[^{_SPACE}]+|[{_SPACE}]+")
HALF_OF_A_PAIR = re.compile("[\ud800-\udfff]")  # for example, how Python reads a byte from the shell that is not UTF-8


def chunks_of(text: str, least: int = _CHUNK) -> Iterator[str]:
    """Cut a text into chunks of at least `least` characters, at places where GPT-2's rule always splits.

    Where there is no such place within twice that length, as in DNA, the text is cut anywhere.
    """
    start = 0
    while start + least < len(text):
        seam = SEAM.search(text, start + least, start + 2 * least)
        end = seam.start() if seam else start + min(least, _LONGEST_WORD)
        yield text[start:end]
        start = end
    yield text[start:]


def chunks_of_file(path: Path, size: int) -> Iterator[str]:
    """Yield a UTF-8 text in parts of about `size` characters, which end where GPT-2's rule always splits.

    Where there is no such place within eight times that length, the text is cut anywhere.
    """
    rest = ""
    with path.open(encoding="utf-8", newline="") as file:
        while chunk := file.read(size):
            rest += chunk
            seam = max((match.start() for match in SEAM.finditer(rest, max(0, len(rest) - size // 4))), default=0)
            if seam:
                yield rest[:seam]
                rest = rest[seam:]
            elif len(rest) > 8 * size:
                yield rest
                rest = ""
    if rest:
        yield rest
