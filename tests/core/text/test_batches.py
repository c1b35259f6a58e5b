import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.errors import TextError
from core.text.batches import fixed_windows, predicted_positions, random_batch, split_ids


def test_split_ids_splits_tiny_shakespeare_as_nanogpt_does():
    train, val = split_ids(torch.arange(1_115_394), 0.1)
    assert (len(train), len(val)) == (1_003_854, 111_540)  # as published for Tiny Shakespeare
    assert train[-1] + 1 == val[0]


def test_targets_are_the_inputs_shifted_by_one():
    ids = torch.arange(1000) * 3
    x, y = random_batch(ids, 32, 16, torch.Generator().manual_seed(0))
    assert x.shape == y.shape == (32, 16)
    assert x.dtype == y.dtype == torch.int64
    assert x.is_contiguous() and y.is_contiguous()
    assert torch.equal(y, x + 3)


def test_random_batch_depends_only_on_its_generator():
    ids = torch.arange(1000)
    first, _ = random_batch(ids, 8, 4, torch.Generator().manual_seed(5))
    state = torch.random.get_rng_state()
    again, _ = random_batch(ids, 8, 4, torch.Generator().manual_seed(5))
    other, _ = random_batch(ids, 8, 4, torch.Generator().manual_seed(6))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(state, torch.random.get_rng_state())


def test_every_possible_window_is_sampled():
    x, y = random_batch(torch.arange(7), 500, 4, torch.Generator().manual_seed(0))
    assert set(x[:, 0].tolist()) == {0, 1, 2}
    assert y.max() == 6


def test_a_split_of_exactly_one_window_is_enough():
    x, y = random_batch(torch.arange(5), 2, 4, torch.Generator())
    assert x.tolist() == [[0, 1, 2, 3]] * 2 and y.tolist() == [[1, 2, 3, 4]] * 2


def test_small_integer_ids_become_int64():
    x, _ = random_batch(torch.arange(100, dtype=torch.uint8), 2, 4, torch.Generator())
    assert x.dtype == fixed_windows(torch.arange(100, dtype=torch.uint8), 4, 3).dtype == torch.int64


@pytest.mark.parametrize("length", [0, 1, 4])
def test_a_split_shorter_than_a_context_is_refused(length):
    sentence = f"has {length} tokens, but a context of 4 needs at least 5"
    with pytest.raises(TextError, match=sentence):
        random_batch(torch.arange(length), 2, 4, torch.Generator())
    with pytest.raises(TextError, match=sentence):
        fixed_windows(torch.arange(length), 4, 2)


@given(st.integers(3, 400), st.integers(2, 30), st.integers(1, 60))
def test_fixed_windows_are_distinct_evenly_spaced_and_reach_both_ends(length, block_size, count):
    if length <= block_size:
        return
    windows = fixed_windows(torch.arange(length), block_size, count)
    starts = windows[:, 0]
    assert windows.shape == (min(count, length - block_size), block_size + 1)
    assert torch.equal(windows, starts[:, None] + torch.arange(block_size + 1))
    assert starts[0] == 0
    gaps = starts.diff()
    assert torch.equal(predicted_positions(length, block_size, count), windows[:, 1:])
    if len(gaps):
        assert gaps.min() >= 1 and gaps.max() - gaps.min() <= 1
        assert windows[-1, -1] == length - 1
