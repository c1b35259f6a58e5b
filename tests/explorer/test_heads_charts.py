import numpy as np
import pytest

from core.interpretability.head_roles import TASK_ROLES, HeadName, roles_of
from core.palette import DARK, LIGHT
from explorer.charts.heads import costs_figure, emergence_figure, role_bars, role_colors, roles_board
from explorer.i18n import formatting
from explorer.look_inside import heads
from explorer.look_inside.ablation import costs_in_words
from explorer.look_inside.heads import distance_in_words, emergence_in_words, roles_in_words

PREVIOUS = HeadName("previous_token", "previous token", 0.9)
NONE = HeadName(None, "no clear role", 0.1)


def test_the_roles_board_shows_every_head_with_its_role():
    figure = roles_board([[PREVIOUS, NONE], [NONE, NONE]])
    assert len(figure.layout.shapes) == 4
    (words,) = figure.data
    assert words.hovertext[0] == "head 1.1: previous token, 0.90"
    assert list(zip(words.x, words.y, strict=True)) == [(0, 0), (1, 0), (0, 1), (1, 1)]
    assert figure.layout.shapes[0].fillcolor != figure.layout.shapes[1].fillcolor


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ([[PREVIOUS, NONE]], "Heads with a clear role: 1 of 2. Clearest: head 1.1, previous token (0.90)."),
        ([[NONE], [PREVIOUS]], "Clearest: head 2.1, previous token"),
        ([[NONE, NONE]], "No head has a clear role at this step."),
    ],
)
def test_the_roles_board_is_described_in_words(names, sentence):
    assert sentence in roles_in_words(names)


def test_a_role_has_the_same_color_in_bars_and_board():
    bars = role_bars({"previous_token": 0.8, "induction": 0.1}, {"previous_token": 0.3, "induction": 0.4}, DARK)
    board = roles_board([[PREVIOUS]], DARK)
    assert bars.data[0].marker.color[0] == board.layout.shapes[0].fillcolor
    _bars, marks, _numbers = sorted(bars.data, key=lambda trace: getattr(trace, "mode", None) or "")
    assert marks.x == (0.3, 0.4) and marks.hovertext[1] == "A role needs 0.40."


@pytest.mark.parametrize("task", ["", *TASK_ROLES])
def test_every_role_has_a_name_a_meaning_and_its_own_color(task):
    roles = roles_of(task)
    assert set(roles) <= set(heads._MEANINGS) and all(title in formatting._ALONE for title in roles.values())
    assert len({role_colors(LIGHT)[role] for role in roles}) == len(roles)


def test_emergence_is_marked_at_its_step_and_score():
    scores = np.array([[[0.0, 0.1]], [[0.5, 0.2]], [[0.9, 0.1]]])
    emerged = np.array([[10, -1]])
    figure = emergence_figure([0, 10, 20], scores, emerged, ([0, 20], [4.0, 2.0]), "induction", LIGHT)
    (dot,) = [trace for trace in figure.data if trace.mode == "markers+text"]
    assert figure.layout.yaxis2.tickformat is None  # with a fixed one, close ticks would be written alike
    assert (dot.x, dot.y, dot.text) == ((10,), (0.5,), ("1.1",))


def test_heads_that_emerge_close_to_each_other_share_a_label():
    scores = np.zeros((3, 2, 2))
    scores[1:] = [[0.5, 0.52], [0.51, 0.9]]
    emerged = np.array([[10, 10], [-1, 10]])
    figure = emergence_figure([0, 10, 20], scores, emerged, ([0, 20], [4.0, 2.0]), "induction", LIGHT)
    (dots,) = [trace for trace in figure.data if trace.mode == "markers+text"]
    assert (dots.y, dots.text) == ((0.5, 0.52, 0.9), ("", "1.1, 1.2", "2.2"))


def test_emergence_is_described_in_words():
    yes = np.ones((2, 2), dtype=bool)
    assert emergence_in_words(np.array([[10, -1]]), yes[:1], "induction", 20) == (
        "The first induction head is 1.1, from step 10 on."
    )
    inherited = emergence_in_words(np.array([[0, 0], [-1, 40]]), yes, "induction", 60, 0)
    assert inherited == (
        "Already induction heads in its parent: 1.1, 1.2. The first new one is 2.2, from step 40 on. "
        "At step 60, the last one scored, 3 heads score enough for the role induction."
    )
    assert emergence_in_words(np.array([[0]]), yes[:1, :1], "induction", 9, 0) == (
        "Already induction heads in its parent: 1.1."
    )
    assert emergence_in_words(np.array([[-1, -1]]), yes[:1], "induction", 1000) == (
        "At step 1,000, the last one scored, no head has the role induction."
    )


def test_heads_that_score_higher_in_another_role_are_listed_separately():
    strongest = np.array([[True, False], [True, True]])
    assert emergence_in_words(np.array([[45, 90], [-1, 60]]), strongest, "previous token", 2000) == (
        "The first previous token head is 1.1, from step 45 on. At step 2,000, the last one scored, 3 heads score "
        "enough for the role previous token. "
        "These score higher in another role: 1.2."
    )


def test_ablation_costs_are_centered_on_zero_and_described_in_words():
    costs = np.array([[0.5, 0.2], [-0.1, 0.0]])
    figure = costs_figure(costs)
    heat = figure.data[0]
    assert (heat.zmin, heat.zmax) == (-0.5, 0.5)
    assert heat.text[0][1] == "+0.20"
    assert "loss without head 2.1: −0.100" in heat.hovertext[1][0]
    assert costs_in_words(np.array([[0.5, 0.001], [-0.1, 0.2]])) == (
        "Ablating head 1.1 costs most: +0.500. Heads that cost less than 0.01: 2 of 4."
    )


@pytest.mark.parametrize(
    ("by_distance", "words"),
    [
        ([0.6, 0.3, 0.1], "The token itself gets the most attention: 60%."),
        (
            [0.1, 0.2, 0.4, 0.3],
            "The token 2 tokens back gets the most attention: 40%. Half of the attention goes to the last 3 tokens.",
        ),
        ([0.1, 0.1], ""),
    ],
)
def test_how_far_back_a_head_attends_is_described_in_words(by_distance, words):
    assert distance_in_words(np.array(by_distance)) == words
