"""The game's rules, Shannon's bounds, and models that play as they predict."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from core.config import ModelConfig
from core.errors import TextError
from core.interpretability import finish
from core.interpretability.token_losses import window_losses
from core.lessons.shannon import (
    EASY,
    Game,
    Passage,
    bits_from_guesses,
    choose_passage,
    judged,
    play_by_counting,
    play_by_model,
)
from core.model import build_model
from core.runs.gallery import gallery_runs
from core.runs.weights import latest_weights, load_model
from core.text import split_point
from core.text.corpora import load_corpus

GAME = Game(Passage(7, "He is ", "to be"), frozenset("abeot \n"))


def played(letters: str) -> Game:
    game = GAME
    for letter in letters:
        game = game.guess(letter)
    return game


def test_guesses_are_counted_per_letter():
    game = played("at" + "o" + "eb ")
    assert game.guesses == (2, 1, 3) and game.known == "to " and not game.done
    assert played("to be").done and played("to be").guesses == (1, 1, 1, 1, 1)


def test_repeated_guesses_and_characters_outside_the_text_do_not_count():
    assert played("aa").wrong == ("a",) and played("az").wrong == ("a",) and played("aat").guesses == (2,)


def test_giving_up_a_letter_counts_the_mean_number_of_random_guesses():
    game = played("ab").give_up_letter()
    assert game.known == "t" and game.revealed == {0}
    assert game.guesses == (2 + (5 + 1) / 2,)  # the mean rank among the five remaining characters


def test_stopping_a_game_keeps_the_guessed_letters():
    whole = played("to")
    game = whole.stop()
    assert game.passage.hidden + game.passage.after == whole.passage.hidden  # the rest is revealed at the end
    assert game.done and game.passage.hidden == "to" and game.guess("x") is game and game.give_up_letter() is game


def test_a_game_is_restored_from_its_json():
    for game in (GAME, played("at" + "ob"), played("to").guess("a").give_up_letter(), played("to").stop()):
        again = GAME.restore(game.to_json())
        assert again == game and again.counts().tolist() == game.counts().tolist()
    assert GAME.restore("") is GAME


def test_bits_from_guesses_match_known_cases():
    assert bits_from_guesses([20]) == (0, 0)
    assert bits_from_guesses([0, 3, 3, 3, 3]) == pytest.approx((2, 2))  # four equally likely numbers of guesses
    lower, upper = bits_from_guesses([3, 1])
    assert upper == pytest.approx(0.75 * math.log2(4 / 3) + 0.25 * 2) and lower == pytest.approx(0.5)
    with pytest.raises(ValueError, match="nothing was guessed"):
        bits_from_guesses([0, 0])


def test_giving_up_every_letter_gives_the_bits_of_random_guessing():
    game = GAME
    while not game.done:
        game = game.give_up_letter()
    assert game.counts().sum() == pytest.approx(5)
    assert bits_from_guesses(game.counts()) == pytest.approx((math.log2(7), math.log2(7)))


def test_giving_up_a_letter_late_spreads_its_count_over_the_remaining_guesses():
    np.testing.assert_allclose(played("to").guess("a").guess("b").give_up_letter().counts(), [2, 0, *[0.2] * 5])


@given(st.lists(st.integers(0, 60), min_size=1, max_size=80).filter(any))
def test_the_lower_bound_never_exceeds_the_upper_bound(counts):
    lower, upper = bits_from_guesses(counts)
    assert -1e-9 <= lower <= upper <= math.log2(len(counts)) + 1e-9


@given(st.integers(0, 10**6), st.integers(10, 60))
@example(EASY, 30)
def test_a_passage_depends_only_on_its_number_and_lies_in_the_validation_split(number, length):
    text = load_corpus("shakespeare", Path())[:20_000]
    passage = choose_passage(text, number, length)
    assert passage == choose_passage(text, number, length)
    assert split_point(len(text), 0.1) <= passage.start and len(passage.hidden) == length
    assert text[passage.start :].startswith(passage.hidden) and text[: passage.start].endswith(passage.before)


def test_the_first_passage_is_easier_than_most_and_starts_inside_a_word():
    text, gallery = load_corpus("shakespeare", Path()), gallery_runs()[0]
    model, tokenizer = load_model(gallery, latest_weights(gallery))[:2]
    ids = torch.tensor(tokenizer.encode(text))

    def bits(number: int) -> float:
        return finish(play_by_model(model, ids, choose_passage(text, number, 30).start, 30)).bits.mean()

    assert bits(EASY) < sorted(map(bits, range(2, 14)))[4]
    first = choose_passage(text, EASY, 30)
    assert first.before[-1].isalpha() and first.hidden.replace(" ", "").isalpha()


def test_a_text_too_short_is_refused():
    with pytest.raises(TextError, match="too short for this game"):
        choose_passage("abc" * 100, 1, 30)


def test_predictions_are_scored_in_bits_and_by_rank():
    play = judged([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]], [1, 2])
    assert play.bits == pytest.approx([2, math.log2(1.25)]) and play.guesses.tolist() == [2, 1]


@pytest.mark.parametrize("changes", [{}, {"kind": "bigram"}, {"causal": False}, {"position": "rope"}], ids=str)
def test_a_model_plays_from_the_preceding_context_only(changes):
    torch.manual_seed(0)
    model = build_model(ModelConfig(**{"n_layer": 1, "n_head": 2, "n_embd": 16, "block_size": 8} | changes), 5).eval()
    ids = torch.randint(5, (60,), generator=torch.Generator().manual_seed(1))
    play = finish(play_by_model(model, ids, 30, 11))
    assert play.bits.shape == play.guesses.shape == (11,)
    expected = [float(window_losses(model, ids[None, p - 8 : p + 1])[0, -1]) / math.log(2) for p in range(30, 41)]
    np.testing.assert_allclose(play.bits, expected, rtol=1e-4)
    changed = ids.clone()
    changed[41:] = 0
    np.testing.assert_allclose(finish(play_by_model(model, changed, 30, 11)).bits, play.bits)


def test_the_counting_player_uses_pairs_of_the_training_split():
    ids = np.array([0, 1] * 100)
    assert play_by_counting(ids, 190, 6, 3).bits.max() < 0.1
    surprised = play_by_counting(np.array([0, 1] * 95 + [2] * 10), 192, 4, 3)
    assert surprised.bits.min() > 3 and (surprised.guesses == 3).all()
