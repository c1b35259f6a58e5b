"""Tasks with a right answer: problems made by a program, one per line: question, separator, answer, newline.

The text is always the same. No problem occurs twice, so the validation part, at the end of a text, is never trained on.
Only answers count in the loss. `TASKS` lists the tasks, and `core.text.corpora` their texts.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from string import ascii_lowercase, ascii_uppercase, digits
from typing import NamedTuple

from core.errors import TextError
from core.text.generated import repeats
from core.text.tokenizers import Tokenizer

END = "\n"
MODULUS = 59  # a prime; each number is one character
NUMBERS = (digits + ascii_lowercase + ascii_uppercase)[:MODULUS]
_BRACKETS = dict(zip("([{", ")]}", strict=True))
_MARKOV_BITS = 1.75  # entropy of 1/2, 1/4, 1/8, 1/8
_MARKOV_LENGTH = 300_000


class AnswerTokens(NamedTuple):
    """The ids of the tokens that enclose an answer; `end`, which ends the problem, is part of the answer."""

    separator: int
    end: int


@dataclass(frozen=True)
class Task:
    """One task."""

    name: str  # the name of its text
    title: str
    description: str
    text: Callable[[], str]
    characters: int  # of the whole text
    longest: int  # characters of the longest problem, including the newline; 0 if there are no problems
    separator: str = "="  # between question and answer; "" if every token counts
    floor: float = 0.0  # lowest possible loss, nats/token: the entropy of a predicted token; 0 for certain answers
    numbers: str = ""  # the characters that stand for 0, 1, 2 and so on, if each number is one character


def task_of(corpus: str) -> Task | None:
    """Return the task whose text is called `corpus`; None for any other text."""
    return TASKS.get(corpus)


def asks(corpus: str, text: str) -> bool:
    """Return whether a text ends within an answer of the task `corpus`; False for any other text."""
    task = task_of(corpus)
    return bool(task and task.separator and task.separator in text.rpartition(END)[2])


def number_ranges(task: Task) -> list[tuple[str, int]]:
    """Return the characters of each kind that stand for numbers, such as "a" to "z", and the first one's number."""
    kinds = [kind for kind in (digits, ascii_lowercase, ascii_uppercase) if kind[0] in task.numbers]
    return [("".join(c for c in kind if c in task.numbers), task.numbers.index(kind[0])) for kind in kinds]


def in_numbers(task: Task, text: str) -> str:
    """Return a line of one-character numbers with decimal numbers instead: "G+f=V" is "42 + 15 = 57"."""
    words = [str(task.numbers.index(c)) if c in task.numbers else c for c in text if not c.isspace()]
    return " ".join(words)


def answers_of(corpus: str, tokenizer: Tokenizer) -> AnswerTokens | None:
    """Return the ids that enclose a text's answers; None if every token counts. TextError if not by character."""
    task = task_of(corpus)
    if not (task and task.separator):
        return None
    _check_tokenizer(task, tokenizer.by_character)
    return AnswerTokens(*tokenizer.encode(task.separator + END))


def check_task(corpus: str, block_size: int, by_character: bool) -> None:
    """Raise TextError if a model cannot learn the task `corpus`; any other text passes.

    The context must fit the longest problem, or no answer to it could be right. Tokens must be characters.
    """
    task = task_of(corpus)
    if not (task and task.separator):
        return
    _check_tokenizer(task, by_character)
    if block_size < task.longest - 1:
        raise TextError(
            f"The longest problem of the task {task.title!r} has {task.longest} characters, so the context must have "
            f"at least {task.longest - 1} tokens, not {block_size}. Choose a longer context."
        )


def _check_tokenizer(task: Task, by_character: bool) -> None:
    if not by_character:
        raise TextError(
            f"The task {task.title!r} needs one token for each character, because a separator and a newline enclose "
            "its answers. Set the tokenizer to char, or choose another text."
        )


@lru_cache(maxsize=4)
def problems(task: Task) -> tuple[tuple[str, str], ...]:
    """Return all problems of a task in the order of its text, as questions and answers; none without a separator."""
    if not task.separator:
        return ()
    return tuple((q, a) for q, _, a in (line.partition(task.separator) for line in task.text().splitlines()))


def _distinct(count: int, draw: Callable[[random.Random], tuple[str, str]]) -> str:
    """Return `count` problems with different questions as a text."""
    rng = random.Random(0)
    drawn: dict[str, str] = {}
    while len(drawn) < count:
        question, answer = draw(rng)
        drawn.setdefault(question, answer)
    return "".join(f"{question}={answer}{END}" for question, answer in drawn.items())


def _word(rng: random.Random) -> str:
    return "".join(rng.choices(ascii_lowercase, k=rng.randint(3, 10)))


def _of_words(answer: Callable[[str], str]) -> Callable[[], str]:
    def draw(rng: random.Random) -> tuple[str, str]:
        word = _word(rng)
        return word, answer(word)

    return lambda: _distinct(30_000, draw)


def _addition(*, backwards: bool) -> str:
    def draw(rng: random.Random) -> tuple[str, str]:
        a, b = rng.randrange(1000), rng.randrange(1000)
        return f"{a}+{b}", str(a + b)[:: -1 if backwards else 1]

    return _distinct(50_000, draw)


def _modular_addition() -> str:
    """Return each pair in both orders, side by side, so that the split does not train on one and test the other."""
    pairs = [(a, b) for a in range(MODULUS) for b in range(a, MODULUS)]
    random.Random(0).shuffle(pairs)
    ordered = [numbers for a, b in pairs for numbers in dict.fromkeys(((a, b), (b, a)))]
    return "".join(f"{NUMBERS[a]}+{NUMBERS[b]}={NUMBERS[(a + b) % MODULUS]}{END}" for a, b in ordered)


def _parity() -> str:
    def draw(rng: random.Random) -> tuple[str, str]:
        bits = "".join(rng.choices("01", k=rng.randint(2, 14)))
        return bits, str(bits.count("1") % 2)

    return _distinct(15_000, draw)


def _brackets() -> str:
    def draw(rng: random.Random) -> tuple[str, str]:
        text = rng.choice("([{")
        opened = [text]
        for _ in range(rng.randint(2, 13)):
            if len(opened) > 1 and rng.random() < 0.5:  # one stays open, so that there is something to close
                text += _BRACKETS[opened.pop()]
            else:
                opened.append(rng.choice("([{"))
                text += opened[-1]
        return text, "".join(_BRACKETS[bracket] for bracket in reversed(opened))

    return _distinct(40_000, draw)


def brackets_to_close(question: str) -> list[int]:
    """Return the positions of the brackets that are never closed, the innermost first."""
    opened: list[int] = []
    for at, bracket in enumerate(question):
        if bracket in _BRACKETS:
            opened.append(at)
        else:
            opened.pop()
    return opened[::-1]


def _markov() -> str:
    """Return letters that each depend only on the one before: four may follow, with 1/2, 1/4, 1/8 and 1/8."""
    rng, letters = random.Random(0), "abcdefgh"
    followers: dict[str, list[str]] = {}
    for letter in letters:
        likely, second, *rare = rng.sample(letters, 4)
        followers[letter] = [likely] * 4 + [second] * 2 + rare
    text = ["a"]
    for _ in range(_MARKOV_LENGTH - 1):
        text.append(followers[text[-1]][rng.getrandbits(3)])
    return "".join(text)


TASKS = {
    task.name: task
    for task in (
        Task(
            "addition",
            "Addition",
            "Sums of two numbers below 1,000. The first digit of an answer may depend on every carry.",
            lambda: _addition(backwards=False),
            characters=613_634,
            longest=13,
        ),
        Task(
            "addition-backwards",
            "Addition, answer backwards",
            "The same sums with the last digit first: each digit needs only two others and a carry.",
            lambda: _addition(backwards=True),
            characters=613_634,
            longest=13,
        ),
        Task(
            "modular-addition",
            f"Addition modulo {MODULUS}",
            f"All sums of two numbers below {MODULUS}, modulo {MODULUS}; each number is one character. A small model "
            "memorizes first and generalizes later (grokking, Power 2022).",
            _modular_addition,
            characters=20_886,
            longest=6,
            numbers=NUMBERS,
        ),
        Task(
            "copy",
            "Copy",
            "Words of random letters, to be repeated.",
            _of_words(str),
            characters=452_682,
            longest=22,
        ),
        Task(
            "reverse",
            "Reverse",
            "Words of random letters, to be written from the last letter to the first.",
            _of_words(lambda word: word[::-1]),
            characters=452_682,
            longest=22,
        ),
        Task(
            "sort",
            "Sort",
            "Words of random letters, to be written in the order of the alphabet.",
            _of_words(lambda word: "".join(sorted(word))),
            characters=452_682,
            longest=22,
        ),
        Task(
            "parity",
            "Parity",
            "Up to 14 bits; the answer is 1 if the number of ones is odd. Hard to learn: every bit counts.",
            _parity,
            characters=229_557,
            longest=17,
        ),
        Task(
            "brackets",
            "Balanced brackets",
            "Brackets of three kinds; the answer closes those that are still open, the last one first.",
            _brackets,
            characters=647_892,
            longest=30,
        ),
        Task(
            "markov",
            "Markov chain",
            f"Each letter depends on the one before. No model gets below the entropy, {_MARKOV_BITS} bits per letter.",
            _markov,
            characters=_MARKOV_LENGTH,
            longest=0,
            separator="",
            floor=_MARKOV_BITS * math.log(2),
        ),
        Task(
            "repeats",
            "Words written twice",
            "Random letters, each word twice. Only a model that looks back can predict the second one (induction).",
            repeats,
            characters=759_590,
            longest=50,
            separator=" ",
        ),
    )
}
