"""Scores of heads that have a role by construction, and of heads that have none."""

import numpy as np
import pytest
import torch

from core.config import ModelConfig
from core.interpretability import finish
from core.interpretability.attention import attention_patterns
from core.interpretability.head_roles import (
    ROLES,
    TASK_ROLES,
    HeadScores,
    attention_by_distance,
    emergence_steps,
    name_heads,
    repeated_tokens,
    score_heads,
)
from core.model import build_model
from core.runs.gallery import gallery_runs
from core.runs.weights import load_model
from core.text.batches import fixed_windows, problem_starts
from core.text.corpora import load_ids
from core.text.tasks import TASKS, answers_of, problems
from tests.core.interpretability.conftest import make

SPACED = [*"abcdefghi", " ", "\n"]
V, T, D = 11, 12, 32  # tokens, context, head size: enough for a token and a position as one-hot vectors
WHO, WHERE, BEFORE = slice(0, 11), slice(11, 23), slice(32, 43)  # slices of a residual stream of 64 numbers
STRONG = 60 * D**0.5  # a score of 60: softmax gives such a key all the weight


@pytest.fixture
def built():
    """Two layers of two heads by hand. 1.1 previous token, 1.2 same token, 2.1 induction, 2.2 start of text."""
    config = ModelConfig(n_layer=2, n_head=2, n_embd=2 * D, block_size=T, norm="none")
    model = build_model(config, V).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.transformer.wte.weight[:, WHO] = torch.eye(V)
        model.transformer.wpe.weight[:, WHERE] = torch.eye(T)
    who, where = torch.eye(V), torch.eye(T)

    def head(layer, number):
        """Return query, key, value (D, C) and output (C, D) of one head."""
        attn = model.transformer.h[layer].attn
        rows = slice(number * D, number * D + D)
        q, k, v = (part[rows] for part in attn.c_attn.weight.split(2 * D))
        return q, k, v, attn.c_proj.weight[:, rows]

    with torch.no_grad():
        q, k, v, out = head(0, 0)  # attend to the previous position and copy its token
        q[:T, WHERE] = STRONG * torch.roll(where, -1, dims=0)
        k[:T, WHERE] = where
        v[:V, WHO] = who
        out[BEFORE, :V] = who
        q, k, _, _ = head(0, 1)  # attend to the same token at another position
        q[:V, WHO], k[:V, WHO] = STRONG * who, who
        q[V : V + T, WHERE], k[V : V + T, WHERE] = -STRONG * where, where
        q, k, _, _ = head(1, 0)  # attend to the token after an earlier copy of this token
        q[:V, WHO], k[:V, BEFORE] = STRONG * who, who
        k[:V, WHERE.start] = -1  # the first token has no predecessor and copied itself
        q, k, _, _ = head(1, 1)  # every query attends to position 0
        q[0, WHERE], k[0, WHERE] = STRONG, where[0]
    return model


@pytest.fixture
def windows():
    return torch.randint(V, (40, T + 1), generator=torch.Generator().manual_seed(3))


def test_heads_built_for_a_role_score_near_one_and_are_named(built, windows):
    scores = finish(score_heads(built, windows, SPACED))
    assert scores.shares["previous_token"][0, 0] > 0.99
    assert scores.shares["same_token"][0, 1] > 0.99
    assert scores.shares["induction"][1, 0] > 0.99
    assert scores.shares["start_of_text"][1, 1] > 0.99
    names = [[name.words for name in layer] for layer in name_heads(scores)]
    assert names == [["previous token", "same token"], ["induction", "start of text"]]


def test_attention_by_distance_averages_over_the_later_queries(built, windows):
    patterns = attention_patterns(built, windows[0, :-1].tolist())
    by_distance = attention_by_distance(patterns)
    for layer, head, distance in ((0, 0, 1), (1, 1, 3)):
        expected = np.mean([patterns[layer, head, q, q - distance] for q in range(T // 2, T)])
        assert by_distance[layer, head, distance] == pytest.approx(expected, abs=1e-6)
    assert by_distance[0, 0].argmax() == 1 and by_distance.sum(axis=-1) == pytest.approx(np.ones((2, 2)))


def test_heads_built_for_other_roles_score_low(built, windows):
    scores = finish(score_heads(built, windows, SPACED))
    assert np.delete(scores.shares["induction"].ravel(), 2).max() < 0.2
    assert np.delete(scores.shares["start_of_text"].ravel(), 3).max() < 0.2


def test_a_head_that_attends_to_the_last_space_is_a_start_of_word_head(built, windows):
    with torch.no_grad():
        attn = built.transformer.h[0].attn
        q, k = attn.c_attn.weight[:D], attn.c_attn.weight[2 * D : 3 * D]
        q.zero_(), k.zero_()
        q[0, WHERE] = STRONG  # every query attends to a space, preferably a later one
        k[0, 9] = k[0, 10] = 2
        k[0, WHERE] = torch.arange(T) / T
    spaced = windows.clone()
    spaced[torch.rand(spaced.shape, generator=torch.Generator().manual_seed(0)) < 0.2] = 9
    scores = finish(score_heads(built, spaced, SPACED))
    assert scores.shares["start_of_word"][0, 0] > 0.95
    assert name_heads(scores)[0][0].words == "start of the word"


def test_heads_of_a_random_model_have_no_role(windows):
    torch.manual_seed(1)
    model = build_model(ModelConfig(n_layer=2, n_head=2, n_embd=64, block_size=64), 65).eval()
    text = torch.randint(65, (8, 65), generator=torch.Generator().manual_seed(3))
    scores = finish(score_heads(model, text, [chr(60 + i) for i in range(64)] + [" "]))
    assert all(score.max() < 0.12 for score in scores.shares.values())
    assert scores.shares["induction"].max() < 0.05
    assert {name.role for layer in name_heads(scores) for name in layer} == {None}
    assert name_heads(scores)[0][0].words == "no clear role"


@pytest.mark.parametrize("causal", [True, False])
def test_role_scores_match_a_plain_implementation(windows, causal):
    """Compute the same in loops over every position of every window."""
    model = make(causal=causal)
    found: dict[str, list] = {"previous_token": [], "same_token": [], "start_of_text": [], "start_of_word": []}
    for window in windows[:, :-1].tolist():
        patterns = attention_patterns(model, window)
        for query in range(T):
            at = patterns[:, :, query]
            if query >= 1:
                found["previous_token"].append(at[..., query - 1])
            earlier = [key for key in range(query) if window[key] == window[query]]
            if earlier:
                found["same_token"].append(at[..., earlier].sum(axis=-1))
            if query >= 2:
                found["start_of_text"].append(at[..., 0])
            spaces = [key for key in range(query) if SPACED[window[key]].isspace()]
            if spaces and spaces[-1] < query - 1 and not SPACED[window[query]].isspace():
                found["start_of_word"].append(at[..., spaces[-1]])
    scores = finish(score_heads(model, windows, SPACED, seed=5))
    for role, values in found.items():
        np.testing.assert_allclose(scores.shares[role], np.mean(values, axis=0), atol=1e-5)
    values = []
    for window in repeated_tokens(V, 6, 16, seed=5).tolist():
        patterns = attention_patterns(model, window)
        values += [patterns[:, :, 6 + i, i + 1] for i in range(6)]
    np.testing.assert_allclose(scores.shares["induction"], np.mean(values, axis=0), atol=1e-5)


def test_score_heads_reports_complete_progress_and_is_deterministic(gpt, windows):
    steps = list(score_heads(gpt, windows, SPACED))
    assert [step.done for step in steps] == list(range(1, len(steps) + 1)) and steps[-1].total == len(steps) >= 2
    again = finish(score_heads(gpt, windows, SPACED)).shares
    for role, score in steps[-1].result.shares.items():
        np.testing.assert_array_equal(score, again[role])
        assert score.shape == (2, 2) and score.dtype == np.float32 and 0 <= score.min() <= score.max() <= 1


def test_a_role_without_applicable_positions_scores_zero(gpt):
    scores = finish(score_heads(gpt, torch.arange(11)[None], list("abcdefghijk")))
    assert not scores.shares["same_token"].any() and not scores.shares["start_of_word"].any()


@pytest.mark.parametrize(("vocab_size", "length"), [(50, 20), (20, 20), (7, 20)])
def test_repeated_tokens_contain_each_random_sequence_twice(vocab_size, length):
    pieces = repeated_tokens(vocab_size, length, 5, seed=1)
    assert pieces.shape == (5, 2 * length) and pieces.max() < vocab_size
    assert torch.equal(pieces[:, :length], pieces[:, length:])
    assert not torch.equal(pieces[0], pieces[1])
    assert torch.equal(pieces, repeated_tokens(vocab_size, length, 5, seed=1))
    if vocab_size >= length:
        assert all(len(set(piece)) == length for piece in pieces.tolist())


def test_the_strongest_role_names_a_head_and_the_threshold_decides():
    def name(*values: float, **uniform: float):
        shares = {role: np.full((1, 1), value) for role, value in zip(ROLES, values, strict=True)}
        return name_heads(HeadScores(shares, dict.fromkeys(ROLES, 0.0) | uniform))[0][0]

    assert name(0.1, 0.2, 0.29, 0.0, 0.3) == ("induction", "induction", 0.3)
    assert name(0.1, 0.2, 0.29, 0.0, 0.28) == (None, "no clear role", 0.29)
    # A score no better than that of uniform attention is no role.
    assert name(0.5, 0.2, 0.29, 0.0, 0.45, previous_token=0.4) == ("induction", "induction", 0.45)
    assert name(0.7, 0.2, 0.29, 0.0, 0.45, previous_token=0.4).role == "induction"
    assert name(0.9, 0.2, 0.29, 0.0, 0.45, previous_token=0.4).role == "previous_token"


def test_a_head_emerges_at_the_first_step_from_which_its_score_stays_high():
    scores = np.zeros((5, 1, 3))
    scores[:, 0, 0] = 0.1, 0.5, 0.2, 0.6, 0.9
    scores[:, 0, 1] = 0.1, 0.5, 0.6, 0.7, 0.29
    scores[:, 0, 2] = 0.4
    assert emergence_steps([0, 10, 20, 40, 80], scores).tolist() == [[40, -1, 0]]


ATTENDED = [  # per question and answer, the keys of each query, worked out by hand
    ("addition", "aligned_digits", "123+987", "1110", {8: [0, 4], 9: [1, 5], 10: [2, 6]}),
    ("addition", "aligned_digits", "7+45", "52", {4: [2], 5: [0, 3]}),
    ("addition", "carry_digits", "123+987", "1110", {7: [0, 4], 8: [1, 5], 9: [2, 6]}),
    ("addition", "operators", "7+45", "52", {4: [1, 4], 5: [1, 4]}),
    ("addition", "first_number", "27+45", "72", {3: [0], 4: [1]}),
    ("addition", "first_number", "7+45", "52", {3: [0]}),
    ("addition-backwards", "aligned_digits", "123+987", "0111", {7: [2, 6], 8: [1, 5], 9: [0, 4]}),
    ("addition-backwards", "carry_digits", "123+987", "0111", {8: [2, 6], 9: [1, 5], 10: [0, 4]}),
    ("addition-backwards", "operators", "7+45", "25", {4: [1, 4], 5: [1, 4]}),
    ("addition-backwards", "first_number", "27+45", "27", {3: [0], 4: [1]}),
    ("modular-addition", "both_numbers", "G+f", "V", {3: [0, 2]}),
    ("modular-addition", "first_number", "G+f", "V", {2: [0]}),
    ("modular-addition", "operators", "G+f", "V", {3: [1, 3]}),
    ("copy", "token_to_copy", "abc", "abc", {3: [0], 4: [1], 5: [2]}),
    ("repeats", "induction", "abc", "abc", {4: [1], 5: [2]}),
    ("reverse", "mirrored_token", "abc", "cba", {3: [2], 4: [1], 5: [0]}),
    ("sort", "next_in_order", "bab", "abb", {3: [1], 4: [0, 2], 5: [0, 2]}),
    ("brackets", "bracket_to_close", "([){", "})", {4: [3], 5: [0]}),
]


def test_every_task_role_has_a_test_case():
    assert {(task, role) for task, roles in TASK_ROLES.items() for role in roles} == {case[:2] for case in ATTENDED}


@pytest.mark.parametrize(("task", "role", "question", "answer", "attended"), ATTENDED)
def test_a_head_that_attends_to_the_keys_of_a_task_role_scores_one(task, role, question, answer, attended):
    """Build a head whose queries attend to the keys of the role, and all other queries to themselves."""
    problem = question + TASKS[task].separator + answer
    length, size = len(problem) + 1, 64
    model = build_model(ModelConfig(n_layer=1, n_head=1, n_embd=size, block_size=length, norm="none"), 12).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.transformer.wpe.weight[:, :length] = torch.eye(length)
        q, k, _v = model.transformer.h[0].attn.c_attn.weight.split(size)
        k[:length, :length] = torch.eye(length)
        for query in range(length):
            q[attended.get(query, [query]), query] = 60 * size**0.5
    tokens = sorted({*problem, "\n"})
    ids = torch.tensor([[tokens.index(character) for character in f"{problem}\n{question[0]}"]])
    scores = finish(score_heads(model, ids, tokens, corpus=task))
    assert scores.shares[role].item() == pytest.approx(1, abs=1e-4)
    assert scores.uniform[role] == pytest.approx(
        np.mean([len(keys) / (query + 1) for query, keys in attended.items()]), abs=1e-6
    )


@pytest.mark.parametrize("task", TASK_ROLES)
def test_task_roles_give_valid_keys_for_the_problems_of_their_task(task):
    for question, answer in problems(TASKS[task])[:200]:
        for role, attends_to in TASK_ROLES[task].items():
            for query, keys in attends_to(question, answer):
                assert keys and min(keys) >= 0 and max(keys) <= query <= len(question) + len(answer), role


@pytest.mark.parametrize(
    ("gallery", "role"), [("gallery-grokking", "both_numbers"), ("gallery-induction", "induction")]
)
def test_trained_task_models_have_the_roles_that_solve_the_task(gallery, role, tmp_path):
    (run,) = [folder for folder in gallery_runs() if folder.id == gallery]
    data, named = run.record().config.data, []
    for _step, path in (run.snapshots()[0], run.snapshots()[-1]):
        model, tokenizer = (loaded := load_model(run, path)).model, loaded.tokenizer
        ids = torch.from_numpy(load_ids(data.corpus, tokenizer, tmp_path))[-20_000:]
        starts = problem_starts(ids, model.block_size, answers_of(data.corpus, tokenizer))
        windows = fixed_windows(ids, model.block_size, 64, starts)
        scores = finish(score_heads(model, windows, tokenizer.tokens, corpus=data.corpus))
        named.append({name.role for layer in name_heads(scores) for name in layer})
    assert named[0] == {None}
    assert role in named[1]
