"""Descriptions of copied texts and neurons, and the chart of a neuron."""

import numpy as np

from core.interpretability.memorization import copied_lengths, copied_spans, longest_matches
from core.interpretability.neurons import TopActivation
from core.palette import LIGHT
from explorer.charts.bars import neuron_bars
from explorer.look_inside.memorization import copied_in_words
from explorer.look_inside.neurons import activations_in_words, logits_in_words


def test_copied_spans_are_described_in_words():
    written, source = [1, 2, 3, 4, 9, 9, 5, 6], [0, 1, 2, 3, 4, 7, 5, 6]
    matches = longest_matches(written, source)
    shown = [str(id) for id in written]
    spans, covered = copied_spans(matches, 4), copied_lengths(matches, 4)
    assert copied_in_words(covered, spans, shown, 4) == (
        "50% of 8 tokens are in spans of at least 4 found word for word in the training text. "
        "Longest span: 4 tokens, '1234'."
    )
    assert copied_in_words(np.zeros(8), [], shown, 12).startswith("No span of 12 or more tokens")


def excited(*values):
    return [TopActivation(value, place, 0, np.zeros(3)) for place, value in enumerate(values)]


def test_a_neuron_is_described_in_words():
    assert activations_in_words(excited(2.0, 1.0, 0.5), ["e", "e", "t"]) == (
        "Largest: 2.00 on 'e'. 2 of the 3 largest activations are on 'e'."
    )
    assert "different tokens" in activations_in_words(excited(2.0, 1.0), ["e", "t"])
    assert "dead" in activations_in_words(excited(0.0), ["e"]) and "dead" in activations_in_words([], [])
    assert "raises the logits of 'a', 'b' and lowers those of 'c'" in logits_in_words(
        [("a", 1), ("b", 0.5)], [("c", -1)]
    )


def test_tokens_that_a_neuron_raises_are_above_those_it_lowers():
    (bars,) = neuron_bars([("a", 1.0), ("<", 0.5)], [("c", -2.0), ("d", -0.1)]).data
    assert list(bars.x) == [1.0, 0.5, -0.1, -2.0]
    assert bars.hovertext[1] == "&lt;: +0.50"
    assert bars.marker.color[0] == LIGHT.diverging[-2] and bars.marker.color[-1] == LIGHT.diverging[1]
