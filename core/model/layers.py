"""The small parts that a GPT is put together from: normalisation, positions, activations."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.config import ModelConfig


def make_norm(config: ModelConfig) -> nn.Module:
    """What rescales each token's vector (B, T, C) before a sublayer."""
    if config.norm == "layer":
        return nn.LayerNorm(config.n_embd, bias=config.bias)
    if config.norm == "rms":
        return nn.RMSNorm(config.n_embd, eps=1e-5)
    return nn.Identity()


class Dropout(nn.Dropout):
    """Blanks numbers at random while training, and makes up for it by raising the rest (Srivastava 2014).

    The same as PyTorch's. On the processor, which throws one die after the other, sixteen random bits decide on each
    number, four to a throw, in a fifth of the time; the share blanked is then the next multiple of 1/65536.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and self.p) or x.device.type != "cpu":
            return super().forward(x)
        throws = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        bits = throws.view(torch.int16)[: x.numel()].view(x.shape)  # each evenly between -2**15 and 2**15 - 1
        blanked = round(self.p * 2**16)
        return x * ((bits >= blanked - 2**15).to(x.dtype) * (2**16 / (2**16 - blanked)))


def sinusoidal_positions(block_size: int, n_embd: int, height: float = 0.02) -> Tensor:
    """Fixed waves of growing length, (block_size, n_embd) (Vaswani 2017, section 3.5).

    Their height is the size at which token embeddings start, so that neither drowns the other.
    """
    position = torch.arange(block_size).unsqueeze(1)
    frequency = torch.exp(torch.arange(0, n_embd, 2) * (-math.log(10_000.0) / n_embd))
    waves = torch.zeros(block_size, n_embd)
    waves[:, 0::2] = torch.sin(position * frequency)
    waves[:, 1::2] = torch.cos(position * frequency)
    return height * waves


def rotary_angles(block_size: int, head_size: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines by which queries and keys are turned, each (block_size, head_size / 2) (Su 2021)."""
    frequency = 10_000.0 ** (-torch.arange(0, head_size, 2) / head_size)
    angles = torch.outer(torch.arange(block_size), frequency)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair of numbers in x (..., T, head_size) by its position's angle; cos, sin: (T, head_size / 2)."""
    left, right = x.chunk(2, dim=-1)
    return torch.cat((left * cos - right * sin, left * sin + right * cos), dim=-1)


def activate(config: ModelConfig, hidden: Tensor) -> Tensor:
    """The bend in the feed-forward layer. SwiGLU takes twice the width and multiplies one half by the other's gate."""
    if config.activation == "relu":
        return F.relu(hidden)
    if config.activation == "relu2":
        return F.relu(hidden).square()
    if config.activation == "gelu":
        return F.gelu(hidden)
    if config.activation == "gelu_tanh":
        return F.gelu(hidden, approximate="tanh")  # GPT-2's own formula, so that its weights fit
    gate, value = hidden.chunk(2, dim=-1)
    return F.silu(gate) * value


def feed_forward_width(config: ModelConfig) -> int:
    """Numbers between the two feed-forward layers: four times the width, or for SwiGLU as many as cost the same."""
    if config.activation == "swiglu":
        return 8 * math.ceil(config.n_embd / 3)  # three matrices of 8/3 C weigh as much as two of 4 C (Shazeer 2020)
    return 4 * config.n_embd
