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
COUNTED = 20_000_000  # tokens; counting more takes minutes and hardly improves the statistics of pairs and triples
LOGITS_AT_ONCE = 2**23  # 32 MB; a vocabulary of thousands would need hundreds


def sequences_at_once(config: TrainConfig) -> int:
    """Return how many sequences of a batch a process computes at once."""
    share = config.batch_size // config.processes
    return -(-share // min(share, config.gradient_accumulation))


def windows_at_once(config: RunConfig, vocab_size: int) -> int:
    """Return how many windows an evaluation reads at once, so that it needs no more memory than a training step."""
    tokens = min(_TOKENS_AT_ONCE, LOGITS_AT_ONCE // vocab_size)
    return max(sequences_at_once(config.train), tokens // config.model.block_size)


class Score(NamedTuple):
    """A model's loss and accuracy on windows."""

    loss: float  # mean over the tokens that count, nats/token
    accuracy: float | None  # share of complete problems with every token of the answer right; None for a text


@torch.no_grad()
def score(
    model: GPT | Bigram,
    windows: Tensor,
    batch_size: int,
    answers: AnswerTokens | None = None,
    group: ProcessGroup = SINGLE,  # its processes share the windows
) -> Score:
    """Return the score over windows (N, T+1), without dropout; raises ValueError if N is 0.

    With `answers`, each window must start with a complete problem. An answer is right if each of its tokens is the top
    prediction after the right tokens before it: greedy sampling would write exactly this answer.
    """
    if not len(windows):
        raise ValueError("a mean over no windows at all does not exist")
    windows = windows[group.rank :: group.size]
    parts = windows.split(batch_size) if len(windows) else ()
    # One transfer for all losses, because a GPU would wait at each transfer of a single number. They are allocated
    # first: small tensors allocated between the large ones that are freed would make the memory grow with every part.
    losses = torch.empty(len(parts), device=windows.device)
    counts = torch.zeros(len(parts), 3, dtype=torch.int64, device=windows.device)  # tokens, problems, right answers
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
    """Return the mean loss in nats/token over windows (N, T+1), without dropout; raises ValueError if N is 0."""
    return score(model, windows, batch_size).loss


def _count_answers(logits: Tensor, targets: Tensor, end: int) -> Tensor:
    """Return how many targets (B, T) count, how many problems end among them, and how many of those are right."""
    counts = targets != IGNORED
    ends = targets == end
    problem = ends.cumsum(dim=1) - ends.long()  # index in its window of the problem that each token belongs to
    wrong = counts & (logits.argmax(dim=-1) != targets)
    errors = torch.zeros_like(targets).scatter_add_(1, problem, wrong.long())  # per problem
    is_whole = torch.arange(targets.size(1), device=targets.device) < ends.sum(dim=1, keepdim=True)
    return torch.stack([counts.sum(), is_whole.sum(), ((errors == 0) & is_whole).sum()])


def write_answers(
    model: GPT | Bigram, windows: Tensor, answers: AnswerTokens, count: int
) -> list[tuple[list[int], list[int], list[int]]]:
    """Return the first problem of evenly spaced windows: ids of the question, the right answer and the model's answer.

    The question ends with the separator; answers exclude the end token. The model reads only the question and samples
    greedily until it ends the problem, at most three tokens more than the right answer has.
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
    """Return the mean loss in nats/token over all ids (N,), in adjacent windows; raises ValueError if N < 2."""
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
    """Return the baselines of splits (N,) on exactly the tokens that a run's validation loss covers.

    Only the first COUNTED tokens of the training split are counted. Raises TextError if a split is too short.
    """
    predicted = _measured_positions(config, val_ids, answers)
    return count_baselines(train_ids[:COUNTED].numpy(), val_ids.numpy(), vocab_size, predicted.numpy())


def bytes_per_token(
    config: RunConfig, val_ids: Tensor, tokenizer: Tokenizer, answers: AnswerTokens | None = None
) -> float:
    """Return the mean length, in bytes of UTF-8, of the tokens of a run's validation loss."""
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
    """Convert a loss in nats/token to bits/byte, which is comparable across tokenizers on the same text."""
    return loss / math.log(2) / bytes_per_token
