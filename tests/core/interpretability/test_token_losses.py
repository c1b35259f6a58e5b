import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from core.config import ModelConfig
from core.interpretability.activations import PromptError
from core.interpretability.token_losses import (
    loss_by_kind,
    loss_by_position,
    token_predictions,
    window_losses,
)
from core.model import build_model
from core.training.evaluation import mean_loss
from tests.core.interpretability.conftest import VOCAB_SIZE

WINDOWS = torch.randint(VOCAB_SIZE, (5, 13), generator=torch.Generator().manual_seed(1))
TOKENS = [*"aebcXY1", ".", " ", "\n", "é"]


@pytest.fixture(params=["gpt", "bigram"])
def model(request):
    return request.getfixturevalue(request.param)


def surprise(model, read, target):
    """Return minus the logarithm of the probability that the model gives `target` after `read`."""
    logits = model(torch.tensor([read]))[0][0, -1].detach().double()
    return float(torch.logsumexp(logits, 0) - logits[target])


def test_window_losses_are_the_negative_log_probabilities(model):
    losses = window_losses(model, WINDOWS)
    assert losses.shape == (5, 12)
    for row in (0, 4):
        window = WINDOWS[row].tolist()
        expected = [surprise(model, window[: t + 1], window[t + 1]) for t in range(12)]
        np.testing.assert_allclose(losses[row], expected, rtol=1e-4, atol=1e-4)
    assert float(losses.mean()) == pytest.approx(mean_loss(model, WINDOWS, 2), rel=1e-5)


def test_loss_by_position_is_the_mean_of_each_column(gpt):
    losses = window_losses(gpt, WINDOWS)
    np.testing.assert_allclose(loss_by_position(losses), [np.mean(losses[:, t].tolist()) for t in range(12)], rtol=1e-6)


def test_loss_by_kind_groups_losses_by_target_token():
    losses = np.array([[1.0, 2, 3], [4, 5, 6]])
    targets = np.array([[0, 2, 8], [1, 9, 6]])
    rows = loss_by_kind(losses, targets, TOKENS)
    assert [(row.kind, row.loss, row.count) for row in rows] == [
        ("vowel", 2.5, 2),
        ("consonant", 2.0, 1),
        ("digit", 6.0, 1),
        ("space", 4.0, 2),
    ]
    assert sum(row.share for row in rows) == pytest.approx(1) and rows[0].share == pytest.approx(5 / 21)


def test_predictions_of_a_short_passage_match_window_losses(model):
    passage = WINDOWS[0].tolist()
    losses = -np.log(token_predictions(model, passage).probabilities)
    np.testing.assert_allclose(losses, window_losses(model, WINDOWS[:1])[0], rtol=1e-4, atol=1e-4)
    assert token_predictions(model, passage[:2]).probabilities.shape == (1,)


@pytest.mark.parametrize("length", [14, 20, 25, 40])
def test_long_passages_are_predicted_from_at_least_half_a_context(gpt, length):
    passage = torch.randint(VOCAB_SIZE, (length,), generator=torch.Generator().manual_seed(length)).tolist()
    losses = -np.log(token_predictions(gpt, passage).probabilities)
    assert losses.shape == (length - 1,)
    starts = [*range(0, length - 13, 6), length - 13]
    for target in range(1, length):
        begun = min(start for start in starts if start + 12 >= target)
        assert target <= 12 or target - begun >= 6
        assert losses[target - 1] == pytest.approx(surprise(gpt, passage[begun:target], passage[target]), abs=1e-4)


@pytest.mark.parametrize("length", [2, 12, 30])
def test_token_predictions_include_the_likeliest_alternatives(model, length):
    passage = torch.randint(VOCAB_SIZE, (length,), generator=torch.Generator().manual_seed(length)).tolist()
    found = token_predictions(model, passage, alternatives=3)
    assert found.alternatives.shape == found.shares.shape == (length - 1, 3)
    for target in range(1, min(length, 12)):
        beliefs = model(torch.tensor([passage[:target]]))[0][0, -1].detach().softmax(dim=-1).numpy()
        assert found.alternatives[target - 1].tolist() == np.argsort(-beliefs)[:3].tolist()
        np.testing.assert_allclose(found.shares[target - 1], np.sort(beliefs)[::-1][:3], rtol=1e-3)


def test_predicting_a_single_token_passage_is_refused(model):
    with pytest.raises(PromptError, match="write at least two characters"):
        token_predictions(model, [3])


def test_logits_of_a_large_vocabulary_are_computed_in_parts():
    """Losses computed per position or all at once are the same; all the logits at once would take 200 MB here."""
    torch.manual_seed(0)
    large = build_model(ModelConfig(n_layer=1, n_head=1, n_embd=8, block_size=1024), 50_257).eval()
    windows = torch.randint(50_257, (1, 1025))
    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), named=None):
            nonlocal largest
            made = function(*arguments, **(named or {}))
            if isinstance(made, torch.Tensor):
                largest = max(largest, made.numel())
            return made

    with Watch():
        losses = window_losses(large, windows)
        found = token_predictions(large, windows[0].tolist())
    assert largest <= 2**23
    for place in (0, 165, 166, 1023):
        expected = surprise(large, windows[0, : place + 1].tolist(), int(windows[0, place + 1]))
        assert float(losses[0, place]) == pytest.approx(expected, abs=1e-4)
        assert -np.log(found.probabilities[place]) == pytest.approx(expected, abs=1e-4)
