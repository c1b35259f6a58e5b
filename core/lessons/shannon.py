"""Shannon's game: how many bits does a letter carry for a reader of the text before it?

Claude Shannon had people guess an unknown text letter by letter, and counted the guesses for each letter
("Prediction and Entropy of Printed English", 1951). A language model plays the same game with probabilities.
"""

import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from core.errors import TextError
from core.fast.threads import one_thread
from core.interpretability import Progress
from core.interpretability.activations import compute_logits
from core.model import GPT, Bigram
from core.text import split_point
from core.text.ngrams import pair_probabilities

VAL_FRACTION = 0.1  # of a text, at its end: the default validation split of runs
SHOWN = 160  # characters shown before the passage
_LONGEST_CONTEXT = 512  # characters that a model reads before each guess
_ROWS = 8  # letters that a model predicts at once
EASY = 1  # the number of the passage shown first
_TRIED = 2000  # random places to choose the easiest from
_COUNTED = 2**20  # characters of the training text whose words are counted
_BEGUN = 2  # letters shown of the easiest passage's first word
_WORD = re.compile(r"[^\W\d_]+")


class Passage(NamedTuple):
    """A passage to be guessed, with the text before it."""

    start: int  # index in the whole text
    before: str
    hidden: str
    after: str = ""  # the rest of a passage that was ended early

    @property
    def whole(self) -> str:
        return self.before + self.hidden + self.after


def choose_passage(text: str, number: int, length: int) -> Passage:
    """Return the random passage with this number from the validation text; it starts at a word. EASY is an easy one.

    Raises TextError if the text is too short.
    """
    begin = split_point(len(text), VAL_FRACTION)
    if len(text) - begin < length + SHOWN:
        raise TextError(f"A text of {len(text):,} characters is too short for this game. Choose a longer one.")
    start = (
        _easiest(text, begin, length) if number == EASY else _random_word(text, begin, length, random.Random(number))
    )
    _, space, before = text[max(0, start - SHOWN) : start].partition(" ")  # it also starts with a whole word
    return Passage(start, before if space else text[max(0, start - SHOWN) : start], text[start : start + length])


def _random_word(text: str, begin: int, length: int, rng: random.Random) -> int:
    """Return the start of the word at a random place; in a text without white space, the place itself."""
    place = rng.randrange(begin + SHOWN // 2, len(text) - length + 1)
    return next((at for at in range(place, begin, -1) if text[at - 1] in " \n" and text[at] > " "), place)


@lru_cache(maxsize=2)  # in a class it is called at every guess
def _easiest(text: str, begin: int, length: int) -> int:
    """Return a place within the first word of the easiest passage: fewest signs, then the most frequent words.

    A passage's rarest word, as counted in the training text, decides how frequent its words are. Its first word has
    more letters than are shown.
    """
    counts = Counter(_WORD.findall(text, 0, min(begin, _COUNTED)))

    def ease(start: int) -> tuple[bool, int, int]:
        passage = text[start : start + _BEGUN + length]
        cut = _WORD.match(text, start + len(passage))  # the rest of its last word
        words = _WORD.findall(passage + (cut.group() if cut else ""))
        signs = sum(not (letter.isalpha() or letter == " ") for letter in passage)
        return len(words) > 0 and len(words[0]) > _BEGUN, -signs, min(map(counts.__getitem__, words), default=0)

    rng = random.Random(EASY)
    start = max((_random_word(text, begin, length + _BEGUN, rng) for _ in range(_TRIED)), key=ease)
    return start + _BEGUN if ease(start)[0] else start


@dataclass(frozen=True)
class Game:
    """The state of a game. Every move returns a new one."""

    passage: Passage
    alphabet: frozenset[str]  # all possible characters
    guesses: tuple[float, ...] = ()  # for each letter so far; a revealed letter counts the mean of random guesses
    wrong: tuple[str, ...] = ()  # guesses for the current letter
    revealed: frozenset[int] = frozenset()  # indices of the letters that were revealed

    @property
    def done(self) -> bool:
        return len(self.guesses) == len(self.passage.hidden)

    @property
    def known(self) -> str:
        """Return the known part of the passage."""
        return self.passage.hidden[: len(self.guesses)]

    def counts(self) -> np.ndarray:
        """Count the letters found at each guess: (V,). A revealed one counts in equal shares for all guesses left."""
        counts = np.zeros(len(self.alphabet))
        for place, count in enumerate(self.guesses):
            if place in self.revealed:
                tried = round(2 * count) - len(self.alphabet) - 1  # the inverse of `give_up_letter`
                counts[tried:] += 1 / (len(self.alphabet) - tried)
            else:
                counts[int(count) - 1] += 1
        return counts

    def guess(self, letter: str) -> Self:
        """Guess once. A repeated guess, or a character that the text lacks, does not count."""
        if self.done or letter in self.wrong or letter not in self.alphabet:
            return self
        if letter == self.passage.hidden[len(self.guesses)]:
            return replace(self, guesses=(*self.guesses, len(self.wrong) + 1), wrong=())
        return replace(self, wrong=(*self.wrong, letter))

    def give_up_letter(self) -> Self:
        """Reveal one letter. It counts the guesses that random guessing among the characters left takes on average."""
        if self.done:
            return self
        left = len(self.alphabet) - len(self.wrong)
        return replace(
            self,
            guesses=(*self.guesses, len(self.wrong) + (left + 1) / 2),
            wrong=(),
            revealed=self.revealed | {len(self.guesses)},
        )

    def to_json(self) -> str:
        """Return the guesses as JSON for `restore`, without the passage."""
        stopped = bool(self.passage.after)
        return json.dumps([self.guesses, self.wrong, sorted(self.revealed), stopped], ensure_ascii=False)

    def restore(self, state: str) -> Self:
        """Return this new game with the guesses of `to_json` applied; "" applies none."""
        if not state:
            return self
        guesses, wrong, revealed, stopped = json.loads(state)
        game = replace(self, guesses=tuple(guesses), wrong=tuple(wrong), revealed=frozenset(revealed))
        return game.stop() if stopped else game

    def stop(self) -> Self:
        """End the game: cut the passage to the guessed part."""
        rest = self.passage.hidden[len(self.known) :]
        return replace(self, passage=self.passage._replace(hidden=self.known, after=rest), wrong=())


class Bounds(NamedTuple):
    """Bounds of the bits that a letter carries for the player."""

    lower: float
    upper: float

    @property
    def middle(self) -> float:
        return (self.lower + self.upper) / 2


def bits_from_guesses(counts: ArrayLike) -> Bounds:
    """Return Shannon's bounds from the counts of letters found at the first guess, the second, ... (1951, equation 17).

    A second player who guesses alike can rebuild the text from these numbers, so they hold all of its information.
    With q_i the share of letters found at the i-th guess, in descending order,

        sum of i (q_i - q_i+1) log2 i  <=  bits a letter  <=  - sum of q_i log2 q_i

    Raises ValueError without counts.
    """
    counts = np.sort(np.asarray(counts, dtype=np.float64))[::-1]
    counts = counts[counts > 0]
    if not len(counts):
        raise ValueError("nothing was guessed, so nothing can be told")
    q = counts / counts.sum()
    upper = -float((q * np.log2(q)).sum())
    rank = np.arange(1, len(q) + 1)
    lower = float((rank * (q - np.append(q[1:], 0)) * np.log2(rank)).sum())
    return Bounds(lower, max(lower, upper))  # equal except for rounding if all guesses are equally frequent


class Play(NamedTuple):
    """A model's result on a passage of R letters."""

    bits: np.ndarray  # (R,), -log2 of each letter's probability
    guesses: np.ndarray  # (R,), each letter's rank by probability, from 1


def judged(beliefs: ArrayLike, targets: ArrayLike) -> Play:
    """Score the letters (R,) of a passage under probabilities (R, V)."""
    beliefs, targets = np.asarray(beliefs, dtype=np.float64), np.asarray(targets)
    own = np.take_along_axis(beliefs, targets[:, None], axis=1)  # (R, 1)
    return Play(-np.log2(np.maximum(own[:, 0], 1e-300)), 1 + (beliefs > own).sum(axis=1))


def play_by_counting(ids: ArrayLike, start: int, length: int, vocab_size: int) -> Play:
    """Play with the pairs counted in the training part of a text (N,)."""
    ids = np.asarray(ids)
    train = ids[: split_point(len(ids), VAL_FRACTION)]
    before, targets = ids[start - 1 : start + length - 1], ids[start : start + length]
    return judged(pair_probabilities(train, before, vocab_size), targets)


def play_by_model(model: GPT | Bigram, ids: Tensor, start: int, length: int) -> Iterator[Progress[Play | None]]:
    """Play with a model on a text (N,). For each letter it reads only the text before, so no model can look ahead."""
    size = min(model.block_size, start, _LONGEST_CONTEXT)
    rows = torch.stack([ids[place - size : place] for place in range(start, start + length)])  # (R, T)
    beliefs = []
    for done, part in enumerate(rows.split(_ROWS), start=1):
        with one_thread():
            beliefs.append(compute_logits(model, part)[:, -1].float().softmax(dim=-1).cpu())  # (rows, V)
        total = -(-length // _ROWS)
        yield Progress(done, total, judged(torch.cat(beliefs), ids[start : start + length]) if done == total else None)
