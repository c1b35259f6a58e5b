"""The bigram lesson computes the same as the lab and as a hand calculation."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from core.interpretability import finish
from core.interpretability.embeddings import compare_tables
from core.lessons.bigram import (
    as_probabilities,
    character_ids,
    count_pairs,
    cross_entropy_steps,
    decode,
    distance,
    encode,
    examples,
    gradient_step,
    gradient_steps,
    greedy_ids,
    most_frequent,
    new_bigram,
    next_character_counts,
    ngram_loss,
    ngram_losses,
    repeated_cycle,
    rows_needed,
    sample_ids,
    train_bigram,
    vocabulary_of,
)
from core.text.batches import random_batch
from core.text.ngrams import count_baselines
from core.text.tokenizers import CharTokenizer
from core.training.evaluation import whole_split_loss

TEXT = "the cat sat on the mat; the rat ate the hat.\n" * 60
TOKENIZER = CharTokenizer.from_text(TEXT)
IDS = torch.tensor(TOKENIZER.encode(TEXT))
V = TOKENIZER.vocab_size


@given(st.text(max_size=60))
def test_encode_and_decode_match_the_char_tokenizer(text):
    id_of = character_ids(vocabulary_of(text))
    assert encode(text, id_of) == CharTokenizer.from_text(text).encode(text)
    assert decode(encode(text, id_of), vocabulary_of(text)) == text


def test_encode_skips_unknown_characters():
    assert encode("axb", {"a": 0, "b": 1}) == [0, 1]


def test_most_frequent_sorts_characters_by_count_descending():
    assert most_frequent("abbccc") == [("c", 3), ("b", 2), ("a", 1)]


def test_a_sequence_yields_one_training_example_per_position():
    assert examples([5, 6, 7], [6, 7, 8]) == [([5], 6), ([5, 6], 7), ([5, 6, 7], 8)]


def test_pair_counts_and_distance_match_the_bigram_table_comparison():
    model = new_bigram(V)
    tables = compare_tables(model, IDS.numpy())
    counts = count_pairs(IDS, V)
    counted = as_probabilities(counts)
    assert counts.sum() == len(IDS) - 1
    assert torch.allclose(counted, torch.from_numpy(tables.counted), atol=1e-6)
    share = tables.row_counts / tables.row_counts.sum()
    assert distance(model.table(), counted, counts) == pytest.approx(
        float(share @ abs(tables.difference).sum(axis=1) / 2), abs=1e-5
    )


def test_a_row_without_counts_becomes_a_uniform_distribution():
    assert as_probabilities(torch.tensor([[3.0, 1.0], [0.0, 0.0]])).tolist() == [[0.75, 0.25], [0.5, 0.5]]


@given(st.lists(st.floats(-20, 20, width=32), min_size=2, max_size=9), st.integers(0, 8))
def test_cross_entropy_steps_match_torch_cross_entropy(scores, target):
    logits, target = torch.tensor(scores), target % len(scores)
    worked = cross_entropy_steps(logits, target)
    assert worked.loss == pytest.approx(F.cross_entropy(logits[None], torch.tensor([target])).item(), abs=1e-4)
    assert worked.probability == pytest.approx(worked.power / worked.total)


def test_an_untrained_bigram_has_loss_ln_vocabulary_size():
    assert whole_split_loss(new_bigram(V), IDS) == pytest.approx(math.log(V), abs=0.01)


def test_gradient_step_matches_the_analytic_gradient():
    model, rate = new_bigram(V), 7.0
    x, y = random_batch(IDS, 2, 8, torch.Generator().manual_seed(1))
    scores, table = model.token_embedding_table.weight.detach().clone(), model.table()
    gradient = torch.zeros(V, V)
    for read, came in zip(x.flatten().tolist(), y.flatten().tolist(), strict=True):
        gradient[read] += table[read] / x.numel()  # the predicted probabilities, minus the target
        gradient[read, came] -= 1 / x.numel()
    before = F.cross_entropy(scores[x].flatten(0, 1), y.flatten()).item()
    assert gradient_step(model, x, y, rate) == pytest.approx(before)
    assert torch.allclose(model.token_embedding_table.weight, scores - rate * gradient, atol=1e-6)


def test_gradient_steps_change_only_rows_of_input_tokens_and_are_reproducible():
    x, y = random_batch(IDS, 2, 8, torch.Generator().manual_seed(1))
    untouched, one, two = (gradient_steps(V, x, y, 5.0, steps, seed=3) for steps in (0, 1, 2))
    assert untouched.changed.sum() == 0 and torch.equal(untouched.before, untouched.after)
    assert one.changed.nonzero().flatten().tolist() == sorted(set(x.flatten().tolist()))
    assert torch.equal(one.before, untouched.before)
    assert untouched.losses == one.losses[:1] and one.losses == two.losses[:2]
    assert two.losses[2] < two.losses[1] < two.losses[0]


def test_training_converges_to_the_counted_table_and_is_reproducible():
    def trained():
        model = new_bigram(V, seed=5)
        return model, list(train_bigram(model, IDS, steps=400, batch_size=32, learning_rate=0.05, seed=5))

    model, steps = trained()
    assert [step for step, _ in steps] == list(range(1, 401))
    assert trained()[1] == steps
    assert steps[0][1] == pytest.approx(math.log(V), abs=0.05)
    counts = count_pairs(IDS, V)
    assert distance(model.table(), as_probabilities(counts), counts) < 0.05
    assert whole_split_loss(model, IDS) < count_baselines(IDS, IDS, V).bigram + 0.1


def test_sampling_repeats_with_the_same_seed_and_greedy_decoding_ends_in_a_cycle():
    model = new_bigram(V)
    for _ in train_bigram(model, IDS, steps=200, batch_size=32, learning_rate=0.05, seed=1):
        pass
    start = IDS[:3]
    written = sample_ids(model, start, 50, seed=4)
    assert len(written) == 53 and written[:3].tolist() == start.tolist()
    assert (
        written.tolist()
        == sample_ids(model, start, 50, seed=4).tolist()
        != sample_ids(model, start, 50, seed=5).tolist()
    )
    likeliest = greedy_ids(model, start, 3 * V)
    table = model.table()
    assert all(table[a].argmax() == b for a, b in zip(likeliest[2:-1].tolist(), likeliest[3:].tolist(), strict=True))
    assert repeated_cycle(likeliest)


def test_repeated_cycle_finds_the_shortest_cycle():
    assert repeated_cycle(torch.tensor([9, 1, 2, 1, 2])) == [1, 2]
    assert repeated_cycle(torch.tensor([3, 3, 3])) == [3]
    assert repeated_cycle(torch.tensor([1, 2, 3])) == []


def test_ngram_loss_without_context_uses_smoothed_character_frequencies():
    # Counts: a twice, b once, and one pseudo-count shared by both.
    expected = -(2 * math.log((2 + 0.5) / 4) + math.log((1 + 0.5) / 4)) / 3
    assert ngram_loss("aab", "aba", 0, 2) == pytest.approx(expected)


def test_ngram_loss_on_an_unseen_context_is_that_of_a_uniform_guess():
    assert ngram_loss("aaaa", "xy", 1, 4) == pytest.approx(math.log(4))


def test_a_longer_ngram_context_always_lowers_the_training_loss():
    cut = len(TEXT) * 9 // 10
    losses = finish(ngram_losses(TEXT[:cut], TEXT[cut:], V, 4))
    on_train = [both[0] for both in losses]
    assert len(losses) == 5 and on_train == sorted(on_train, reverse=True)
    assert losses[2] == (
        ngram_loss(TEXT[:cut], TEXT[: len(TEXT) - cut], 2, V), ngram_loss(TEXT[:cut], TEXT[cut:], 2, V)
    )  # fmt: skip


def test_next_character_counts_include_overlapping_matches():
    assert next_character_counts("aaab aac", "aa") == {"a": 1, "b": 1, "c": 1}
    assert next_character_counts("abc", "c") == {} == next_character_counts("abc", "xyz")
    assert rows_needed(65, 3) == 274_625
