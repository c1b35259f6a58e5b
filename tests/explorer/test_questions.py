"""Typed numbers are parsed as people write them, and signs for white space are named among choices."""

import pytest

from core.text.token_display import visible
from explorer.i18n.formatting import name_signs
from explorer.learn.steps import number_typed


@pytest.mark.parametrize(
    ("typed", "number"),
    [
        ("4.17", 4.17),
        ("4,17", 4.17),
        ("0,125", 0.125),
        ("-0,125", -0.125),
        (",125", 0.125),
        ("1,204", 1204),
        ("1,204.5", 1204.5),
        ("1,204,567", 1204567),
        ("1204,567", 1204.567),
        (" 1 536 ", 1536),
        ("−2", -2),
        ("1/5", 0.2),
        ("1 / 8", 0.125),
        ("1e-3", 0.001),
    ],
)
def test_typed_numbers_are_parsed(typed, number):
    assert number_typed(typed) == pytest.approx(number)


@pytest.mark.parametrize(
    "typed", ["", "ln 63", "1/0", "1/2/3", "/5", "1/", "1,2,3", "1.2.3", "nan", "inf", "1e99", "٣"]
)
def test_text_that_is_not_a_number_is_rejected(typed):
    assert number_typed(typed) is None


@pytest.mark.parametrize(("space", "name"), [(" ", "space"), ("\n", "new line"), ("\t", "tab")])
def test_a_sign_for_white_space_is_named_if_it_is_a_whole_token(space, name):
    sign = visible(space)
    assert name_signs(sign) == f"{sign} ({name})" and name_signs(f"3: {sign}") == f"3: {sign} ({name})"
    assert name_signs(f"e + {sign}") == f"e + {sign} ({name})"
    assert name_signs(visible(f"{space}the")) == f"{sign}the"
