"""Training health: the diagnostics of Karpathy's makemore, part 3, measured on a fixed probe batch.

Measuring draws no random numbers and does not change gradients, weights or the optimizer. L layers, H heads.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from core.config import ModelConfig
from core.model import GPT, evaluating
from core.model.layers import ACTIVATIONS, GATED
from core.text.batches import answer_targets
from core.text.tasks import AnswerTokens
from core.training.evaluation import LOGITS_AT_ONCE

MAX_ROWS = 24  # measurements of a run, about one step's work each
PROBE_TOKENS, LONGEST_WINDOW = 512, 256  # most tokens in the probe batch, and in one of its windows
BINS, WIDTH = 41, 4.0  # of a histogram from -WIDTH to WIDTH times the root mean square
DEAD_SLOPE = 0.01  # a unit is dead if its nonlinearity passes on less of the gradient at every token


class Health(NamedTuple):
    """One measurement. Activations are inputs of a block's nonlinearity; without one, outputs of its attention."""

    step: int  # steps done before it
    rate: float  # learning rate of the last step, as a share of its peak
    updates: dict[str, float]  # norm of each matrix's last update over the matrix's norm; empty before the first step
    activations: np.ndarray  # (L, BINS) shares
    activation_rms: np.ndarray  # (L,) root mean squares
    gradients: np.ndarray  # (L, BINS) the same for the mean loss's gradient with respect to the activations
    gradient_rms: np.ndarray  # (L,)
    dead: np.ndarray  # (L,) share of dead units; empty without feed-forward layers
    entropy: np.ndarray  # (L, H) mean entropy of the attention weights over that of equal weights, 0 to 1
    norms: np.ndarray  # (stages,) mean norm of the residual stream, before the first block and after each part

    def row(self) -> dict[str, Any]:
        """Return the fields as plain values with four significant digits."""
        return {name: _rounded(value) for name, value in self._asdict().items()}


def read_health(row: Mapping[str, Any]) -> Health | None:
    """Return the measurement from its `Health.row`; None if the row is invalid."""
    try:
        arrays = {name: np.array(row[name], dtype=float) for name in Health._fields[3:]}
        updates = {str(name): float(ratio) for name, ratio in row["updates"].items()}
        health = Health(int(row["step"]), float(row["rate"]), updates, **arrays)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    layers = len(health.activation_rms)
    shapes = {"activations": (layers, BINS), "gradients": (layers, BINS), "gradient_rms": (layers,)}
    sound = layers > 0 and all(getattr(health, name).shape == shape for name, shape in shapes.items())
    sound = sound and health.entropy.ndim == 2 and len(health.entropy) == layers and health.norms.ndim == 1
    sound = sound and health.dead.shape in ((layers,), (0,)) and len(health.norms) in (layers + 1, 2 * layers + 1)
    return health if sound and all(np.isfinite(array).all() for array in arrays.values()) else None


def matrices(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the matrices of a GPT by short names: `h.0.attn.c_attn`, `wte`."""
    names = {name: name.removeprefix("transformer.").removesuffix(".weight") for name in parameters}
    return {names[name]: weights.detach() for name, weights in parameters.items() if weights.ndim == 2}


def update_ratios(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the norm of each matrix's change over its norm before; 0 if that was 0."""
    norms = [(after[name] - old).norm() / old.norm() for name, old in before.items()]
    ratios = torch.stack(norms).nan_to_num(0.0, 0.0).tolist()
    return dict(zip(before, ratios, strict=True))


def probe_shape(block_size: int, vocab_size: int) -> tuple[int, int]:
    """Return the probe batch's maximum number of windows, fewer for a large vocabulary, and the tokens per window."""
    length = min(block_size, LONGEST_WINDOW)
    return max(1, min(PROBE_TOKENS, LOGITS_AT_ONCE // vocab_size) // length), length


def measure_health(
    model: GPT,
    windows: Tensor,
    step: int,
    rate: float,
    updates: dict[str, float],
    answers: AnswerTokens | None = None,  # only these count in the loss
) -> Health | None:
    """Measure on a few of the windows (N, T + 1), evenly spaced; None if a number is not finite."""
    config = model.config
    count, length = probe_shape(windows.size(1) - 1, model.vocab_size)
    windows = windows[:: max(1, len(windows) // count), : length + 1][:count]
    at: dict[str, Tensor] = {}
    layers = range(config.n_layer)
    point = "blocks.{}.mlp.hook_pre" if config.feed_forward else "blocks.{}.hook_attn_out"
    with torch.enable_grad(), evaluating(model):
        x, y = windows[:, :-1], windows[:, 1:]
        _logits, loss = model(x, answer_targets(x, y, answers) if answers else y, hook=at.__setitem__)
        points = [at[point.format(layer)] for layer in layers]
        gradients = torch.autograd.grad(loss, points)
        dead = [_dead_units(config.activation, pre) for pre in points] if config.feed_forward else []
    parts = ("mid", "post") if config.feed_forward else ("post",)
    stream = [at["blocks.0.hook_resid_pre"], *(at[f"blocks.{i}.hook_resid_{part}"] for i in layers for part in parts)]
    activation_shares, activation_rms = _histograms(points)
    gradient_shares, gradient_rms = _histograms(gradients)
    with torch.no_grad():
        patterns = torch.stack([at[f"blocks.{layer}.attn.hook_pattern"] for layer in layers])
        entropy = _entropy(patterns, config)
        norms = torch.stack([vectors.norm(dim=-1).mean() for vectors in stream])
    arrays = {"activations": activation_shares, "activation_rms": activation_rms, "gradients": gradient_shares}
    arrays |= {"gradient_rms": gradient_rms, "entropy": entropy, "norms": norms}
    measured = {name: tensor.float().cpu().numpy() for name, tensor in arrays.items()}
    if not (np.isfinite(loss.item()) and all(np.isfinite(array).all() for array in measured.values())):
        return None
    return Health(step=step, rate=rate, updates=updates, dead=np.array(dead), **measured)


def _dead_units(activation: str, pre: Tensor) -> float:
    """Return the share of units whose nonlinearity has no slope at any token; pre (B, T, F)."""
    pre = pre.detach().requires_grad_()
    (slopes,) = torch.autograd.grad(ACTIVATIONS[activation](pre).sum(), pre)
    largest = slopes.abs().amax(dim=(0, 1))
    if activation in GATED:  # a unit reads two channels
        largest = largest.view(2, -1).amax(dim=0)
    return (largest < DEAD_SLOPE).float().mean().item()


def _histograms(tensors: list[Tensor] | tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Return the share in each bin (L, BINS), outliers in the outermost bins, and the root mean squares (L,)."""
    shares: list[Tensor] = []
    rms: list[Tensor] = []
    for tensor in tensors:
        values = tensor.detach().float().cpu().flatten()
        rms.append(values.square().mean().sqrt())
        scaled = (values / rms[-1].clamp(min=1e-30)).clamp(-WIDTH, WIDTH)
        shares.append(torch.histc(scaled, BINS, -WIDTH, WIDTH) / len(values))
    return torch.stack(shares), torch.stack(rms)


def _entropy(patterns: Tensor, config: ModelConfig) -> Tensor:
    """Return entropies (L, H) of attention weights (L, B, H, T, T), averaged over tokens that have a choice."""
    T, over_keys = patterns.size(-1), config.softmax_over == "keys"
    axis = -1 if over_keys else -2
    if config.attention_sink:  # leave the sink out and renormalize
        patterns = patterns / patterns.sum(dim=axis, keepdim=True).clamp(min=1e-30)
    entropy = -torch.xlogy(patterns, patterns).sum(dim=axis)  # (L, B, H, T)
    choices = torch.full((T,), T, device=patterns.device)
    if config.causal:
        choices = torch.arange(1, T + 1, device=patterns.device).clamp(max=config.attention_window or T)
    choices = choices if over_keys else choices.flip(0)
    return (entropy[..., choices > 1] / choices[choices > 1].log()).mean(dim=(1, 3))


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(entry) for name, entry in value.items()}
    if isinstance(value, np.ndarray):
        return [_rounded(entry) for entry in value]
    return value if isinstance(value, int) else float(f"{value:.4g}")
