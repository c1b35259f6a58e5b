"""Chosen embedding directions, the prompt in the residual stream, positions, and learned against counted bigrams."""

import numpy as np
import pytest

from core.interpretability.embeddings import Tables, fourier_components
from core.palette import LIGHT
from explorer.charts.embedding_map import number_circle
from explorer.charts.heatmaps import cosine_heatmap, difference_heatmap
from explorer.look_inside.embedding_directions import (
    aligned_maps,
    along_axes,
    axis_in_words,
    positions_in_words,
    stream_in_words,
)
from explorer.look_inside.embeddings import tables_in_words

LEARNED = np.array([[0.2, 0.3, 0.5], [0.4, 0.3, 0.3], [1, 0, 0]], dtype=np.float32)
COUNTED = np.array([[0.4, 0.4, 0.2], [0.4, 0.3, 0.3], [0, 1, 0]], dtype=np.float32)


def test_the_cosine_heatmap_has_positions_on_both_axes_and_a_fixed_scale():
    (map_,) = cosine_heatmap(np.eye(3), [1, 5, 9]).data
    assert list(map_.x) == [1, 5, 9] and (map_.zmin, map_.zmax) == (-1, 1)


def test_a_cell_of_the_difference_heatmap_shows_the_learned_and_the_counted_share():
    (map_,) = difference_heatmap(LEARNED, COUNTED, ["a", "<", "c"], LIGHT).data
    assert map_.text[0][1] == "'&lt;' after 'a': learned 30%, counted 40%"
    assert map_.z[0][1] == pytest.approx(-0.1) and map_.zmin == -map_.zmax


def test_axes_residual_stream_and_positions_are_described_in_words():
    shown = ["a", "b", "c"]
    assert axis_in_words(np.array([0.1, 0.9, 2.0]), ([0], [1]), shown) == (
        "The first axis separates its two groups. Furthest along it: 'c' (2.00)."
    )
    assert axis_in_words(np.array([1.0, 0.9]), ([0], [1]), shown).endswith("does not fully separate its two groups.")
    stream = np.array([[1.0, 0], [1.0, 0], [-2.0, 0]])
    assert stream_in_words(stream, [4, 4, 7]) == (
        "Mean cosine here: 1.00 for the same token at two positions, −1.00 for different tokens."
    )
    assert "No token occurs twice" in stream_in_words(stream, [4, 5, 7])
    assert positions_in_words(np.array([[1, 0.5], [0.5, 1]])).startswith("Mean cosine: 0.50 at distance 1")


def test_the_learned_and_counted_tables_are_compared_in_words():
    tables = Tables(LEARNED, COUNTED, LEARNED - COUNTED, np.array([300, 200, 0]))
    sentence = tables_in_words(tables, ["a", "b", "c"])
    assert sentence.startswith("Mean difference from the counted table: 18% of the probability.")
    assert sentence.endswith("'c' after 'a', 50% learned, 20% counted.")


def test_maps_of_all_steps_keep_the_directions_and_the_scale_of_the_last():
    rng = np.random.default_rng(0)
    last = rng.normal(size=(30, 8))
    moving = aligned_maps([0, 10], [0.5 * last, last], lambda table: f"{np.abs(table).max():.1f}")
    assert moving.steps == [0, 10] and moving.xy.shape == (2, 30, 2) and len(moving.words) == 2
    assert np.abs(moving.xy).max() <= 1.001
    inner = np.linalg.norm(moving.xy[1], axis=1) < 0.9  # not drawn at the rim
    middle = np.median(moving.xy[1][inner], axis=0)
    assert np.abs((moving.xy[0] - 0.5 * moving.xy[1])[inner]).max() < 0.2 + np.abs(middle).max()


def test_chosen_axes_keep_their_range_from_step_to_step():
    points = [np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([[0.0, 1.0], [2.0, 0.0]])]
    moving = along_axes([0, 5], points, [("a", "b"), ("c", "d")], lambda _: "")
    (left, _), (right, _) = moving.axes["across"]
    (bottom, _), (top, _) = moving.axes["up"]
    assert moving.xy[0].tolist() == [[left, bottom], [right, top]]
    assert moving.xy[1][0].tolist() == [left, top]


def test_the_number_circle_is_redrawn_for_every_step():
    angles = 2 * np.pi * np.arange(7)[:, None] * np.array([1, 2]) / 7
    steps = [fourier_components(np.hstack([np.cos(angle), np.sin(angle)])) for angle in angles.T[:, :, None]]
    figure, moves = number_circle(steps, list("0123456"), LIGHT)
    assert [trace.type for trace in figure.data] == ["bar", "scatter"] and list(figure.data[1].text) == list("0123456")
    assert [np.argmax(move["traces"][0]["y"]) for move in moves] == [0, 1]
    assert all(len(move["traces"][1]["x"]) == 7 for move in moves)
