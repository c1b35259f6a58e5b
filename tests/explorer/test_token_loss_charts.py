"""The loss by position, by kind of token and on a passage: charts and descriptions."""

import numpy as np
import pytest

from core.interpretability.token_losses import KindLoss
from core.palette import LIGHT
from explorer.charts.bars import kind_bars
from explorer.charts.loss import position_curve, running_mean
from explorer.look_inside.token_losses import kinds_in_words, passage_in_words, position_in_words

KINDS = [KindLoss("vowel", 1.5, 30, 0.55), KindLoss("capital", 3.0, 4, 0.2), KindLoss("space", 0.5, 20, 0.25)]


def test_the_running_mean_averages_nearby_positions():
    losses = np.array([4.0, 3.0, 2.0, 1.0, 3.0, 1.0])
    line = running_mean(losses)
    assert line[0] == 4.0
    assert line[3] == pytest.approx(np.mean(losses[3:5]))
    assert np.allclose(running_mean(np.full(500, 1.5)), 1.5)
    assert len(running_mean(np.ones(1))) == 1


def test_the_loss_by_position_has_a_dot_for_every_position():
    dots, line = position_curve(np.linspace(3, 1, 40), LIGHT).data
    assert len(dots.x) == len(line.x) == 40 and line.x[0] == 1


def test_the_kind_with_the_highest_loss_is_on_top_with_its_share():
    (bars,) = kind_bars(KINDS).data
    assert list(bars.x) == [3.0, 1.5, 0.5]
    assert bars.text[0] == "3.00 · 20%" and bars.marker.color[1] == LIGHT.kinds["vowel"]


def test_losses_by_position_kind_and_passage_are_described_in_words():
    falling = np.concatenate([[3.0, 2.0], np.full(30, 1.0)])
    assert position_in_words(falling).startswith(
        "With one token of context the loss is 3.00 nats/token. With 32 it is 1.00; the first"
    )
    assert "does not help" in position_in_words(np.full(8, 2.0))
    assert position_in_words(np.ones(1)).endswith("1.00 nats/token.")
    assert kinds_in_words(KINDS) == (
        "Hardest to predict: capitals, 3.00 nats (perplexity 20.1). Largest share of the total loss: vowels, 55%."
    )
    sentence = passage_in_words([0.9, 0.9, 0.01], ["<0xC3>", "<0xA9>", "<"], ["", "é", "<"])
    assert sentence.endswith("Least likely: '<' after 'é' (1.0%).")
