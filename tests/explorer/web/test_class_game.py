"""The class plays one passage; the server checks and counts each student's guesses once."""

import pytest

from core.classroom import ClassError
from core.lessons.shannon import Game, bits_from_guesses
from explorer.play.class_board import board_figure, scores
from explorer.play.game import MAX_PASSAGES, class_move, new_game
from tests.explorer.web.test_class import as_visitor

PASSAGE = MAX_PASSAGES + 7


@pytest.fixture
def start(known, people) -> Game:
    as_visitor(people["teacher"])
    known.start_game("shakespeare", PASSAGE, 15)
    return new_game("shakespeare", PASSAGE, 15)


def test_guesses_are_scored_once_for_the_student_who_made_them(known, people, start):
    hidden = start.passage.hidden
    wrong = next(letter for letter in sorted(start.alphabet) if letter != hidden[0])
    as_visitor(people["Ada"])
    for letter in (wrong, wrong, hidden[0], hidden[1]):
        game = class_move(known, start, PASSAGE, lambda game, letter=letter: game.guess(letter))
    assert game.guesses == (2, 1)
    as_visitor(people["Bob"])
    for letter in hidden:
        game = class_move(known, start, PASSAGE, lambda game, letter=letter: game.guess(letter))
    assert game.done
    board = scores(known, start)
    assert [(score.name, score.guesses, score.first) for score in board] == [("Bob", 15, 15), ("Ada", 2, 1)]
    assert board[0].bits == bits_from_guesses(game.counts())
    assert class_move(known, start, PASSAGE, Game.give_up_letter) == game  # a finished game does not change
    known.change(game_named=False)
    assert [score.name for score in scores(known, start)] == ["Player 1", "Player 2"]
    assert "Ada" not in board_figure(scores(known, start), []).to_json()


def test_a_stopped_game_cannot_be_continued_and_a_new_game_resets_the_scores(known, people, start):
    as_visitor(people["Ada"])
    class_move(known, start, PASSAGE, lambda game: game.guess(start.passage.hidden[0]))
    class_move(known, start, PASSAGE, Game.stop)
    again = class_move(known, start, PASSAGE, lambda game: game.guess(start.passage.hidden[1]))
    assert again.done and again.guesses == (1,)
    known.start_game("shakespeare", PASSAGE + 1, 15)
    assert known.games() == {} and scores(known, start) == []
    with pytest.raises(ClassError, match="game is over"):
        class_move(known, start, PASSAGE, Game.give_up_letter)
    known.erase()
    assert known.games() == {} and known.settings.game_text == ""
