"""The training health figures draw every measurement, for any model shape."""

import numpy as np
import pytest

from core.palette import LIGHT
from core.training.health import BINS, Health
from explorer.charts.health import FIGURES


def history(layers: int, heads: int, units: bool = True) -> list[Health]:
    names = [f"h.{layer}.{part}" for layer in range(layers) for part in ("attn.c_attn", "attn.c_proj")]
    shares, ones = np.full((layers, BINS), 1 / BINS), np.ones(layers)
    stages = (2 if units else 1) * layers + 1
    dead, entropy = np.full(layers if units else 0, 0.25), np.full((layers, heads), 0.5)
    updates = {step: dict.fromkeys([*names, "wte", "lm_head"], 2e-3) if step else {} for step in (0, 1, 10, 2000)}
    return [
        Health(step, 1.0, ratios, shares, (step + 1) * ones, shares, ones, dead, entropy, np.linspace(1, 9, stages))
        for step, ratios in updates.items()
    ]


@pytest.mark.parametrize("shape", [(1, 1), (2, 4), (12, 12)])
def test_every_health_figure_has_an_update_for_every_measurement(shape):
    measured = history(*shape)
    for name, draw in FIGURES.items():
        figure, moves = draw(measured, LIGHT, np.array([1.0, 9.0]))
        assert len(moves) == len(measured) and figure.layout.height > 100
        assert all(len(move.get("traces", [])) <= len(figure.data) for move in moves), name


def test_histograms_share_an_axis_as_wide_as_the_widest_layer():
    _figure, moves = FIGURES["activations"](history(2, 2), LIGHT, np.ones(1))
    assert moves[0]["layout"]["xaxis.range"] == moves[0]["layout"]["xaxis2.range"]
    assert moves[3]["layout"]["xaxis.range"][1] == pytest.approx(2001 * moves[0]["layout"]["xaxis.range"][1])


def test_the_update_ratio_has_a_curve_per_matrix_from_the_first_step_on():
    figure, moves = FIGURES["updates"](history(2, 2), LIGHT, np.ones(1))
    assert len(figure.data) == 6 and all(list(trace.x) == [1, 10, 2000] for trace in figure.data)
    assert len({trace.xaxis for trace in figure.data}) == 3
    assert [trace.showlegend for trace in figure.data].count(True) == 4
    cursors = [shape for shape in moves[2]["layout"]["shapes"] if "domain" in shape["yref"]]
    assert [cursor["x0"] for cursor in cursors] == [10] * 3


def test_without_feed_forward_layers_the_norms_have_one_stage_per_block():
    figure, _moves = FIGURES["norms"](history(3, 2, units=False), LIGHT, np.ones(1))
    assert list(figure.layout.xaxis.ticktext) == ["embedding", "block 1", "block 2", "block 3"]
