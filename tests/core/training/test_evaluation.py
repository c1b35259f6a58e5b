import itertools
import math

import pytest
import torch
from torch.nn import functional as F

from core.config import ModelConfig
from core.model import build_model
from core.presets import preset
from core.text.batches import split_ids
from core.text.corpora import load_corpus
from core.text.ngrams import count_baselines
from core.text.tasks import AnswerTokens
from core.text.tokenizers import ByteTokenizer, CharTokenizer
from core.training.evaluation import (
    bits_per_byte,
    bytes_per_token,
    mean_loss,
    run_baselines,
    score,
    whole_split_loss,
    write_answers,
)

CONFIG = ModelConfig(n_layer=1, n_head=2, n_embd=16, block_size=8, dropout=0.3)


@pytest.fixture
def model():
    return build_model(CONFIG, vocab_size=7)


def plain_loss(model, window):
    """Return the summed loss over one window, computed plainly."""
    model.eval()
    with torch.no_grad():
        logits, _ = model(window[None, :-1])
    return F.cross_entropy(logits[0], window[1:], reduction="sum").item()


@pytest.mark.parametrize("batch_size", [1, 4, 10, 64])
def test_mean_loss_counts_every_token_once_for_any_batch_size(model, batch_size):
    windows = torch.randint(7, (10, 9))
    expected = sum(plain_loss(model, window) for window in windows) / 80
    assert mean_loss(model, windows, batch_size) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("length", [2, 8, 9, 10, 41, 47])
def test_whole_split_loss_predicts_every_token_once(model, length):
    ids = torch.randint(7, (length,))
    expected = sum(plain_loss(model, ids[i : i + 9]) for i in range(0, length - 1, 8)) / (length - 1)
    assert whole_split_loss(model, ids, batch_size=3) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_task_loss_averages_answer_tokens_and_accuracy_counts_whole_answers(model, batch_size):
    """Tokens: 0 ends a problem, 1 is the separator; the answers to 2, 3 and 4 are "2", "3 3" and "4 4 4"."""
    lines = [[2, 1, 2, 0], [3, 1, 3, 3, 0], [4, 1, 4, 4, 4, 0]]
    rows = [[*lines[i], *lines[j]][:9] for i, j in ([0, 1], [1, 0], [2, 0], [2, 1], [0, 2])]
    windows, answers = torch.tensor(rows), AnswerTokens(separator=1, end=0)
    total, tokens, right, whole = 0.0, 0, 0, 0
    model.eval()
    with torch.no_grad():
        for row in rows:
            logits, _ = model(torch.tensor([row[:-1]]))
            inside, correct = False, True
            for position, (before, target) in enumerate(itertools.pairwise(row)):
                inside = (inside or before == 1) and before != 0
                if inside:
                    total += F.cross_entropy(logits[0, position], torch.tensor(target)).item()
                    tokens += 1
                    correct = correct and int(logits[0, position].argmax()) == target
                    if target == 0:
                        whole, right, correct = whole + 1, right + correct, True
    measured = score(model, windows, batch_size, answers)
    assert measured.loss == pytest.approx(total / tokens, rel=1e-5)
    assert measured.accuracy == right / whole and whole == 7


def test_greedily_written_answers_agree_with_the_accuracy(model):
    """A bigram whose table predicts the next token of the right answers writes them; a changed answer is wrong."""
    bigram = build_model(ModelConfig(kind="bigram", block_size=4), vocab_size=7)
    with torch.no_grad():
        bigram.token_embedding_table.weight.copy_(torch.eye(7) + 5 * torch.eye(7)[[0, 2, 0, 3, 4, 5, 6]])
    windows, answers = torch.tensor([[3, 1, 2, 0, 3], [4, 1, 2, 0, 3]]), AnswerTokens(separator=1, end=0)
    assert score(bigram, windows, 2, answers).accuracy == 1
    assert write_answers(bigram, windows, answers, 1) == [([3, 1], [2], [2])]
    windows[1, 2] = 5
    assert score(bigram, windows, 2, answers).accuracy == 0.5
    assert write_answers(bigram, windows, answers, 2)[1] == ([4, 1], [5], [2])


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_leaves_mode_rng_and_gradients_unchanged(model, training):
    model.train(training)
    rng, windows = torch.get_rng_state(), torch.randint(7, (6, 9))
    torch.set_rng_state(rng)
    first = mean_loss(model, windows, 4)
    assert mean_loss(model, windows, 4) == first
    assert model.training is training
    assert torch.equal(torch.get_rng_state(), rng)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_run_baselines_use_the_same_tokens_as_the_validation_loss(tmp_path):
    config = preset("gpt-quick")
    text = load_corpus("shakespeare", tmp_path)
    tokenizer = CharTokenizer.from_text(text)
    train, val = split_ids(torch.from_numpy(tokenizer.encode_array(text)), config.data.val_fraction)
    assert run_baselines(config, train, val, tokenizer.vocab_size).trigram == pytest.approx(2.032, abs=1e-3)
    whole = count_baselines(train, val, tokenizer.vocab_size)
    assert whole.trigram == pytest.approx(
        2.0705, abs=5e-4
    )  # the loss on the whole split is higher than on these 4,096 tokens


def test_evaluation_without_windows_or_tokens_is_an_error(model):
    with pytest.raises(ValueError, match="no windows"):
        mean_loss(model, torch.empty(0, 9, dtype=torch.int64), 4)
    with pytest.raises(ValueError, match="two tokens at least, not 1"):
        whole_split_loss(model, torch.zeros(1, dtype=torch.int64))


def test_bits_per_byte_uses_the_bytes_of_the_predicted_tokens():
    text = "Straße, naïve – 世界! " * 9
    config = preset("bigram").replace({"model.block_size": 8, "train.eval_windows": 3})
    for tokenizer in (CharTokenizer.from_text(text), ByteTokenizer.from_text(text)):
        ids = torch.from_numpy(tokenizer.encode_array(text))
        starts = [0, (len(ids) - 9) // 2, len(ids) - 9]
        parts = [tokenizer.decode(ids[start + 1 : start + 9]) for start in starts] if tokenizer.by_character else []
        size = sum(len(part.encode()) for part in parts) / 24 or 1
        assert bytes_per_token(config, ids, tokenizer) == pytest.approx(size)
        assert bits_per_byte(2.0, size) == pytest.approx(2.0 * 24 / math.log(2) / (24 * size))
