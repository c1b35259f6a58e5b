import numpy as np
import pytest
import torch

from core.inspection.prediction import next_token_probabilities
from core.inspection.recording import PromptError
from tests.core.inspection.conftest import VOCAB_SIZE


@pytest.mark.parametrize("kind", ["gpt", "bigram"])
def test_they_are_the_softmax_of_the_last_logits(kind, request):
    model = request.getfixturevalue(kind)
    probabilities = next_token_probabilities(model, [3, 1, 4])
    expected = model(torch.tensor([[3, 1, 4]]))[0][0, -1].softmax(dim=-1).detach().numpy()
    assert probabilities.shape == (VOCAB_SIZE,)
    np.testing.assert_allclose(probabilities, expected, rtol=1e-5)
    assert probabilities.sum() == pytest.approx(1)


def test_only_the_context_is_read(gpt):
    ids = [i % VOCAB_SIZE for i in range(30)]
    np.testing.assert_array_equal(next_token_probabilities(gpt, ids), next_token_probabilities(gpt, ids[-12:]))


def test_no_prompt_is_a_sentence(gpt):
    with pytest.raises(PromptError, match="write at least one character"):
        next_token_probabilities(gpt, [])
