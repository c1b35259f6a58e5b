import random
import re

import pytest

from core.errors import RunError
from core.runs.records import NAME_LENGTH, clean_name, friendly_name


def test_a_friendly_name_depends_only_on_its_bytes():
    assert friendly_name(b"abcdefgh") == friendly_name(b"abcdefgh")
    assert re.fullmatch(r"[a-z]+-[a-z]+", friendly_name(b"\0" * 8))
    rng = random.Random(0)
    assert len({friendly_name(rng.randbytes(8)) for _ in range(400)}) > 300


@pytest.mark.parametrize(
    ("given", "label"),
    [
        ("../../x", "../../x"),  # a label may look like a path; it never becomes one
        ("<img src=x onerror=alert(1)>", "<img src=x onerror=alert(1)>"),
        ("  two\n\t words \x00\x1b[31m", "two words [31m"),
        ("\u202egnp.exe", "gnp.exe"),  # would reverse the following text
        ("👩\u200d🚀 سلام", "👩\u200d🚀 سلام"),
        ("half \ud800 pair", "half pair"),
        ("x" * 500, "x" * NAME_LENGTH),
    ],
)
def test_names_are_cleaned_and_truncated(given, label):
    assert clean_name(given) == label


@pytest.mark.parametrize("given", ["", "  \n", "\x00", "\u200d"])
def test_an_invisible_name_is_refused(given):
    with pytest.raises(RunError, match="at least one character"):
        clean_name(given)
