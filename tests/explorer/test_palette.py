"""Colors are readable in both themes, distinguishable for the color blind, and stable for each run."""

import numpy as np
import pytest

from core.palette import DARK, LIGHT, Palette
from core.text.token_display import KINDS
from explorer.charts.theme import palette_for
from explorer.widgets.run_rows import colors_of, run_places

BOTH = pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])


def rgb(color: str) -> np.ndarray:
    """Return the linear RGB values of a hex color."""
    value = np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def luminance(color: str) -> float:
    return float(rgb(color) @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, two: str) -> float:
    """Return the contrast ratio as the WCAG defines it."""
    high, low = sorted([luminance(one), luminance(two)], reverse=True)
    return (high + 0.05) / (low + 0.05)


def seen_without(cones: str, color: str) -> np.ndarray:
    """Return a color as seen without red or green cones (Vienot, Brettel and Mollon 1999)."""
    matrix = {
        "red": [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
        "green": [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]],
    }[cones]
    return np.array(matrix) @ rgb(color)


@BOTH
def test_text_and_lines_have_enough_contrast_with_the_surface(palette: Palette):
    assert contrast(palette.text, palette.surface) > 7
    assert contrast(palette.muted, palette.surface) > 4.5
    for color in (palette.training, palette.validation, palette.accent, *palette.kinds.values(), *palette.runs):
        assert contrast(color, palette.surface) > 2.8, color


@BOTH
@pytest.mark.parametrize("cones", ["red", "green"])
def test_training_and_validation_differ_for_the_color_blind(palette: Palette, cones: str):
    difference = seen_without(cones, palette.training) - seen_without(cones, palette.validation)
    assert np.linalg.norm(difference) > 0.25


@BOTH
def test_sequential_colors_change_lightness_monotonically(palette: Palette):
    steps = np.diff([luminance(color) for color in palette.sequential])
    assert (steps < 0).all() or (steps > 0).all()


@BOTH
def test_zero_is_the_middle_of_the_diverging_colors(palette: Palette):
    middle = palette.diverging[len(palette.diverging) // 2]
    assert len(palette.diverging) % 2 == 1
    assert contrast(middle, palette.surface) < 1.2
    assert contrast(palette.diverging[0], palette.surface) > 3 < contrast(palette.diverging[-1], palette.surface)


@BOTH
def test_every_kind_of_token_has_a_color(palette: Palette):
    assert set(palette.kinds) == set(KINDS)


IDS = [f"20260101-00000{index}-abcdefghijkl" for index in range(len(LIGHT.runs))]


def test_runs_have_different_colors_while_there_are_enough():
    places = run_places(IDS)
    assert sorted(places.values()) == list(range(len(LIGHT.runs)))
    assert run_places(reversed(IDS)) == places


def test_a_new_run_leaves_the_colors_of_others_alone():
    places = run_places(IDS[:-1])
    assert run_places(IDS, places).items() > places.items()


def test_a_run_keeps_its_color_when_another_is_deleted(tmp_path):
    colors = colors_of(IDS, tmp_path, LIGHT)
    assert colors_of(IDS[1:], tmp_path, LIGHT) == {id: colors[id] for id in IDS[1:]}
    assert colors_of([*IDS[1:], "20270101-000000-abcdefghijkl"], tmp_path, LIGHT)[IDS[-1]] == colors[IDS[-1]]


def test_a_damaged_file_of_run_colors_is_replaced(tmp_path):
    (tmp_path / "run_colors.json").write_text("[1")
    assert len(set(colors_of(IDS, tmp_path, DARK).values())) == len(IDS)


def test_the_palette_follows_the_theme():
    assert palette_for("dark") is DARK
    assert palette_for("light") is LIGHT
    assert palette_for(None) is LIGHT
