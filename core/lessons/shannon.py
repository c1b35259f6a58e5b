"""Shannon's game: how many bits does a letter carry for somebody who has read what stands before it?

Claude Shannon had people guess an unknown text letter by letter, and counted how many guesses each letter took
("Prediction and Entropy of Printed English", 1951). A language model plays the same game with probabilities.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
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

VAL_FRACTION = 0.1  # of a text, at its end: what runs are not trained on unless told otherwise
SHOWN = 160  # characters in front of the passage that can be read
_LONGEST_CONTEXT = 512  # characters that a model reads before each guess
_ROWS = 8  # places that a model is asked about at once


class Passage(NamedTuple):
    """A piece of text to be guessed, and what stands before it."""

    start: int  # its place in the whole text
    before: str
    hidden: str
    after: str = ""  # what nobody was asked to guess any more

    @property
    def whole(self) -> str:
        return self.before + self.hidden + self.after


def choose_passage(text: str, number: int, length: int) -> Passage:
    """The passage of that number, the same for everybody: drawn by lot from the end of the text that is kept aside.

    It begins at the beginning of a word. Raises TextError where the text is too short to be played with.
    """
    begin = split_point(len(text), VAL_FRACTION)
    if len(text) - begin < length + SHOWN:
        raise TextError(f"A text of {len(text):,} characters is too short for this game. Choose a longer one.")
    start = random.Random(number).randrange(begin + SHOWN // 2, len(text) - length + 1)
    word = next((place for place in range(start, begin, -1) if text[place - 1] in " \n" and text[place] > " "), start)
    _, space, before = text[max(0, word - SHOWN) : word].partition(" ")  # it begins with a whole word, too
    return Passage(word, before if space else text[max(0, word - SHOWN) : word], text[word : word + length])


@dataclass(frozen=True)
class Game:
    """A game as far as it has been played. Every move makes a new one.

    Attributes:
        alphabet: all characters that can come.
        guesses: how many each letter so far has taken; one that was given up counts as if it had been sought blindly.
        wrong: what was tried for the letter that is to be guessed now.
        given_up: the places whose letter was told.
    """

    passage: Passage
    alphabet: frozenset[str]
    guesses: tuple[float, ...] = ()
    wrong: tuple[str, ...] = ()
    given_up: frozenset[int] = frozenset()

    @property
    def done(self) -> bool:
        return len(self.guesses) == len(self.passage.hidden)

    @property
    def found(self) -> str:
        """The part of the passage that is known by now."""
        return self.passage.hidden[: len(self.guesses)]

    def counts(self) -> np.ndarray:
        """How many letters were found at the first guess, the second, ...: (V,), V the size of the alphabet.

        A letter given up could have come at any guess that was left: each of them gets an equal share of it.
        """
        counts = np.zeros(len(self.alphabet))
        for place, count in enumerate(self.guesses):
            if place in self.given_up:
                tried = round(2 * count) - len(self.alphabet) - 1  # `give_up_letter` turned round
                counts[tried:] += 1 / (len(self.alphabet) - tried)
            else:
                counts[int(count) - 1] += 1
        return counts

    def guess(self, letter: str) -> Self:
        """One guess. What was tried before, or is no character of the text, does not count."""
        if self.done or letter in self.wrong or letter not in self.alphabet:
            return self
        if letter == self.passage.hidden[len(self.guesses)]:
            return replace(self, guesses=(*self.guesses, len(self.wrong) + 1), wrong=())
        return replace(self, wrong=(*self.wrong, letter))

    def give_up_letter(self) -> Self:
        """Have one letter told. Seeking it blindly among those left would have taken half of them, on average."""
        if self.done:
            return self
        left = len(self.alphabet) - len(self.wrong)
        return replace(
            self,
            guesses=(*self.guesses, len(self.wrong) + (left + 1) / 2),
            wrong=(),
            given_up=self.given_up | {len(self.guesses)},
        )

    def stop(self) -> Self:
        """End here: the passage is as long as what was guessed."""
        rest = self.passage.hidden[len(self.found) :]
        return replace(self, passage=self.passage._replace(hidden=self.found, after=rest), wrong=())


class Bounds(NamedTuple):
    """Between these lies the number of bits that a letter carries for the one who guessed."""

    lower: float
    upper: float

    @property
    def middle(self) -> float:
        return (self.lower + self.upper) / 2


def bits_from_guesses(counts: ArrayLike) -> Bounds:
    """Shannon's bounds, from how many letters were found at the first guess, the second, ... (1951, equation 17).

    Whoever knew only these numbers, and thinks as the player does, could rebuild the text: so it holds no more than
    they do. With q_i the share of letters found at the i-th guess, sorted so that they fall,

        sum of i (q_i - q_i+1) log2 i  <=  bits a letter  <=  - sum of q_i log2 q_i

    Raises ValueError where no letter was found at all.
    """
    counts = np.sort(np.asarray(counts, dtype=np.float64))[::-1]
    counts = counts[counts > 0]
    if not len(counts):
        raise ValueError("nothing was guessed, so nothing can be told")
    q = counts / counts.sum()
    upper = -float((q * np.log2(q)).sum())
    rank = np.arange(1, len(q) + 1)
    lower = float((rank * (q - np.append(q[1:], 0)) * np.log2(rank)).sum())
    return Bounds(lower, max(lower, upper))  # equal but for rounding where all guesses are equally frequent


class Play(NamedTuple):
    """What a model says on a passage of R letters."""

    bits: np.ndarray  # (R,), of the letter that came: the base-2 logarithm of how unlikely it was held
    guesses: np.ndarray  # (R,), its place among all letters, the likeliest first: how many guesses it would have taken


def judged(beliefs: ArrayLike, targets: ArrayLike) -> Play:
    """The passage's letters (R,) under probabilities (R, V)."""
    beliefs, targets = np.asarray(beliefs, dtype=np.float64), np.asarray(targets)
    own = np.take_along_axis(beliefs, targets[:, None], axis=1)  # (R, 1)
    return Play(-np.log2(np.maximum(own[:, 0], 1e-300)), 1 + (beliefs > own).sum(axis=1))


def play_by_counting(ids: ArrayLike, start: int, length: int, vocab_size: int) -> Play:
    """The bigram's game: it has counted the pairs of the part of the text (N,) that runs learn from."""
    ids = np.asarray(ids)
    train = ids[: split_point(len(ids), VAL_FRACTION)]
    before, targets = ids[start - 1 : start + length - 1], ids[start : start + length]
    return judged(pair_probabilities(train, before, vocab_size), targets)


def play_by_model(model: GPT | Bigram, ids: Tensor, start: int, length: int) -> Iterator[Progress[Play | None]]:
    """A model's game on text (N,). For each letter it reads what stands before it, as much as fits, and nothing else.

    So a model without a mask cannot look ahead here either.
    """
    size = min(model.block_size, start, _LONGEST_CONTEXT)
    rows = torch.stack([ids[place - size : place] for place in range(start, start + length)])  # (R, T)
    beliefs = []
    for done, part in enumerate(rows.split(_ROWS), start=1):
        with one_thread():
            beliefs.append(compute_logits(model, part)[:, -1].float().softmax(dim=-1).cpu())  # (rows, V)
        total = -(-length // _ROWS)
        yield Progress(done, total, judged(torch.cat(beliefs), ids[start : start + length]) if done == total else None)
