"""What is said of copied texts and neurons, and how it is drawn."""

import numpy as np

from core.interpretability.memorization import copied_lengths, copied_spans, longest_matches
from core.interpretability.neurons import Excitement
from explorer.charts.neurons import writing_bars
from explorer.charts.palette import LIGHT
from explorer.look_inside.memorization import copied_in_words
from explorer.look_inside.neurons import excitement_in_words, writing_in_words


def test_copied_or_composed_in_words():
    written, source = [1, 2, 3, 4, 9, 9, 5, 6], [0, 1, 2, 3, 4, 7, 5, 6]
    matches = longest_matches(written, source)
    shown = [str(id) for id in written]
    spans, covered = copied_spans(matches, 4), copied_lengths(matches, 4)
    assert copied_in_words(covered, spans, shown, 4, "letters") == (
        "Of its 8 letters 50% stand in spans of at least 4 that it has word for word from the training text; the "
        "longest has 4: '1234'."
    )
    assert copied_in_words(np.zeros(8), [], shown, 12, "tokens").startswith("Composed: of its 8 tokens no stretch")


def excited(*values):
    return [Excitement(value, place, 0, np.zeros(3)) for place, value in enumerate(values)]


def test_a_neuron_in_words():
    assert excitement_in_words(excited(2.0, 1.0, 0.5), ["e", "e", "t"]) == (
        "Its strongest is 2.00, on 'e'; 2 of its 3 strongest are on 'e'."
    )
    assert "different letters" in excitement_in_words(excited(2.0, 1.0), ["e", "t"])
    assert "dead" in excitement_in_words(excited(0.0), ["e"]) and "dead" in excitement_in_words([], [])
    assert "speaks for 'a', 'b' and against 'c'" in writing_in_words([("a", 1), ("b", 0.5)], [("c", -1)])


def test_what_a_neuron_raises_stands_above_what_it_lowers():
    (bars,) = writing_bars([("a", 1.0), ("<", 0.5)], [("c", -2.0), ("d", -0.1)]).data
    assert list(bars.x) == [1.0, 0.5, -0.1, -2.0]
    assert bars.hovertext[1] == "'&lt;': its logit moves by +0.500"
    assert bars.marker.color[0] == LIGHT.diverging[-2] and bars.marker.color[-1] == LIGHT.diverging[1]
