"""The loss of a model on text, computed without side effects."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from core.config import RunConfig, TrainConfig
from core.model import GPT, Bigram, evaluating
from core.sampling import generate_together
from core.sampling_config import GenerationConfig
from core.text.batches import IGNORED, answer_targets, predicted_positions, problem_starts
from core.text.ngrams import Baselines, count_baselines
from core.text.tasks import AnswerTokens
from core.text.tokenizers import Tokenizer
from core.training.data_parallel import SINGLE, ProcessGroup

_TOKENS_AT_ONCE = 2048  # larger batches run faster, but small batches in training suggest little memory
COUNTED = 20_000_000  # tokens: pairs and triples of more are hardly better known, and take minutes
LOGITS_AT_ONCE = 2**23  # 32 MB; a vocabulary of thousands would need hundreds


def sequences_at_once(config: TrainConfig) -> int:
    """Return how many sequences of a batch a process computes together."""
    share = config.batch_size // config.processes
    return -(-share // min(share, config.gradient_accumulation))


def windows_at_once(config: RunConfig, vocab_size: int) -> int:
    """Return how many windows an evaluation reads together, so that it needs no more memory than a training step."""
    tokens = min(_TOKENS_AT_ONCE, LOGITS_AT_ONCE // vocab_size)
    return max(sequences_at_once(config.train), tokens // config.model.block_size)


class Score(NamedTuple):
    """How well a model predicts some windows."""

    loss: float  # mean over the tokens that count, nats/token
    accuracy: float | None  # share of whole problems whose answer is right in every token; None of a text


@torch.no_grad()
def score(
    model: GPT | Bigram,
    windows: Tensor,
    batch_size: int,
    answers: AnswerTokens | None = None,
    group: ProcessGroup = SINGLE,  # that shares the windows out
) -> Score:
    """Return the score over windows (N, T+1), without dropout; raises ValueError for none.

    With `answers`, each window must begin with a problem and hold it wholly. An answer whose tokens are each the most
    likely one after the right tokens before them is the one that greedy sampling writes.
    """
    if not len(windows):
        raise ValueError("a mean over no windows at all does not exist")
    windows = windows[group.rank :: group.size]
    parts = windows.split(batch_size) if len(windows) else ()
    # One transfer for all of them: asking a GPU for each number by itself would make it wait every time. A small tensor
    # left behind by each part would lie between the large ones that are freed, and the memory would grow by every part.
    losses = torch.empty(len(parts), device=windows.device)
    counts = torch.zeros(len(parts), 3, dtype=torch.int64, device=windows.device)  # tokens, problems, right ones
    with evaluating(model):
        for index, part in enumerate(parts):
            x, y = part[:, :-1], part[:, 1:]
            if answers:
                y = answer_targets(x, y, answers)
            logits, losses[index] = model(x, y)
            if answers:
                counts[index] = _count_answers(logits, y, answers.end)
    weights = counts[:, 0].tolist() if answers else [len(part) for part in parts]
    weighted = (loss * weight for loss, weight in zip(losses.tolist(), weights, strict=True))
    sums = torch.tensor([sum(weighted), sum(weights), *counts.sum(dim=0)[1:].tolist()], dtype=torch.float64)
    total, weight, problems, right = group.sum(sums).tolist()
    return Score(total / weight, right / problems if answers else None)


def mean_loss(model: GPT | Bigram, windows: Tensor, batch_size: int) -> float:
    """Return the mean loss in nats/token over windows (N, T+1), without dropout; raises ValueError for none."""
    return score(model, windows, batch_size).loss


def _count_answers(logits: Tensor, targets: Tensor, end: int) -> Tensor:
    """Return how many targets (B, T) count, how many problems end among them, and how many of those are right."""
    counts = targets != IGNORED
    ends = targets == end
    problem = ends.cumsum(dim=1) - ends.long()  # which of its window each token belongs to
    wrong = counts & (logits.argmax(dim=-1) != targets)
    errors = torch.zeros_like(targets).scatter_add_(1, problem, wrong.long())  # of each problem
    is_whole = torch.arange(targets.size(1), device=targets.device) < ends.sum(dim=1, keepdim=True)
    return torch.stack([counts.sum(), is_whole.sum(), ((errors == 0) & is_whole).sum()])


def write_answers(
    model: GPT | Bigram, windows: Tensor, answers: AnswerTokens, count: int
) -> list[tuple[list[int], list[int], list[int]]]:
    """Return the first problems of evenly spaced windows: ids of question, right answer, and what the model writes.

    The question ends with the separator, and no answer has its end. The model is given the question alone, and writes
    its most likely tokens until it ends the problem, or no later than three tokens after the right answer's end.
    """
    questions: list[list[int]] = []
    rights: list[list[int]] = []
    for window in windows[:: max(1, len(windows) // count)][:count].tolist():
        middle, end = window.index(answers.separator) + 1, window.index(answers.end)
        questions.append(window[:middle])
        rights.append(window[middle:end])
    greedy = [GenerationConfig(max_new_tokens=len(right) + 3, temperature=0.0) for right in rights]
    texts = generate_together(model, questions, greedy, end=answers.end, alternatives=0, compiled=False)
    written = [[token.id for token in tokens if token.id != answers.end] for tokens in texts]
    return list(zip(questions, rights, written, strict=True))


def whole_split_loss(model: GPT | Bigram, ids: Tensor, batch_size: int = 64) -> float:
    """Return the mean loss in nats/token over all of ids (N,), in adjacent windows; ValueError for too few."""
    if len(ids) < 2:
        raise ValueError(f"predicting takes two tokens at least, not {len(ids)}")
    device = next(model.parameters()).device
    size = model.block_size
    full = (len(ids) - 1) // size  # windows of `size` predictions each
    parts = []
    if full:
        parts.append(ids[: full * size + 1].unfold(0, size + 1, size))  # (full, T+1)
    if full * size < len(ids) - 1:
        parts.append(ids[full * size :].unsqueeze(0))
    total = sum(mean_loss(model, part.to(device), batch_size) * part[:, 1:].numel() for part in parts)
    return total / (len(ids) - 1)


def run_baselines(
    config: RunConfig, train_ids: Tensor, val_ids: Tensor, vocab_size: int, answers: AnswerTokens | None = None
) -> Baselines:
    """Return the baselines of splits (N,) on the very tokens of a run's validation loss; TextError for a short text.

    Of a large text only the first COUNTED tokens are counted.
    """
    predicted = _measured_positions(config, val_ids, answers)
    return count_baselines(train_ids[:COUNTED].numpy(), val_ids.numpy(), vocab_size, predicted.numpy())


def bytes_per_token(
    config: RunConfig, val_ids: Tensor, tokenizer: Tokenizer, answers: AnswerTokens | None = None
) -> float:
    """Return how many bytes of UTF-8 the tokens of a run's validation loss have on average."""
    lengths = np.array([len(data) for data in tokenizer.token_bytes])
    return float(lengths[val_ids[_measured_positions(config, val_ids, answers)].numpy()].mean())


def _measured_positions(config: RunConfig, val_ids: Tensor, answers: AnswerTokens | None) -> Tensor:
    block_size, windows = config.model.block_size, config.train.eval_windows
    starts = problem_starts(val_ids, block_size, answers) if answers else None
    predicted = predicted_positions(len(val_ids), block_size, windows, starts)
    if answers:
        return predicted[answer_targets(val_ids[predicted - 1], val_ids[predicted], answers) != IGNORED]
    return predicted


def bits_per_byte(loss: float, bytes_per_token: float) -> float:
    """Return a loss in nats/token as bits/byte, which compares models of any tokenizer on the same text."""
    return loss / math.log(2) / bytes_per_token
