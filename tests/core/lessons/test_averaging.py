import pytest
import torch

from core.lessons.averaging import average_by_loop, average_by_matrix, average_by_softmax, softmax_weights, triangle


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (8, 2), (40, 5)])
def test_the_three_ways_are_one(shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    expected = x.cumsum(dim=0) / torch.arange(1, len(x) + 1)[:, None]
    for average in (average_by_loop, average_by_matrix, average_by_softmax):
        torch.testing.assert_close(average(x), expected)


def test_equal_scores_give_the_triangle_and_others_still_hide_the_future():
    torch.testing.assert_close(softmax_weights(torch.full((6, 6), 3.0)), triangle(6))
    weights = softmax_weights(torch.randn(6, 6, generator=torch.Generator().manual_seed(1)))
    assert not weights.triu(1).any()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(6))
