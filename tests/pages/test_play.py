"""Shannon's game from its first letter to the loss chart with a point for each player."""

import time

import pytest
from streamlit.testing.v1 import AppTest

from core.runs.weights import steps_with_weights
from core.text.own_text import save_text
from explorer.charts.loss import Player, loss_figure, with_players
from explorer.widgets.address import page_file
from tests.components import wait_for_jobs
from tests.conftest import TEXT

KEPT = "page-shannon-game"


@pytest.fixture
def corpus(explorer_home):
    return save_text(TEXT, "Two lines of Hamlet", explorer_home)  # the text of `finished_run`


def open_game(corpus, number: int = 3, run: str | None = None) -> AppTest:
    at = AppTest.from_file(page_file("play"), default_timeout=60)
    at.query_params["text"], at.query_params["passage"], at.query_params["letters"] = corpus.name, str(number), "15"
    if run:
        at.query_params["run"] = run
    return at.run()


def game_of(at: AppTest):
    return at.session_state[KEPT][1]


def guess(at: AppTest, letters: str) -> AppTest:
    """Guess letters as if they were typed, and run the page again."""
    which, game = at.session_state[KEPT]
    for letter in letters:
        game = game.guess(letter)
    at.session_state[KEPT] = (which, game)
    return at.run()


def text_of(at: AppTest) -> str:
    return "\n".join(element.value for kind in (at.markdown, at.caption, at.info) for element in kind)


def test_a_link_always_opens_the_same_passage(corpus):
    first, second, other = open_game(corpus), open_game(corpus), open_game(corpus, 9)
    assert not first.exception and not first.error
    assert game_of(first).passage == game_of(second).passage != game_of(other).passage
    assert len(game_of(first).passage.hidden) == 15
    first.number_input("play_number").set_value(9).run()
    assert game_of(first).passage == game_of(other).passage and first.query_params["passage"] in ("9", ["9"])
    first.button("play_another").click().run()
    assert first.query_params["passage"] not in ("9", ["9"])


def test_an_address_without_a_passage_opens_the_first_one_and_does_not_change(corpus):
    at = AppTest.from_file(page_file("play"), default_timeout=60).run()
    assert at.number_input("play_number").value == 1 and not at.query_params


def test_revealing_every_letter_ends_the_game_and_shows_the_passage(corpus):
    at = open_game(corpus)
    hidden = game_of(at).passage.hidden
    for _ in hidden:
        at.button("play_tell").click().run()
    assert not at.exception and not at.error
    assert any(hidden in code.value.replace("\r", "") for code in at.code)
    assert "None of your runs was trained on this text" in text_of(at)
    assert "The counted bigram needed" in text_of(at) and "The best of them predicted better than you" in text_of(at)


def test_a_perfect_player_scores_zero_bits_and_is_compared_with_two_steps_of_the_run(corpus, finished_run):
    at = open_game(corpus, run=finished_run.id)
    at = guess(at, game_of(at).passage.hidden)
    deadline = time.monotonic() + 60
    while "Shannon's estimate" not in text_of(at):
        assert time.monotonic() < deadline and not at.error
        time.sleep(0.1)
        at.run()
    assert not at.exception
    shown = text_of(at)
    assert "between **0.00** and **0.00** bits" in shown and "You predicted better than the best of them" in shown
    assert (
        "| patient\\-otter |" in shown and "| patient\\-otter at step" in shown
    )  # its last weights and an earlier moment
    assert at.selectbox("play_run").value == finished_run.id
    assert at.select_slider[0].value in steps_with_weights(finished_run)


def test_a_game_stopped_before_a_guess_has_nothing_to_compare(corpus):
    at = open_game(corpus)
    at.button("play_stop").click().run()
    assert not at.exception and "nothing to compare" in text_of(at)
    at.button("play_again").click().run()
    assert not game_of(at).done


def test_a_game_stopped_early_is_scored_on_the_guessed_characters(corpus):
    at = open_game(corpus)
    at = guess(at, game_of(at).passage.hidden[:4])
    at.button("play_stop").click().run()
    assert not at.exception and "Your 4 characters" in text_of(at) and "You revealed" not in text_of(at)
    assert "scored on the same 4 characters" in text_of(at)


def test_the_page_says_how_a_revealed_character_counts(corpus):
    at = open_game(corpus)
    at = guess(at, game_of(at).passage.hidden[:4])
    at.button("play_tell").click().run()
    at.button("play_stop").click().run()
    blind = f"{(len(game_of(at).alphabet) + 1) / 2:.1f}"
    assert not at.exception and "You revealed 1 of them. A revealed character counts as" in text_of(at)
    assert f"among the remaining characters, here {blind}" in text_of(at)


def played_to_the_end(corpus, run) -> AppTest:
    """Return the page of a finished game, with the predictions of a run."""
    at = open_game(corpus, run=run.id)
    at = guess(at, game_of(at).passage.hidden)
    for _snapshot in range(2):  # the second model's job starts when the first one's has ended
        wait_for_jobs()
        at.run()
    return at


def test_a_run_whose_parent_trained_on_the_passage_is_listed_as_not_playing(corpus, add_run):
    parent, child = add_run("patient-otter"), add_run("careful-cat")
    record = parent.record()
    config = record.config.replace({"data.val_fraction": 0.01})
    parent.write_record(record.model_copy(update={"config": config}))
    child.write_record(child.record().model_copy(update={"parent": parent.id, "parent_step": 20}))
    at = played_to_the_end(corpus, child)
    assert not at.exception and not at.error
    assert not [box for box in at.selectbox if box.key == "play_run"]
    shown = text_of(at).replace("\\", "")
    assert "Not playing" in shown and shown.count("careful-cat") == shown.count("patient-otter") == 1
    assert "with this passage in the validation split" in shown


def test_a_run_named_like_the_counted_bigram_is_a_separate_player(corpus, finished_run):
    finished_run.rename("Bigram (counted)")
    at = played_to_the_end(corpus, finished_run)
    assert not at.exception and not at.error
    rows = [line for line in text_of(at).replace("\\", "").splitlines() if line.startswith("| Bigram (counted) |")]
    assert len(rows) == 2 and rows[0] != rows[1]


def test_two_players_with_the_same_name_are_separate_points():
    players = [Player("same name", 2.0, 100, "#111111", "star"), Player("same name", 2.0, 100, "#222222", "diamond")]
    first, second = with_players(loss_figure([{"step": 100, "val_loss": 2.0}], None, 100), players, 100).data[-2:]
    assert first.x[0] < second.x[0]


def test_players_are_drawn_in_nats_and_the_axis_covers_them_all():
    players = [
        Player("You", 0.5, 100, "#111111", "star", 0.2, 0.8),
        Player("<b>", 9.0, 100, "#222222", "diamond"),
        Player("early", 3.0, 10, "#333333", "circle"),
    ]
    figure = with_players(loss_figure([{"step": 100, "val_loss": 2.0}], None, 100), players, 100)
    you, strange, early = figure.data[-3:]
    assert you.y[0] == pytest.approx(0.3466, abs=1e-3) and you.error_y.array[0] == pytest.approx(0.2079, abs=1e-3)
    assert "<b>" not in strange.name and early.x[0] == 10 and you.x[0] < strange.x[0] <= 100
    low, high = figure.layout.yaxis.range
    assert low < 0.2 * 0.693 and high > 9 * 0.693


def test_a_link_to_a_missing_text_is_reported_and_another_is_offered(corpus):
    at = AppTest.from_file(page_file("play"), default_timeout=60)
    at.query_params.update({"text": "text-gone", "passage": "3"})
    at.run()
    assert not at.exception and "asks for the text 'text\\-gone', which is not on this machine" in at.error[0].value
    assert at.query_params["text"] == "text-gone" and not at.selectbox
    at.button("take_another").click().run()
    assert not at.exception and not at.error
    assert at.selectbox("play_text").value and "text" not in at.query_params
