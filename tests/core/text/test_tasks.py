"""Tasks with a right answer: their texts, the tokens that count in the loss, and what is refused."""

import itertools
import math
from collections import Counter
from functools import cache

import pytest
import torch

from core.config import RunConfig
from core.errors import TextError
from core.runs.ancestry import check_startable
from core.text.batches import IGNORED, answer_targets, fixed_windows, problem_starts, random_batch, split_ids
from core.text.corpora import find_corpus
from core.text.tasks import MODULUS, NUMBERS, TASKS, Task, answers_of, check_task, problems
from core.text.tokenizers import CharTokenizer

ANSWERED = [task for task in TASKS.values() if task.separator]


@cache  # sampling the problems takes up to a second
def text_of(task: Task) -> str:
    return task.text()


def closes(question: str, answer: str) -> bool:
    text = question + answer
    for _ in range(len(text) // 2):
        for pair in ("()", "[]", "{}"):
            text = text.replace(pair, "")
    return text == ""


RIGHT = {
    "addition": lambda q, a: sum(map(int, q.split("+"))) == int(a),
    "addition-backwards": lambda q, a: sum(map(int, q.split("+"))) == int(a[::-1]),
    "modular-addition": lambda q, a: (NUMBERS.index(q[0]) + NUMBERS.index(q[2])) % MODULUS == NUMBERS.index(a),
    "copy": lambda q, a: q == a,
    "reverse": lambda q, a: q == a[::-1],
    "sort": lambda q, a: sorted(q) == list(a),
    "parity": lambda q, a: sum(map(int, q)) % 2 == int(a),
    "brackets": closes,
    "repeats": lambda q, a: q == a,
}


@pytest.mark.parametrize("task", ANSWERED, ids=lambda task: task.name)
def test_every_answer_is_right_and_no_problem_occurs_twice(task):
    text = text_of(task)
    assert text == task.text() and text.endswith("\n")
    assert task.longest == max(map(len, text.splitlines())) + 1
    solved = problems(task)
    assert len({question for question, _ in solved}) == len(solved) == text.count("\n")
    assert all(text.count(mark) == len(solved) for mark in task.separator)
    assert all(RIGHT[task.name](question, answer) for question, answer in solved)


def test_modular_addition_has_all_sums_and_keeps_both_orders_in_one_split():
    solved = problems(TASKS["modular-addition"])
    assert len(solved) == MODULUS**2
    half = len(solved) // 2
    sides = [{frozenset(question) for question, _ in part} for part in (solved[: half - 1], solved[half + 1 :])]
    assert not sides[0] & sides[1]


def test_the_loss_floor_of_the_markov_task_is_its_entropy():
    task = TASKS["markov"]
    text = text_of(task)
    pairs, singles = Counter(itertools.pairwise(text)), Counter(text[:-1])
    measured = -sum(n * math.log(n / singles[pair[0]]) for pair, n in pairs.items()) / (len(text) - 1)
    assert task.floor == pytest.approx(1.75 * math.log(2))
    assert measured == pytest.approx(task.floor, abs=2e-3)


def test_only_answer_tokens_are_targets_and_every_window_starts_with_a_problem():
    text = "1+1=2\n10+2=12\n5+5=10\n7+1=8\n2+2=4\n"
    tokenizer = CharTokenizer.from_text(text)
    answers = answers_of("addition", tokenizer)
    ids = torch.tensor(tokenizer.encode(text))
    starts = problem_starts(ids, 11, answers)
    assert starts.tolist() == [6, 14, 21]  # not the first line, which may be cut
    windows = fixed_windows(ids, 11, 3, starts)
    x, y = windows[:, :-1], windows[:, 1:]
    counted = [tokenizer.decode(row[row != IGNORED]) for row in answer_targets(x, y, answers)]
    assert counted == ["12\n", "10\n8", "8\n4\n"]
    x, _ = random_batch(ids, 50, 11, torch.Generator().manual_seed(0), starts=starts)
    assert {tokenizer.decode(row[:4]) for row in x} == {"10+2", "5+5=", "7+1="}


def test_a_task_is_refused_with_too_short_a_context_or_another_tokenizer(tmp_path):
    config = RunConfig().replace({"data.corpus": "addition", "model.block_size": 12})
    assert check_startable(tmp_path, config) == len("0123456789+=\n")
    with pytest.raises(TextError, match="has 13 characters, so the context must have at least 12 tokens, not 11"):
        check_startable(tmp_path, config.replace({"model.block_size": 11}))
    with pytest.raises(TextError, match="needs one token for each character"):
        check_task("addition", 64, by_character=False)
    check_task("markov", 2, by_character=False)
    with pytest.raises(TextError, match="No problem in this part"):
        problem_starts(torch.ones(20, dtype=torch.int64), 4, answers_of("addition", CharTokenizer.from_text("\n=")))


@pytest.mark.parametrize("task", ANSWERED, ids=lambda task: task.name)
def test_validation_problems_are_never_trained_on(task):
    text = text_of(task)
    tokenizer = CharTokenizer.from_text(text)
    train, val = split_ids(torch.from_numpy(tokenizer.encode_array(text)), 0.1)
    first = problem_starts(val, task.longest, answers_of(task.name, tokenizer))[0]
    tested, trained = (tokenizer.decode(ids.tolist()) for ids in (val[first:], train))
    assert tested and not set(tested.splitlines()) & set(trained.splitlines())


def test_the_catalogue_has_every_task(tmp_path):
    for task in TASKS.values():
        corpus = find_corpus(task.name, tmp_path)
        assert (corpus.title, corpus.characters) == (task.title, len(text_of(task)))
